//! TC 5.5-5-2: is security-relevant configuration really closed, and is every open port declared? (functional)

use super::View;
use super::authentication::{Scope, functional, is_excepted};
use crate::evidence::{ScanFacts, TransportScan};
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::{Edition, Listener, Status, Transport};
use std::net::IpAddr;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let mut units = functional(view, Scope::Configuration);
    for unit in &mut units {
        unit.id = format!("a, as 5.5-4-2 {}", unit.id);
    }
    let asks = match view.declaration().edition {
        Edition::V3 => "Is every logical interface that a network reaches declared?",
        Edition::V2 => "Is every communication mechanism that a network reaches declared?",
    };
    units.push(Unit::new("b", asks, interfaces(view)));
    units
}

//= specs/en-303-645.md#5.5-5
//# Every logical interface that a network scan can find MUST be declared.
fn interfaces(view: &View<'_>) -> Vec<Finding> {
    let Some((evidence, scan)) = view.scan() else {
        return vec![Finding::inconclusive("network", "the ports of the device were not scanned")];
    };
    let mut findings = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        match scan.transports.get(&transport) {
            Some(ports) => findings.extend(transport_findings(view, scan, transport, ports)),
            None => findings
                .push(Finding::inconclusive(word(transport), "this transport was not scanned")),
        }
    }
    findings.into_iter().map(|finding| finding.with_evidence(evidence)).collect()
}

const fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    }
}

fn transport_findings(
    view: &View<'_>,
    scan: &ScanFacts,
    transport: Transport,
    ports: &TransportScan,
) -> Vec<Finding> {
    let rows = || {
        view.declaration().listeners.iter().filter(move |row| {
            let here = |address: IpAddr| address.is_unspecified() || address == scan.target;
            row.transport == transport && row.address.is_none_or(here)
        })
    };
    let mut findings: Vec<Finding> = ports
        .of_device()
        .map(|port| judge_port(view, scan, transport, port, rows().find(|row| row.port == port)))
        .collect();

    let expected: Vec<&Listener> = rows().filter(|row| row.states.contains(&scan.state)).collect();
    let found = expected.iter().any(|row| ports.open.contains(&row.port));
    let baseline = ports.baseline.as_ref();
    let doubtful: Vec<u16> = ports
        .unclear
        .iter()
        .copied()
        .filter(|port| {
            !baseline.is_some_and(|set| set.contains(port))
                && !expected.iter().any(|row| row.port == *port)
        })
        .collect();
    let explained = ports.unclear.len() - doubtful.len();
    let whole = ports.tried == 65_535
        && usize::try_from(ports.unclear_count).is_ok_and(|count| count == explained);
    let summary = match baseline.map_or(0, |set| set.intersection(&ports.open).count()) {
        0 => format!("{} ports tried", ports.tried),
        before => format!(
            "{} ports tried; {before} left out, open there before the device was started",
            ports.tried
        ),
    };
    let subject = word(transport);
    findings.push(if !whole {
        let listed: Vec<_> = doubtful.iter().take(8).map(u16::to_string).collect();
        let reason = format!(
            "{summary}; {} gave no clear answer (for example {}), so an undeclared interface may be among them",
            ports.unclear_count,
            listed.join(", ")
        );
        Finding::inconclusive(subject, reason)
    } else if transport == Transport::Tcp && !found {
        let reason = format!("{summary}; no declared listener was found, so the scan may not have met the device");
        Finding::inconclusive(subject, reason)
    } else {
        Finding::pass(subject, format!("{summary}; every one is clearly open or closed"))
    });
    for row in expected
        .iter()
        .filter(|row| !ports.open.contains(&row.port) && !ports.unclear.contains(&row.port))
    {
        let reason = format!(
            "declared as open when {}, and closed: not a fault of this unit, but look at it",
            scan.state
        );
        findings.push(Finding::not_applicable(format!("{} {}", word(transport), row.port), reason));
    }
    findings
}

fn judge_port(
    view: &View<'_>,
    scan: &ScanFacts,
    transport: Transport,
    port: u16,
    row: Option<&Listener>,
) -> Finding {
    let subject = format!("{} {port}", word(transport));
    let Some(row) = row else {
        let reason = "an undeclared interface answers on the network";
        return Finding::fail(subject, reason, "closed, or declared", "open");
    };
    if !row.states.contains(&scan.state) {
        let reason = format!("{} is declared to be closed in this state", row.id);
        return Finding::fail(subject, reason, format!("closed when {}", scan.state), "open");
    }
    let documented = match view.declaration().edition {
        Edition::V3 => row.interface.as_ref().is_some_and(|id| {
            view.declaration()
                .log_intf
                .iter()
                .any(|intf| intf.id == *id && intf.status == Status::Enabled)
        }),
        Edition::V2 => row.mechanism.is_some() || is_excepted(row),
    };
    if !documented {
        let (table, what) = match view.declaration().edition {
            Edition::V3 => ("28-LogIntf", "an enabled logical interface"),
            Edition::V2 => ("11-ComMech", "a communication mechanism"),
        };
        let reason = format!("{} names no such row of {table}", row.id);
        return Finding::fail(subject, reason, what, "none");
    }
    Finding::pass(subject, format!("declared as {}: {}", row.id, row.purpose))
}
