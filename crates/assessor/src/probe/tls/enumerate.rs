//! Everything that one TLS server accepts, offer by offer.

use super::answer::{Depth, ServerHello};
use super::handshake::{self, Dial, DialError};
use super::hello::Hello;
use super::offer::{Offered, ask, hello_for};
use super::{certificate, names};
use crate::evidence::{AlpnFact, Answer, TlsServerFacts};
use crate::probe::ProbeError;
use countersign_model::ixit::{CodePoint, Listener};
use countersign_model::time::Timestamp;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Pause before a wordless or failed offer is made again: a device that bounds the rate of connections gets its breath.
const PAUSE: Duration = Duration::from_millis(400);

/// How often an offer is made before its failure is the fact.
const TRIES: u32 = 3;

const TLS13: u16 = 0x0304;

/// Signature schemes that are offered alone in whole handshakes.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::ML_DSA_44,
    SignatureScheme::ML_DSA_65,
    SignatureScheme::ML_DSA_87,
];

/// Examines the TLS server behind a declared listener.
///
/// About 90 short connections, one after another. Never fails: what could not be learnt is a fact too.
pub async fn examine(
    address: SocketAddr,
    listener: &Listener,
    roots: &[CertificateDer<'static>],
    at: Timestamp,
) -> TlsServerFacts {
    let name = listener.server_name.as_deref();
    let mut facts = TlsServerFacts {
        listener: listener.id.clone(),
        address,
        control: false,
        versions: BTreeMap::new(),
        suites: BTreeMap::new(),
        groups: BTreeMap::new(),
        signature_schemes: BTreeMap::new(),
        alpn: Vec::new(),
        handshake: None,
        certificates: Vec::new(),
    };

    // 1. Versions, each alone. The newest accepted one is the control.
    for version in names::VERSIONS {
        let answer =
            offer(address, &hello_for(version, name), |found| found.version == version).await;
        facts.versions.insert(CodePoint(version), answer);
    }
    let accepted: Vec<u16> = facts
        .versions
        .iter()
        .filter(|(_, answer)| **answer == Answer::Accepted)
        .map(|(code, _)| code.0)
        .collect();
    let Some(&newest) = accepted.last() else { return facts };

    // 2. Suites: alone for TLS 1.3, by elimination below.
    for &version in &accepted {
        let suites = if version >= TLS13 {
            alone(address, version, name).await
        } else {
            eliminate(address, version, name).await
        };
        facts.suites.insert(CodePoint(version), suites);
    }

    // 3. Groups, each alone.
    for group in names::GROUPS {
        let hello = Hello { groups: &[group], ..hello_for(newest, name) };
        let answer =
            offer(address, &hello, |found| found.version == newest && uses_group(found, group))
                .await;
        facts.groups.insert(CodePoint(group), answer);
    }

    // 4. Whole handshakes: certificate, signature, client certificate, ALPN.
    if newest >= TLS13 {
        whole(address, listener, roots, at, &mut facts).await;
    } else if let Ok(Offered::Accepted(found)) =
        ask(address, &hello_for(newest, name), Depth::Flight).await
    {
        facts.certificates = found.certificates.iter().map(|der| certificate::read(der)).collect();
    }

    // 5. The control again: refusals in between meant the offer, not the asker.
    let again = offer(address, &hello_for(newest, name), |found| found.version == newest).await;
    facts.control = again == Answer::Accepted;
    facts
}

/// In TLS 1.3 the answer names the group; below it only ECDHE and DHE suites use one.
fn uses_group(found: &ServerHello, group: u16) -> bool {
    match found.group {
        Some(named) => named == group,
        None => found.version < TLS13 && (matches!(found.suite >> 8, 0xc0 | 0xcc | 0xd0)),
    }
}

async fn alone(
    address: SocketAddr,
    version: u16,
    name: Option<&str>,
) -> BTreeMap<CodePoint, Answer> {
    let mut found = BTreeMap::new();
    for suite in names::SUITES_13 {
        let hello = Hello { suites: &[suite], ..hello_for(version, name) };
        found.insert(CodePoint(suite), offer(address, &hello, |hello| hello.suite == suite).await);
    }
    found
}

/// Offers all, takes away what was chosen, and again, until the server refuses the rest.
async fn eliminate(
    address: SocketAddr,
    version: u16,
    name: Option<&str>,
) -> BTreeMap<CodePoint, Answer> {
    let mut left = names::SUITES_12.to_vec();
    let mut found = BTreeMap::new();
    loop {
        let hello = Hello { suites: &left, ..hello_for(version, name) };
        let (answer, chosen) = answer_to(address, &hello).await;
        match chosen {
            Some(chosen) if chosen.version == version && left.contains(&chosen.suite) => {
                found.insert(CodePoint(chosen.suite), Answer::Accepted);
                left.retain(|suite| *suite != chosen.suite);
            }
            _ => {
                let rest = if answer == Answer::Accepted { Answer::Refused(70) } else { answer };
                found.extend(left.iter().map(|suite| (CodePoint(*suite), rest)));
                return found;
            }
        }
    }
}

async fn whole(
    address: SocketAddr,
    listener: &Listener,
    roots: &[CertificateDer<'static>],
    at: Timestamp,
    facts: &mut TlsServerFacts,
) {
    let base =
        Dial { address, listener, alpn: &listener.alpn, identity: None, schemes: None, roots, at };
    if let Ok(dialled) = handshake::dial(&base).await {
        facts.certificates = dialled.chain().iter().map(|der| certificate::read(der)).collect();
        facts.handshake = Some(dialled.settle().await);
    }
    for scheme in SCHEMES {
        let dialled = handshake::dial(&Dial { schemes: Some(&[scheme]), ..base }).await;
        let answer = match dialled {
            Ok(dialled) if dialled.signed_with(scheme) => Answer::Accepted,
            Ok(_) => Answer::Refused(40),
            Err(error) => answer_of(&error),
        };
        facts.signature_schemes.insert(CodePoint(scheme.into()), answer);
    }
    let wrong = ["countersign-no-such-protocol".to_owned()];
    for offered in [&listener.alpn[..], &wrong, &[]] {
        let (answer, selected) = match handshake::dial(&Dial { alpn: offered, ..base }).await {
            Ok(dialled) => {
                let selected = dialled.alpn();
                (dialled.settled_answer().await, selected)
            }
            Err(error) => (answer_of(&error), None),
        };
        let fact = AlpnFact { offered: offered.to_vec(), answer, selected };
        if !facts.alpn.contains(&fact) {
            facts.alpn.push(fact);
        }
    }
}

fn answer_of(error: &DialError) -> Answer {
    match error {
        DialError::Probe(ProbeError::Unreachable(_)) => Answer::Unreachable,
        DialError::Probe(ProbeError::Silent) => Answer::Silent,
        DialError::Probe(ProbeError::NotTls(_)) | DialError::Tls(_) => Answer::NotTls,
        DialError::Alert(code) => Answer::Refused(*code),
        DialError::Closed => Answer::Closed,
        DialError::Own(_) => Answer::NotOffered,
    }
}

async fn offer(
    address: SocketAddr,
    hello: &Hello<'_>,
    agrees: impl Fn(&ServerHello) -> bool,
) -> Answer {
    match answer_to(address, hello).await {
        (Answer::Accepted, Some(found)) if !agrees(&found) => Answer::Refused(70),
        (answer, _) => answer,
    }
}

async fn answer_to(address: SocketAddr, hello: &Hello<'_>) -> (Answer, Option<ServerHello>) {
    let mut last = (Answer::Silent, None);
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * attempt).await;
        }
        last = match ask(address, hello, Depth::Hello).await {
            Ok(Offered::Accepted(found)) => return (Answer::Accepted, Some(found)),
            Ok(Offered::Refused(alert)) => return (Answer::Refused(alert), None),
            Ok(Offered::Closed) => (Answer::Closed, None),
            Err(ProbeError::Unreachable(_)) => (Answer::Unreachable, None),
            // Silence has already cost its full limit; once is enough.
            Err(ProbeError::Silent) => return (Answer::Silent, None),
            Err(ProbeError::NotTls(_)) => return (Answer::NotTls, None),
        };
    }
    last
}
