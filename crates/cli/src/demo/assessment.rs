//! The running device, tested from outside by its own declaration.

use std::path::{Path, PathBuf};

use countersign_assessor::evidence::Facts;
use countersign_assessor::{
    Assessment, Canary, Capture, Credential, Progress, Verdict, run as assess,
};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_device::config::{Config, Listen, PairingConfig};
use countersign_device::ixit::{Maker, declare};
use countersign_model::ixit::Declaration;
use countersign_model::processes::Evidence;
use countersign_model::role::Role;
use countersign_protocol::pairing::ALPN;
use serde_json::Value;

use super::home::Paired;
use super::platform::{Made, PLUG_MAKER, Platform};
use super::stage::Teller;
use crate::commands::assess::width;
use crate::failure::{Ended, Failure, Named as _};

/// What came of it.
pub(super) struct Assessed {
    pub(super) html: PathBuf,
    pub(super) verdicts: Value,
}

pub(super) async fn run(
    platform: &mut Platform,
    made: &mut Made,
    paired: &Paired,
    data: &Path,
    tell: Teller,
) -> Ended<Assessed> {
    let folder = data.join("report");
    // 1. The declaration comes out of the running device, the processes' records out of the ledger.
    let thing = made.label.thing().clone();
    let records = platform.authority.evidence(Some(thing)).await?.evidence;
    let declaration = declaration(made, records)?;
    let text = declaration.to_json();
    let ixit = data.join("ixit.json");
    countersign_crypto::file::write_atomic(&ixit, text.as_bytes(), 0o644).at(&ixit)?;
    tell.saw(&format!("declaration (IXIT) from the running device: {}", ixit.display()));
    // 2. What the test lab is given.
    let mut assessment = Assessment::new(declaration, made.address, SystemClock.now());
    assessment.roots_pem =
        std::fs::read_to_string(&platform.ready.roots).at(&platform.ready.roots)?;
    assessment.baseline = Some(made.baseline.clone());
    assessment.earlier = vec![Facts::TlsServer(paired.pairing_interface.clone())];
    assessment.allow_commands = true;
    for (person, role) in [("owner", Role::Owner), ("max", Role::Member), ("vera", Role::Viewer)] {
        assessment.credentials.push(credential(paired, data, person, role)?);
    }
    let recording = paired.recording.clone();
    recording.write(&data.join("recording")).at(&data.join("recording"))?;
    let mechanism = Some("ComMech-Pairing".into());
    let control = Some(ALPN.as_bytes().to_vec());
    let capture: Capture = recording.into_capture("pairing", mechanism, control);
    assessment.captures.push(capture);
    for (label, parameter, secret) in [
        ("network key", "SecParam-Network", paired.canary.clone()),
        ("setup code", "SecParam-SetupVerifier", made.label.code().compact().as_bytes().to_vec()),
    ] {
        let parameter = Some(parameter.into());
        assessment.canaries.push(Canary { label: label.to_owned(), parameter, secret });
    }
    // 3. Probe, judge, report.
    let report = assess(assessment, |at: Progress| {
        tell.progress(&format!("{} {} {}/{}", at.probe.as_str(), at.subject, at.done, at.total));
    })
    .await;
    tell.progress_done();
    let report = report?;
    let written = report.write(&folder).at(&folder)?;
    tell.line(&report.to_text(width()));
    tell.saw(&format!("report {} · {}", written.html.display(), written.json.display()));
    if report.has_failed() {
        let failed: Vec<&str> = report
            .verdicts
            .iter()
            .filter(|(_, verdict)| **verdict == Verdict::Fail)
            .map(|(case, _)| case.as_str())
            .collect();
        return Err(Failure::found(format!("the device fails {}", failed.join(", "))));
    }
    Ok(Assessed { html: written.html, verdicts: serde_json::to_value(&report.verdicts)? })
}

/// What the device declares of itself as it stands, with what its maker adds.
pub(super) fn declaration(made: &Made, evidence: Vec<Evidence>) -> Ended<Declaration> {
    let config = Config {
        data: made.folder.join("device"),
        thing: made.folder.join("plug.td.json"),
        pairing: PairingConfig { listen: (made.address, 0).into(), ..PairingConfig::default() },
        api: Listen { listen: (made.address, 0).into() },
        ..Config::default()
    };
    let maker: Maker = toml::from_str(PLUG_MAKER)?;
    Ok(declare(&config, &Maker { evidence, ..maker })?)
}

fn credential(paired: &Paired, data: &Path, person: &str, role: Role) -> Ended<Credential> {
    let folder = data.join("persons");
    paired.home.export_person(&person.parse()?, &folder)?;
    let read = |ending: &str| {
        let path = folder.join(format!("{person}.{ending}"));
        std::fs::read_to_string(&path).at(&path)
    };
    Ok(Credential { label: person.to_owned(), role, cert_pem: read("crt")?, key_pem: read("key")? })
}
