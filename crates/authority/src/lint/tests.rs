//! Each rule has a certificate that keeps it and one that breaks it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_crypto::certificate::Certificate;
use countersign_crypto::issue::{self, CaTemplate, ExtensionFact, Serial, Template, TimeForm};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::Validity;

use super::*;
use crate::authorities::IssuingCa;
use crate::profile;
use crate::subject::Subject;

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const NOW: Timestamp = Timestamp::from_secs(1_763_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn ca_template(name: &str) -> CaTemplate {
    CaTemplate {
        common_name: name.to_owned(),
        organisation: "Acme".to_owned(),
        country: "DE".to_owned(),
        validity: Validity { not_before: NOW, not_after: NOW.plus(DAY * 3650) },
        serial: Serial::random(&mut SystemRandom),
    }
}

fn subject(purpose: Purpose) -> Subject {
    match purpose {
        Purpose::FactoryIdentity | Purpose::Operation => Subject::Thing("plug-1".parse().unwrap()),
        Purpose::Service => Subject::Service("backend".parse().unwrap()),
        Purpose::Operator => Subject::Operator("admin".parse().unwrap()),
        Purpose::Server => Subject::Server("gateway".parse().unwrap()),
    }
}

/// A context as issuance makes it, with a good certificate for the purpose.
fn good(purpose: Option<Purpose>) -> Context {
    let root_key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let root = issue::self_signed_ca(&ca_template("Acme Root"), &root_key).unwrap();
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let Some(purpose) = purpose else {
        let template = ca_template("Acme Service CA");
        let prepared = issue::prepare_ca(&template, key.spki_der(), &root, ALGORITHM).unwrap();
        return context(prepared.draft(), &root, None, "Acme Service CA", None);
    };
    let name = format!("Acme {}", profile::issuer(purpose).common_name_ending());
    let ca_key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let issuing =
        issue::ca_signed_by(&ca_template(&name), ca_key.spki_der(), &root, &root_key).unwrap();
    let subject = subject(purpose);
    let server = profile::ServerNames { dns: vec!["localhost".to_owned()], ips: Vec::new() };
    let life = (purpose != Purpose::FactoryIdentity).then_some(DAY * 30);
    let template = Template {
        common_name: subject.name().to_owned(),
        identity: purpose.identity_name(&subject).unwrap(),
        dns: profile::dns_names(purpose, subject.name(), &server),
        ips: Vec::new(),
        eku: profile::eku(purpose),
        validity: Validity {
            not_before: NOW,
            not_after: life.map_or(Validity::FOREVER, |life| NOW.plus(life)),
        },
        serial: Serial::random(&mut SystemRandom),
        spki_der: key.spki_der().to_vec(),
    };
    let prepared = issue::prepare(&template, &issuing, ALGORITHM).unwrap();
    context(prepared.draft(), &issuing, Some(purpose), subject.name(), life)
}

fn context(
    draft: &Certificate,
    issuer: &Certificate,
    purpose: Option<Purpose>,
    name: &str,
    life: Option<Duration>,
) -> Context {
    Context {
        facts: Facts::of(draft).unwrap(),
        issuer: Facts::of(issuer).unwrap(),
        purpose,
        name: name.to_owned(),
        life,
        now: NOW,
    }
}

fn broken(context: &Context) -> Vec<&'static str> {
    RULES.iter().filter(|rule| rule.check(context).is_err()).map(|rule| rule.id).collect()
}

#[test]
fn good_certificates_keep_every_rule() {
    let purposes = Purpose::ALL.map(Some).into_iter().chain([None]);
    for purpose in purposes {
        assert_eq!(broken(&good(purpose)), Vec::<&str>::new(), "{purpose:?}");
    }
}

type Spoil = fn(&mut Context);

