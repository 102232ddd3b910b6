//! The same for machines: Prometheus text on a listener of its own, on loopback, where the configuration asks for one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Report, WITHIN, What};
use crate::alarm::AlarmKind;
use crate::authority::Authority;
use crate::serve::serve_plain;

/// Prometheus' text form.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted besides.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Registered subjects.
    pub subjects: u64,
    /// Serial numbers on the denylist.
    pub revoked: u64,
    /// Entries of the ledger.
    pub ledger_entries: u64,
    /// How often each kind of alarm was raised; kinds that never were are 0.
    pub alarms: BTreeMap<&'static str, u64>,
}

/// The text.
#[must_use]
pub fn render(report: &Report, counts: &Counts) -> String {
    let mut text = String::new();
    let head = |text: &mut String, name: &str, help: &str| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    };
    let name = "countersign_expires_timestamp_seconds";
    head(
        &mut text,
        name,
        "When something ends, in seconds since 1970; of devices, those that are due.",
    );
    for line in report.lines.iter().filter(|line| line.at.is_some()) {
        let (what, whose) = (line.expiring.what.as_str(), escaped(&line.expiring.name));
        let at = line.expiring.validity.not_after.as_secs();
        let _ = writeln!(text, "{name}{{what=\"{what}\",name=\"{whose}\"}} {at}");
    }
    let name = "countersign_due";
    head(&mut text, name, "How many things somebody must do something about.");
    for what in What::ALL {
        let count = match what {
            What::Device => report.devices.due + report.devices.expired,
            what => report.due().filter(|line| line.expiring.what == what).count() as u64,
        };
        let _ = writeln!(text, "{name}{{what=\"{}\"}} {count}", what.as_str());
    }
    let name = "countersign_devices";
    head(&mut text, name, "Devices by how their operational certificate stands.");
    let devices = report.devices;
    for (standing, count) in
        [("good", devices.good), ("due", devices.due), ("expired", devices.expired)]
    {
        let _ = writeln!(text, "{name}{{standing=\"{standing}\"}} {count}");
    }
    let name = "countersign_alarms_total";
    let help = "How often an alarm was raised: `countersign authority alarms` tells about whom.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for kind in AlarmKind::ALL.map(AlarmKind::as_str) {
        let count = counts.alarms.get(kind).copied().unwrap_or_default();
        let _ = writeln!(text, "{name}{{kind=\"{kind}\"}} {count}");
    }
    for (name, help, count) in [
        ("countersign_subjects", "Registered subjects.", counts.subjects),
        ("countersign_revoked", "Serial numbers on the denylist.", counts.revoked),
        ("countersign_ledger_entries", "Entries of the ledger.", counts.ledger_entries),
    ] {
        head(&mut text, name, help);
        let _ = writeln!(text, "{name} {count}");
    }
    text
}

/// As the form wants label values.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Serves the text at `/metrics` until `stop` resolves. Whoever configures it sees to it that only this machine gets there:
/// names of operators and services are in it, and nobody is asked who they are.
pub async fn serve(
    listener: TcpListener,
    authority: Authority,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new().route("/metrics", get(answer)).with_state(authority);
    serve_plain(listener, router, stop).await;
}

async fn answer(State(authority): State<Authority>) -> Response {
    let gathered = async {
        let report = authority.expiry(WITHIN).await?;
        let ledger = authority.ledger_summary().await?;
        let registry = authority.registry();
        let counts = Counts {
            subjects: registry.subject_count() as u64,
            revoked: registry.denylist().len() as u64,
            ledger_entries: ledger.entries,
            alarms: authority.core.store.alarm_counts().await?,
        };
        Ok::<_, crate::error::AuthorityError>(render(&report, &counts))
    };
    match gathered.await {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be gathered");
            (StatusCode::SERVICE_UNAVAILABLE, "see the log\n").into_response()
        }
    }
}
