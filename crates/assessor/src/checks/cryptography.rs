//! Shared by 5.5-1, 5.5-6 and 5.5-7: is a mechanism's cryptography best practice, and is it what is used?

use super::View;
use crate::algorithms::{Kind, Standing, attacks, lacks_confidentiality, name, standing};
use crate::evidence::{Answer, TlsServerFacts};
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::{
    CertificateDetails, CodePoint, CryptoDetails, CryptoProtocol, Day, EndRole, Guarantee,
    Listener, SecComMech, Transport,
};
use std::collections::{BTreeMap, BTreeSet};

const ASKS_A: &str = "Do the claimed guarantees fit what the mechanism is used for?";
const ASKS_B: &str = "Can the mechanism as a whole give those guarantees?";
const ASKS_C: &str = "Does a catalogue list every algorithm as best practice, for as long as the device is supported?";
const ASKS_D: &str = "Is none of them known to fall to a feasible attack?";

/// The four conceptual units for some mechanisms. With `confidential`, confidentiality must be guaranteed.
pub(super) fn conceptual(
    view: &View<'_>,
    case: &str,
    mechanisms: &[&SecComMech],
    confidential: bool,
) -> Vec<Unit> {
    let each = |judge: &dyn Fn(&SecComMech) -> Vec<Finding>| {
        mechanisms.iter().flat_map(|row| judge(row)).collect()
    };
    vec![
        Unit::new("a", ASKS_A, each(&|row| vec![guarantees_fit(view, case, row, confidential)])),
        Unit::new("b", ASKS_B, each(&|row| vec![guarantees_reached(view, case, row)])),
        Unit::new("c", ASKS_C, each(&|row| best_practice(view, case, row))),
        Unit::new("d", ASKS_D, each(&|row| no_attack(view, case, row))),
    ]
}

fn guarantees_fit(view: &View<'_>, case: &str, row: &SecComMech, confidential: bool) -> Finding {
    let claimed = &row.security_guarantees.typed;
    if confidential && !claimed.contains(&Guarantee::Confidentiality) {
        let reason = "a critical security parameter travels here, so confidentiality must be among the guarantees";
        return Finding::fail(row.id.as_str(), reason, "confidentiality", format!("{claimed:?}"));
    }
    if claimed.is_empty() {
        let reason = "the mechanism is declared as secure and guarantees nothing";
        return Finding::fail(row.id.as_str(), reason, "at least one guarantee", "none");
    }
    view.human(&format!("{case} a"), row.id.as_str(), "do the claimed guarantees fit the use?")
}

fn guarantees_reached(view: &View<'_>, case: &str, row: &SecComMech) -> Finding {
    let claimed = &row.security_guarantees.typed;
    for layer in &row.cryptographic_details.typed {
        let open: Vec<_> =
            layer.suites.iter().filter(|suite| lacks_confidentiality(**suite)).collect();
        if claimed.contains(&Guarantee::Confidentiality) && !open.is_empty() {
            let reason =
                "confidentiality is claimed, but a suite without encryption may be negotiated";
            return Finding::fail(
                row.id.as_str(),
                reason,
                "suites that encrypt",
                format!("{open:?}"),
            );
        }
        if claimed.contains(&Guarantee::AntiReplay) && layer.early_data {
            let reason = "protection from replay is claimed, but early data can be replayed (RFC 9846 section 8)";
            return Finding::fail(row.id.as_str(), reason, "no early data", "early data are used");
        }
    }
    view.human(&format!("{case} b"), row.id.as_str(), "can the mechanism give its guarantees?")
}

fn items(layer: &CryptoDetails) -> impl Iterator<Item = (Kind, CodePoint)> + '_ {
    let of = |kind, set: &'_ BTreeSet<CodePoint>| {
        set.iter().map(move |code| (kind, *code)).collect::<Vec<_>>()
    };
    [
        of(Kind::Version, &layer.versions),
        of(Kind::Suite, &layer.suites),
        of(Kind::Group, &layer.groups),
        of(Kind::Scheme, &layer.signature_schemes),
    ]
    .into_iter()
    .flatten()
}