/// For each rule, ways of breaking it that break it alone or it among others.
const SPOILT: [(&str, Option<Purpose>, Spoil); 44] = [
    ("rfc5280/version", Some(Purpose::Operation), |c| c.facts.version = 1),
    ("rfc5280/serial", Some(Purpose::Operation), |c| c.facts.serial[0] = 0x80),
    ("rfc5280/serial", Some(Purpose::Operation), |c| c.facts.serial = vec![0]),
    ("rfc5280/serial", Some(Purpose::Operation), |c| c.facts.serial = vec![1; 21]),
    ("rfc5280/signature_algorithm", Some(Purpose::Operation), |c| {
        c.facts.outer_signature_oid = Facts::ECDSA_SHA384.to_owned();
    }),
    ("rfc5280/signature_algorithm", Some(Purpose::Operation), |c| {
        // ecdsa-with-SHA1
        c.facts.signature_oid = "1.2.840.10045.4.1".to_owned();
        c.facts.outer_signature_oid = c.facts.signature_oid.clone();
    }),
    ("rfc5280/issuer", Some(Purpose::Operation), |c| c.facts.issuer.push(0)),
    ("rfc5280/issuer", Some(Purpose::Operation), |c| c.facts.authority_key_identifier = None),
    ("rfc5280/issuer", Some(Purpose::Operation), |c| {
        c.facts.authority_key_identifier = Some(vec![1; 20]);
    }),
    ("rfc5280/time_form", Some(Purpose::FactoryIdentity), |c| c.facts.not_after.1 = TimeForm::Utc),
    ("rfc5280/time_form", Some(Purpose::Operation), |c| {
        c.facts.not_before.1 = TimeForm::Generalized;
    }),
    ("rfc5280/time_form", Some(Purpose::Operation), |c| c.facts.not_after = c.facts.not_before),
    ("rfc5280/extensions", Some(Purpose::Operation), |c| {
        let first = c.facts.extensions[0].clone();
        c.facts.extensions.push(first);
    }),
    ("rfc5280/extensions", Some(Purpose::Operation), |c| {
        for extension in &mut c.facts.extensions {
            extension.critical = false;
        }
    }),
    ("rfc5280/issuing_ca", None, |c| c.facts.basic_constraints = Some((true, None))),
    ("rfc5280/issuing_ca", None, |c| c.facts.key_usage = Some(vec!["digitalSignature"])),
    ("rfc5280/issuing_ca", None, |c| c.facts.extended_key_usage = Some(Vec::new())),
    ("rfc5280/issuing_ca", None, |c| c.facts.subject_key_identifier = None),
    ("iot/key", Some(Purpose::Operation), |c| c.facts.key = None),
    ("iot/key", Some(Purpose::Operation), |c| c.facts.spki = c.issuer.spki.clone()),
    ("iot/key_identifiers", Some(Purpose::Operation), |c| {
        c.facts.subject_key_identifier = Some(vec![1; 20]);
    }),
    ("iot/key_usage", Some(Purpose::Operation), |c| c.facts.key_usage = None),
    ("iot/key_usage", Some(Purpose::Service), |c| {
        c.facts.key_usage = Some(vec!["digitalSignature", "keyCertSign"]);
    }),
    ("iot/extended_key_usage", Some(Purpose::Service), |c| {
        c.facts.extended_key_usage =
            Some(vec![Facts::SERVER_AUTH.to_owned(), Facts::CLIENT_AUTH.to_owned()]);
    }),
    ("iot/extended_key_usage", Some(Purpose::Operation), |c| c.facts.extended_key_usage = None),
    ("iot/no_pointers", Some(Purpose::Operation), |c| {
        let oid = Facts::CRL_DISTRIBUTION_POINTS.to_owned();
        c.facts.extensions.push(ExtensionFact { oid, critical: false });
    }),
    ("iot/no_pointers", Some(Purpose::Operation), |c| {
        let oid = Facts::AUTHORITY_INFO_ACCESS.to_owned();
        c.facts.extensions.push(ExtensionFact { oid, critical: false });
    }),
    ("iot/names", Some(Purpose::Operation), |c| c.facts.dns.push("other.local".to_owned())),
    ("iot/names", Some(Purpose::Server), |c| c.facts.dns = vec!["*.example.com".to_owned()]),
    ("iot/names", Some(Purpose::Server), |c| c.facts.dns = vec!["Example.com".to_owned()]),
    ("iot/names", Some(Purpose::Server), |c| c.facts.dns.clear()),
    ("iot/names", Some(Purpose::Operation), |c| c.facts.other_names = 1),
    ("iot/names", Some(Purpose::Service), |c| c.facts.ips.push([127, 0, 0, 1].into())),
    ("iot/depth", Some(Purpose::Operation), |c| c.issuer.basic_constraints = Some((true, None))),
    ("iot/depth", Some(Purpose::Operation), |c| c.facts.basic_constraints = Some((false, None))),
    ("iot/depth", None, |c| c.issuer.basic_constraints = Some((true, Some(0)))),
    ("house/identity", Some(Purpose::Operation), |c| {
        c.facts.uris = vec!["urn:countersign:thing:plug-2".to_owned()];
    }),
    ("house/identity", Some(Purpose::Service), |c| {
        c.facts.uris = vec!["urn:countersign:operator:backend".to_owned()];
    }),
    ("house/identity", Some(Purpose::Operation), |c| c.facts.common_name = None),
    ("house/issuer_fits_purpose", Some(Purpose::Operation), |c| {
        c.issuer.common_name = Some(format!("Acme {}", IssuingCa::Service.common_name_ending()));
    }),
    ("house/serial_entropy", Some(Purpose::Operation), |c| c.facts.serial = vec![1; 8]),
    ("house/validity", Some(Purpose::Operation), |c| c.facts.not_after.0 = NOW.plus(DAY * 31)),
    ("house/validity", Some(Purpose::FactoryIdentity), |c| c.facts.not_after.0 = NOW.plus(DAY)),
    ("house/validity", Some(Purpose::Service), |c| c.issuer.not_after.0 = NOW.plus(DAY)),
];

