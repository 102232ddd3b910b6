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
        let answer = offer(address, &hello_for(version, name), Depth::Hello, |found| {
            found.version == version
        })
        .await;
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

    // 3. Groups, each alone, under TLS 1.3 and under the newest older version: they may differ.
    let older = accepted.iter().copied().filter(|version| *version < TLS13).max();
    for version in older.into_iter().chain((newest >= TLS13).then_some(newest)) {
        for group in names::GROUPS {
            let answer = one_group(address, version, group, name, &facts.suites).await;
            let known = facts.groups.entry(CodePoint(group)).or_insert(answer);
            *known = broader(*known, answer);
        }
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
    let again =
        offer(address, &hello_for(newest, name), Depth::Hello, |found| found.version == newest)
            .await;
    facts.control = again == Answer::Accepted;
    facts
}

/// Whether a server agrees keys over one group. In TLS 1.3 the first answer names it; below, the key exchange does.
async fn one_group(
    address: SocketAddr,
    version: u16,
    group: u16,
    name: Option<&str>,
    suites: &BTreeMap<CodePoint, BTreeMap<CodePoint, Answer>>,
) -> Answer {
    let names_it = |found: &ServerHello| found.version == version && found.group == Some(group);
    if version >= TLS13 {
        let hello = Hello { groups: &[group], ..hello_for(version, name) };
        return offer(address, &hello, Depth::Hello, names_it).await;
    }
    // Below TLS 1.3 a server with finite-field suites may use parameters that no group names (RFC 7919).
    let finite = (0x0100..=0x0104).contains(&group);
    let takes = |suite: &u16| {
        suites.values().any(|list| list.get(&CodePoint(*suite)) == Some(&Answer::Accepted))
    };
    if finite && names::DHE_12.iter().any(takes) {
        return Answer::NotOffered;
    }
    // A server with an ECDSA certificate also wants the certificate's curve in the list (RFC 8422 section 4),
    // so the group is offered alone and, if that is refused, in front of the curves of certificates.
    let alone = [group];
    let in_front = [group, 23, 24, 25];
    let mut answer = Answer::Silent;
    for groups in [&alone[..], &in_front] {
        let hello = Hello { groups, suites: &names::ECDHE_12, ..hello_for(version, name) };
        answer = offer(address, &hello, Depth::Flight, names_it).await;
        if !matches!(answer, Answer::Refused(_)) {
            break;
        }
    }
    answer
}

/// What is accepted under one version is accepted; what is unclear under one is not settled by the other.
const fn broader(one: Answer, other: Answer) -> Answer {
    match (one, other) {
        (Answer::Accepted, _) | (_, Answer::Accepted) => Answer::Accepted,
        (settled, unsettled) if settled.is_decisive() => unsettled,
        (unsettled, _) => unsettled,
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
        found.insert(
            CodePoint(suite),
            offer(address, &hello, Depth::Hello, |hello| hello.suite == suite).await,
        );
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
        let (answer, chosen) = answer_to(address, &hello, Depth::Hello).await;
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
    depth: Depth,
    agrees: impl Fn(&ServerHello) -> bool,
) -> Answer {
    match answer_to(address, hello, depth).await {
        (Answer::Accepted, Some(found)) if !agrees(&found) => Answer::Refused(70),
        (answer, _) => answer,
    }
}

async fn answer_to(
    address: SocketAddr,
    hello: &Hello<'_>,
    depth: Depth,
) -> (Answer, Option<ServerHello>) {
    let mut last = (Answer::Silent, None);
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * attempt).await;
        }
        last = match ask(address, hello, depth).await {
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