fn is_registered(layer: &CryptoDetails) -> bool {
    matches!(layer.protocol, CryptoProtocol::Tls | CryptoProtocol::Dtls)
}

fn best_practice(view: &View<'_>, case: &str, row: &SecComMech) -> Vec<Finding> {
    let (profile, today) = (view.bundle().profile, Day::of(view.bundle().at));
    let end = view.declaration().support.until.max(today);
    let unit = format!("{case} c");
    let subject = row.id.as_str();
    let mut findings = Vec::new();
    for layer in &row.cryptographic_details.typed {
        let (mut listed, mut unknown) = (Vec::new(), Vec::new());
        if layer.early_data {
            let reason =
                "early data (0-RTT) need an application profile, and none exists for this use";
            findings.push(Finding::fail(subject, reason, "no early data", "early data are used"));
        }
        for (kind, code) in items(layer).filter(|_| is_registered(layer)) {
            match standing(profile, kind, code, today, end) {
                Standing::Listed { why } => listed.push(why),
                Standing::Expires { until, why } if layer.replaceable => {
                    listed.push(format!(
                        "{why}; support ends {end}, so it is to be replaced by {until} (5.5-3)"
                    ));
                }
                Standing::Expires { why, .. } => {
                    let reason = format!(
                        "{why}; support lasts until {end} and the layer is not replaceable"
                    );
                    findings.push(Finding::fail(
                        subject,
                        reason,
                        "listed until support ends",
                        name(kind, code),
                    ));
                }
                Standing::Rejected { why } => {
                    findings.push(Finding::fail(subject, why, "best practice", name(kind, code)));
                }
                Standing::Unknown { why } => unknown.push(why),
            }
        }
        unknown.extend(
            layer
                .primitives
                .iter()
                .map(|primitive| format!("{primitive} has no entry in the registry")),
        );
        if !is_registered(layer) {
            unknown.push(format!("the registry has no entries for {:?}", layer.protocol));
        } else {
            unknown.extend(incomplete(layer));
        }
        if !unknown.is_empty() {
            let question =
                format!("is this best practice, by evidence of the maker? {}", unknown.join("; "));
            findings.push(view.human(&unit, subject, &question));
        } else if !listed.is_empty() {
            findings.push(Finding::pass(subject, listed.join("; ")));
        }
    }
    if row.cryptographic_details.typed.is_empty() {
        findings.push(Finding::inconclusive(
            subject,
            "no cryptographic details are declared in typed form",
        ));
    }
    findings
}

/// A layer of TLS that names no version, suite or group cannot be best practice by what it leaves out.
fn incomplete(layer: &CryptoDetails) -> Vec<String> {
    [
        ("version", layer.versions.is_empty()),
        ("suite", layer.suites.is_empty()),
        ("group", layer.groups.is_empty()),
    ]
    .into_iter()
    .filter(|(_, empty)| *empty)
    .map(|(what, _)| format!("no {what} is declared"))
    .collect()
}

fn no_attack(view: &View<'_>, case: &str, row: &SecComMech) -> Vec<Finding> {
    let subject = row.id.as_str();
    let known: Vec<String> = row
        .cryptographic_details
        .typed
        .iter()
        .flat_map(items)
        .flat_map(|(kind, code)| {
            attacks(kind, code).iter().map(move |attack| format!("{}: {attack}", name(kind, code)))
        })
        .collect();
    if !known.is_empty() {
        let reason = "a feasible attack is published on what may be negotiated";
        return vec![Finding::fail(subject, reason, "no known attack", known.join("; "))];
    }
    let today = Day::of(view.bundle().at);
    let whole = |layer: &CryptoDetails| {
        is_registered(layer)
            && layer.primitives.is_empty()
            && incomplete(layer).is_empty()
            && items(layer).all(|(kind, code)| {
                matches!(
                    standing(view.bundle().profile, kind, code, today, today),
                    Standing::Listed { .. }
                )
            })
    };
    if !row.cryptographic_details.typed.is_empty()
        && row.cryptographic_details.typed.iter().all(whole)
    {
        let catalogue = crate::algorithms::describe(view.bundle().profile);
        return vec![Finding::pass(
            subject,
            format!("every item is listed by a competent body today: {catalogue}"),
        )];
    }
    let question = "is no feasible attack known on what the registry does not list?";
    vec![view.human(&format!("{case} d"), subject, question)]
}