//= specs/house.md#house-channel
//= type=test
//# A certificate name MUST NOT contain a wildcard.
#[test]
fn every_rule_is_broken_by_what_it_forbids() {
    for (number, (rule, purpose, spoil)) in SPOILT.into_iter().enumerate() {
        let mut context = good(purpose);
        spoil(&mut context);
        assert!(
            broken(&context).contains(&rule),
            "case {number} of {rule}: {:?}",
            broken(&context)
        );
    }
    for rule in RULES {
        assert!(SPOILT.iter().any(|(id, ..)| *id == rule.id), "{} has no failing case", rule.id);
    }
}

#[test]
fn an_early_or_late_beginning_is_seen() {
    for begins in [NOW.plus(Duration::from_secs(1)), Timestamp(NOW.0 - 700_000)] {
        let mut context = good(Some(Purpose::Operation));
        context.issuer.not_before.0 = Timestamp(0);
        context.facts.not_before.0 = begins;
        assert_eq!(broken(&context), ["house/validity"]);
    }
}

/// The gate itself: a prepared certificate that breaks a rule does not come out, and the rule is named.
//= specs/house.md#house-issuance
//= type=test
//# A certificate that was not linted MUST NOT be signed.
#[test]
fn what_breaks_a_rule_is_not_linted() {
    let root_key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let root = issue::self_signed_ca(&ca_template("Acme Root"), &root_key).unwrap();
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let template = ca_template("Acme Service CA");
    let prepare = || issue::prepare_ca(&template, key.spki_der(), &root, ALGORITHM).unwrap();
    let about = |purpose| About { purpose, name: "Acme Service CA", life: None, now: NOW };
    let prepared = prepare();
    let tbs = prepared.tbs().to_vec();
    assert_eq!(lint(prepared, &about(None)).unwrap().tbs(), tbs);
    let refused = lint(prepare(), &about(Some(Purpose::Service))).unwrap_err();
    assert!(refused.to_string().contains("iot/key_usage"), "{refused}");
}
