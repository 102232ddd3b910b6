//! Table 11: how the device communicates, from the policy in force and the certificates in use.

use super::Facts;
use super::codes::points;
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::pake;
use countersign_crypto::policy::Use;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::ixit::{
    CertificateDetails, CommUse, CryptoDetails, CryptoProtocol, EndRole, Guarantee, Interface,
    SecComMech, Twin,
};
use countersign_model::registry::Kind;
use std::collections::BTreeSet;

pub(super) const PAIRING: &str = "ComMech-Pairing";
pub(super) const LOCAL_API: &str = "ComMech-LocalApi";
pub(super) const UPLINK: &str = "ComMech-Uplink";
pub(super) const ENROLMENT: &str = "ComMech-Enrolment";

/// What a TLS 1.3 channel with verified peers guarantees.
pub(super) fn all_guarantees() -> BTreeSet<Guarantee> {
    BTreeSet::from([
        Guarantee::PeerAuthentication,
        Guarantee::Integrity,
        Guarantee::Confidentiality,
        Guarantee::AntiReplay,
        Guarantee::ForwardSecrecy,
    ])
}

pub(super) fn mechanisms(facts: &Facts) -> Vec<SecComMech> {
    let idevid = facts.factory.identity().chain();
    let pake = CryptoDetails {
        protocol: CryptoProtocol::Other("SPAKE2+".to_owned()),
        role: EndRole::Server,
        primitives: vec![pake::SUITE.to_owned(), pake::STRETCHING.to_owned()],
        replaceable: true,
        ..CryptoDetails::default()
    };
    let mut pairing = row(
        facts,
        PAIRING,
        "LogIntf-Pairing",
        Use::Pairing,
        EndRole::Server,
        idevid,
        "taking the device into a home",
        &["RFC 9846", "RFC 9383", "RFC 9266"],
    );
    pairing.cryptographic_details.typed.push(pake);
    pairing.cryptographic_details.text +=
        "; inside it SPAKE2+ over the label's setup code, bound to the channel by its exporter";
    let operational = facts.operational();
    vec![
        pairing,
        row(
            facts,
            LOCAL_API,
            "LogIntf-LocalApi",
            Use::LocalApi,
            EndRole::Server,
            operational,
            "control by the people of the home",
            &["RFC 9846", "RFC 9110", "W3C WoT Thing Description 1.1"],
        ),
        row(
            facts,
            UPLINK,
            "LogIntf-Uplink",
            Use::DeviceUplink,
            EndRole::Client,
            operational,
            "telemetry and commands through the maker's gateway",
            &["RFC 9846", "OASIS MQTT 5.0"],
        ),
        row(
            facts,
            ENROLMENT,
            "LogIntf-Uplink",
            Use::Est,
            EndRole::Client,
            idevid,
            "issuing and renewing the device's operational certificate",
            &["RFC 9846", "RFC 7030"],
        ),
    ]
}

#[allow(clippy::too_many_arguments, reason = "one row of a table, field by field")]
fn row(
    facts: &Facts,
    id: &str,
    interface: &str,
    use_: Use,
    role: EndRole,
    chain: &CertificateChain,
    purpose: &str,
    references: &[&str],
) -> SecComMech {
    let details = tls(facts, use_, role, chain);
    let remote = matches!(use_, Use::DeviceUplink | Use::Est);
    let reach = if remote { "reached from outside the home" } else { "home network only" };
    let rules = facts.policy.rules(use_);
    let offered = [rules.versions(), rules.groups(), rules.suites(), rules.signatures()];
    let text = offered.map(|names| names.join(", ")).join("; ");
    SecComMech {
        id: id.into(),
        description: Twin::new(
            format!("{purpose}; {}", references.join(", ")),
            CommUse {
                purpose: purpose.to_owned(),
                references: references.iter().map(|reference| (*reference).to_owned()).collect(),
            },
        ),
        interface: Twin::new(
            reach,
            Interface { logical: vec![interface.into()], remotely_accessible: remote },
        ),
        security_guarantees: Twin::new(
            "peer authentication, confidentiality, integrity, anti-replay, forward secrecy",
            all_guarantees(),
        ),
        cryptographic_details: Twin::new(text, vec![details]),
    }
}

fn tls(facts: &Facts, use_: Use, role: EndRole, chain: &CertificateChain) -> CryptoDetails {
    let rules = facts.policy.rules(use_);
    let names = |kind, list: &[&'static str]| points(kind, list.iter().copied());
    let key = chain.leaf().key_algorithm();
    CryptoDetails {
        protocol: CryptoProtocol::Tls,
        role,
        versions: names(Kind::Protocol, rules.versions()),
        suites: names(Kind::Suite, rules.suites()),
        groups: names(Kind::Group, rules.groups()),
        signature_schemes: points(Kind::Signature, key.map(SignatureAlgorithm::name)),
        certificate: certificate(chain),
        client_certificate: use_ == Use::LocalApi,
        early_data: false,
        primitives: Vec::new(),
        replaceable: true,
    }
}

fn certificate(chain: &CertificateChain) -> Option<CertificateDetails> {
    let issuer = chain.certificates().get(1)?.key_algorithm()?;
    let key = chain.leaf().key_algorithm()?;
    Some(CertificateDetails {
        key_algorithm: key.curve_name().to_owned(),
        key_bits: key.key_bits(),
        signature_algorithm: issuer.x509_name().to_owned(),
        // The root is not sent, but counts.
        chain_depth: u8::try_from(chain.certificates().len() + 1).unwrap_or(u8::MAX),
        iot_profile: true,
    })
}