/// The functional unit: what is used is what is declared.
pub(super) fn functional(view: &View<'_>, mechanisms: &[&SecComMech]) -> Vec<Finding> {
    mechanisms.iter().flat_map(|row| functional_row(view, row)).collect()
}

/// The functional unit for one mechanism.
pub(super) fn functional_row(view: &View<'_>, row: &SecComMech) -> Vec<Finding> {
    let subject = row.id.as_str();
    let mut findings = Vec::new();
    for layer in &row.cryptographic_details.typed {
        match (&layer.protocol, layer.role) {
            (CryptoProtocol::Tls, EndRole::Server | EndRole::Peer) => {
                findings.extend(server_layer(view, row, layer));
                if layer.role == EndRole::Peer {
                    findings.push(client_not_tested(subject));
                }
            }
            (CryptoProtocol::Tls, EndRole::Client) => findings.push(client_not_tested(subject)),
            (other, _) => {
                let reason = format!("this assessor has no probe for {other:?}");
                findings.push(Finding::inconclusive(subject, reason));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive(
            subject,
            "no cryptographic details are declared in typed form",
        ));
    }
    findings
}

fn client_not_tested(subject: &str) -> Finding {
    let reason = "the device is the client here, and probing it with a false server is not part of this assessor yet";
    Finding::inconclusive(subject, reason)
}

fn server_layer(view: &View<'_>, row: &SecComMech, layer: &CryptoDetails) -> Vec<Finding> {
    let state = view.declaration().dut.state;
    let mut findings = Vec::new();
    let listeners = view
        .declaration()
        .listeners
        .iter()
        .filter(|listener| listener.mechanism.as_ref() == Some(&row.id));
    for listener in listeners {
        let subject = format!("{} on {} (port {})", row.id, listener.id, listener.port);
        if let Some((evidence, facts)) = view.tls(&listener.id) {
            findings.push(compare(&subject, listener, layer, facts).with_evidence(evidence));
        } else if !listener.states.contains(&state) {
            let reason = format!(
                "this listener is not open in the state {state}, in which the device was assessed"
            );
            findings.push(Finding::inconclusive(subject, reason));
        } else if listener.transport != Transport::Tcp || !listener.protocol.is_tls() {
            findings.push(Finding::inconclusive(subject, "only TLS over TCP can be probed"));
        } else {
            findings
                .push(Finding::inconclusive(subject, "the probe of this TLS server was not run"));
        }
    }
    if findings.is_empty() {
        let reason = "no listener is declared for this mechanism, so there was nothing to probe";
        findings.push(Finding::inconclusive(row.id.as_str(), reason));
    }
    findings
}

//= specs/en-303-645.md#5.5-1
//# The cryptography in use MUST be the cryptography that the declaration names.
/// Compares what a server accepts with what is declared.
fn compare(
    subject: &str,
    listener: &Listener,
    declared: &CryptoDetails,
    seen: &TlsServerFacts,
) -> Finding {
    let mut diff = Difference::default();
    diff.set(Kind::Version, &declared.versions, &seen.versions);
    for (version, suites) in &seen.suites {
        // The suites of a version that is itself undeclared are one deviation, not fifty.
        if declared.versions.contains(version) {
            let family: BTreeSet<_> =
                declared.suites.iter().copied().filter(|s| suites.contains_key(s)).collect();
            diff.set(Kind::Suite, &family, suites);
        }
    }
    let probed: BTreeSet<_> = seen.suites.values().flat_map(BTreeMap::keys).collect();
    for suite in declared.suites.iter().filter(|suite| !probed.contains(suite)) {
        diff.unclear.push(format!("{} was not offered", name(Kind::Suite, *suite)));
    }
    diff.set(Kind::Group, &declared.groups, &seen.groups);
    diff.set(Kind::Scheme, &declared.signature_schemes, &seen.signature_schemes);
    diff.handshake(declared, seen);
    diff.alpn(listener, seen);
    if !seen.control {
        diff.unclear.push(
            "the server did not accept a broad offer before and after, so its refusals say nothing"
                .into(),
        );
    }
    diff.finding(subject)
}

#[derive(Default)]
struct Difference {
    deviations: Vec<String>,
    unclear: Vec<String>,
    notes: Vec<String>,
    observed: Vec<String>,
}

impl Difference {
    fn set(
        &mut self,
        kind: Kind,
        declared: &BTreeSet<CodePoint>,
        seen: &BTreeMap<CodePoint, Answer>,
    ) {
        let accepted: BTreeSet<_> = seen
            .iter()
            .filter(|(_, answer)| **answer == Answer::Accepted)
            .map(|(code, _)| *code)
            .collect();
        for code in accepted.difference(declared) {
            self.deviations.push(format!("accepts {}, which is not declared", name(kind, *code)));
        }
        for code in declared {
            match seen.get(code) {
                Some(Answer::Accepted) => self.observed.push(name(kind, *code)),
                Some(answer) if answer.is_decisive() => {
                    self.notes.push(format!("{} is declared and not accepted", name(kind, *code)));
                }
                Some(answer) => self.unclear.push(format!("{}: {answer:?}", name(kind, *code))),
                None => self.unclear.push(format!("{} was not offered", name(kind, *code))),
            }
        }
        // Whatever could not be offered, or got no clear answer, might be accepted.
        let open: Vec<_> = seen
            .iter()
            .filter(|(code, answer)| !answer.is_decisive() && !declared.contains(code))
            .map(|(code, _)| code.to_string())
            .collect();
        if !open.is_empty() {
            self.unclear.push(format!(
                "no clear answer about {} {}",
                kind.as_str(),
                open.join(", ")
            ));
        }
        if accepted.is_empty() {
            self.unclear.push(format!("no {} was seen to be accepted", kind.as_str()));
        }
    }

    fn handshake(&mut self, declared: &CryptoDetails, seen: &TlsServerFacts) {
        let newest_is_13 = seen.versions.get(&CodePoint(0x0304)) == Some(&Answer::Accepted);
        match &seen.handshake {
            Some(handshake) => {
                if declared.client_certificate && !handshake.client_certificate_requested {
                    self.deviations.push(
                        "does not ask for a client certificate, though one is declared".into(),
                    );
                }
                if !handshake.signature_valid {
                    self.deviations.push("its signature over the handshake is not valid".into());
                }
                if let Some(why) = handshake.path.as_ref().and_then(|path| path.error.as_ref()) {
                    self.unclear
                        .push(format!("its certificate does not lead to the given roots: {why}"));
                }
            }
            None if newest_is_13 => self.unclear.push("no whole handshake came about".into()),
            None => {}
        }
        let Some(expected) = &declared.certificate else { return };
        match seen.certificates.first() {
            None => self.unclear.push("no certificate was seen".into()),
            Some(leaf) if !leaf.parsed => {
                self.deviations.push("its certificate cannot be parsed".into())
            }
            Some(_) => self.deviations.extend(certificate_deviations(expected, seen)),
        }
    }

    fn alpn(&mut self, listener: &Listener, seen: &TlsServerFacts) {
        if listener.alpn.is_empty() || seen.handshake.is_none() {
            return;
        }
        for attempt in &seen.alpn {
            let right = attempt.offered == listener.alpn;
            let accepted = attempt.answer == Answer::Accepted;
            if !right && !attempt.offered.is_empty() && accepted {
                self.deviations
                    .push("accepts a client that offers only a foreign ALPN protocol".into());
            }
            if attempt.offered.is_empty() && accepted && listener.alpn_required {
                self.deviations.push(
                    "accepts a client without ALPN, though it is declared as required".into(),
                );
            }
            if right
                && attempt
                    .selected
                    .as_ref()
                    .is_some_and(|selected| !listener.alpn.contains(selected))
            {
                self.deviations.push("selects an ALPN protocol that was not offered".into());
            }
        }
    }

    fn finding(self, subject: &str) -> Finding {
        let seen = self.observed.join(", ");
        if !self.deviations.is_empty() {
            let reason = "a setting differs from the declaration";
            return Finding::fail(
                subject,
                reason,
                "as declared in 11-SecComMech",
                self.deviations.join("; "),
            );
        }
        if !self.unclear.is_empty() {
            return Finding::inconclusive(subject, self.unclear.join("; ")).seen(seen);
        }
        let mut reason =
            "every offer got a clear answer, and nothing undeclared is accepted".to_owned();
        if !self.notes.is_empty() {
            reason.push_str(&format!(" (note: {})", self.notes.join("; ")));
        }
        Finding::pass(subject, reason).seen(seen)
    }
}

/// Where the presented certificate is not as declared.
pub(super) fn certificate_deviations(
    declared: &CertificateDetails,
    seen: &TlsServerFacts,
) -> Vec<String> {
    let Some(leaf) = seen.certificates.first() else { return Vec::new() };
    let mut found = Vec::new();
    let mut same = |what: &str, expected: &str, actual: &str| {
        if expected != actual {
            found.push(format!("certificate {what}: declared {expected}, seen {actual}"));
        }
    };
    same("key", &declared.key_algorithm, &leaf.key_algorithm);
    same("key bits", &declared.key_bits.to_string(), &leaf.key_bits.to_string());
    same("signature", &declared.signature_algorithm, &leaf.signature_algorithm);
    let anchor_sent = seen.certificates.last().is_some_and(|last| last.subject == last.issuer);
    let depth = seen.certificates.len() + usize::from(!anchor_sent);
    same("chain depth", &declared.chain_depth.to_string(), &depth.to_string());
    if declared.iot_profile {
        found.extend(profile_deviations(seen));
    }
    found
}

/// draft-ietf-uta-tls13-iot-profile, certificate profile, for a TLS server's end-entity certificate.
fn profile_deviations(seen: &TlsServerFacts) -> Vec<String> {
    let Some(leaf) = seen.certificates.first() else { return Vec::new() };
    let usage = leaf.key_usage.as_ref();
    let rules = [
        (leaf.ca, "the end entity's certificate is a CA certificate"),
        (leaf.serial_bits < 64, "the serial number has fewer than 64 bits, which can be guessed"),
        (!leaf.extensions.contains("aki"), "it has no authority key identifier"),
        (leaf.extensions.contains("ski"), "it has a subject key identifier"),
        (
            !usage.is_some_and(|(set, _)| set.contains("digital-signature")),
            "its key usage lacks digitalSignature",
        ),
        (usage.is_some_and(|(_, critical)| !critical), "its key usage is not critical"),
        (
            !leaf.extended_key_usage.contains("server-auth"),
            "its extended key usage lacks serverAuth",
        ),
        (leaf.extensions.contains("crl-distribution-points"), "it points at a CRL"),
        (
            leaf.extensions.contains("authority-information-access"),
            "it points at an OCSP responder or issuer",
        ),
        (leaf.names.iter().any(|name| name.starts_with("dns:*")), "it has a wildcard name"),
    ];
    rules
        .into_iter()
        .filter(|(broken, _)| *broken)
        .map(|(_, what)| format!("IoT profile: {what}"))
        .collect()
}
