//! Each verdict by an example, and all of them against a model that knows sets of names and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_crypto::policy::{Alpn, CompiledPolicy, DEFAULT_TOML, Policy, Use};
use countersign_model::time::{Day, Timestamp};
use proptest::prelude::*;

use super::*;

const P256: &str = "ecdsa_secp256r1_sha256";
const P384: &str = "ecdsa_secp384r1_sha384";
const SUITES: [(&str, u16); 4] = [
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("0x1304", 0x1304),
];
const GROUPS: [(&str, u16); 5] = [
    ("SecP256r1MLKEM768", 0x11eb),
    ("X25519MLKEM768", 0x11ec),
    ("secp256r1", 0x0017),
    ("x25519", 0x001d),
    ("0x001e", 0x001e),
];
const SIGNATURES: [(&str, u16); 3] = [(P256, 0x0403), (P384, 0x0503), ("0x0804", 0x0804)];
const DAY: u64 = 86_400_000;
const NOW: Timestamp = Timestamp(100 * DAY);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The built-in policy with other lists for the uplink.
fn candidate(suites: &[&str], groups: &[&str], signatures: &[&str], alpn: Alpn) -> Candidate {
    let (uplink, rest) = DEFAULT_TOML.split_once("[uses.local-api]").unwrap();
    let mut text: String = uplink
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("groups", _)) => format!("groups = {groups:?}\n"),
            Some(("suites", _)) => format!("suites = {suites:?}\n"),
            Some(("signatures", _)) => format!("signatures = {signatures:?}\n"),
            Some(("alpn", _)) if alpn == Alpn::Required => "alpn = \"required\"\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect();
    text += &format!("[uses.local-api]{rest}");
    let policy =
        CompiledPolicy::for_provider(Policy::from_toml(&text).unwrap(), Day::default()).unwrap();
    Candidate::of(&policy, Use::DeviceUplink)
}

fn hybrid_only() -> Candidate {
    let suites = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"];
    candidate(&suites, &["SecP256r1MLKEM768", "X25519MLKEM768"], &[P256, P384], Alpn::IfOffered)
}

/// An offer as it is stored, from names.
fn offer(suites: &[&str], groups: &[&str], signatures: &[&str], first: u64, last: u64) -> Offer {
    let codes = |known: &[(&str, u16)], names: &[&str]| {
        let code = |name: &&str| {
            let (_, code) = known.iter().find(|(known, _)| known == name).unwrap();
            format!("{code:04x}")
        };
        names.iter().map(code).collect::<Vec<_>>().join(",")
    };
    let text = format!(
        "{};{};{};",
        codes(&SUITES, suites),
        codes(&GROUPS, groups),
        codes(&SIGNATURES, signatures)
    );
    Offer {
        offered: text.parse().unwrap(),
        suite: suites.first().copied().unwrap_or_default().to_owned(),
        group: groups.first().copied().unwrap_or_default().to_owned(),
        first: Timestamp(first * DAY),
        last: Timestamp(last * DAY),
    }
}

fn classical(first: u64, last: u64) -> Offer {
    offer(&["TLS_AES_256_GCM_SHA384"], &["x25519", "secp256r1"], &[P256, P384], first, last)
}

fn hybrid(first: u64, last: u64) -> Offer {
    let groups = ["X25519MLKEM768", "x25519"];
    offer(&["TLS_AES_256_GCM_SHA384"], &groups, &[P256, P384], first, last)
}

fn record(subject: &str, offers: Vec<Offer>) -> Record {
    let last_seen = offers.iter().map(|offer| offer.last).max().unwrap_or(NOW);
    Record {
        subject: subject.to_owned(),
        first_seen: Timestamp(0),
        last_seen,
        certificate: Some(Certificate {
            serial: "0a".to_owned(),
            key: Some(P256.to_owned()),
            signature: Some(P256.to_owned()),
            not_after: Timestamp(200 * DAY),
        }),
        policy_version: None,
        root: None,
        root_floor: None,
        negotiated: Vec::new(),
        offers,
    }
}

fn verdict(record: &Record, candidate: &Candidate) -> Verdict {
    let run = dry_run(std::slice::from_ref(record), &[], candidate, NOW, MONTH);
    run.subjects.into_iter().next().unwrap().verdict
}

//= specs/house.md#house-policy
//= type=test
//# What a policy would do to a fleet MUST be judged from what each subject was seen to offer, and
//# from what it negotiated only where no offer is known.
#[test]
fn a_classical_client_is_stranded_by_a_hybrid_policy_and_hears_why() {
    let Verdict::Stranded { why } =
        verdict(&record("thing:a", vec![classical(1, 99)]), &hybrid_only())
    else {
        panic!()
    };
    let [lack] = &why[..] else { panic!("{why:?}") };
    assert_eq!(lack.kind, LackKind::Groups);
    assert_eq!(lack.offers, ["x25519", "secp256r1"]);
    assert_eq!(lack.policy, ["SecP256r1MLKEM768", "X25519MLKEM768"]);

    let mut known_by_handshakes = record("thing:b", Vec::new());
    known_by_handshakes.negotiated = vec![Negotiated {
        version: "TLS 1.3".to_owned(),
        suite: "TLS_AES_256_GCM_SHA384".to_owned(),
        group: "x25519".to_owned(),
        at: Timestamp(99 * DAY),
    }];
    let run = dry_run(&[known_by_handshakes], &[], &hybrid_only(), NOW, MONTH);
    assert_eq!(run.subjects[0].basis, Some(Basis::Negotiated));
    assert_eq!((run.counts.stranded, run.counts.by_negotiation_only), (1, 1));
}

#[test]
fn who_keeps_connecting_keeps_or_loses_its_choice() {
    let both = record("thing:a", vec![hybrid(1, 99)]);
    assert!(
        matches!(verdict(&both, &hybrid_only()), Verdict::Unaffected { now, then } if now == then)
    );
    let suites = ["TLS_AES_256_GCM_SHA384"];
    let classical_only = candidate(&suites, &["x25519"], &[P256], Alpn::IfOffered);
    let Verdict::LosesPreferred { now, then } = verdict(&both, &classical_only) else { panic!() };
    assert_eq!((now.group.as_str(), then.group.as_str()), ("X25519MLKEM768", "x25519"));
    let run = dry_run(&[both], &[], &classical_only, NOW, MONTH);
    assert_eq!(run.moves, [Move { now, then, count: 1 }]);
}

#[test]
fn a_client_without_alpn_is_stranded_where_it_is_required() {
    let suites = ["TLS_AES_256_GCM_SHA384"];
    let strict = candidate(&suites, &["X25519MLKEM768"], &[P256], Alpn::Required);
    let Verdict::Stranded { why } = verdict(&record("thing:a", vec![hybrid(1, 99)]), &strict)
    else {
        panic!()
    };
    assert_eq!(why[0].kind, LackKind::Alpn);
}

#[test]
fn a_certificate_that_the_candidate_does_not_allow_must_be_issued_anew() {
    let suites = ["TLS_AES_256_GCM_SHA384"];
    let larger = candidate(&suites, &["X25519MLKEM768"], &[P384], Alpn::IfOffered);
    let Verdict::MustReissue { retired, not_after } =
        verdict(&record("thing:a", vec![hybrid(1, 99)]), &larger)
    else {
        panic!()
    };
    assert_eq!(
        retired.iter().map(|one| one.part).collect::<Vec<_>>(),
        [Part::Key, Part::Signature]
    );
    assert_eq!((retired[0].algorithm.as_str(), retired[0].policy[0].as_str()), (P256, P384));
    assert_eq!(not_after, Timestamp(200 * DAY));
    // No new certificate helps whoever has no group.
    let stranded = verdict(&record("thing:b", vec![classical(1, 99)]), &larger);
    assert_eq!(stranded.class(), Class::Stranded);
}

#[test]
fn a_devices_past_is_past_and_a_service_is_all_of_its_programs() {
    // Updated on day 50: what it offered before does not count, though it is within the time looked at.
    let updated = vec![hybrid(80, 99), classical(1, 79)];
    assert_eq!(
        verdict(&record("thing:a", updated.clone()), &hybrid_only()).class(),
        Class::Unaffected
    );
    assert_eq!(verdict(&record("service:a", updated), &hybrid_only()).class(), Class::Stranded);
    // A device that does now this, now that, is held against both.
    let both = vec![hybrid(80, 99), classical(1, 95)];
    assert_eq!(verdict(&record("thing:b", both), &hybrid_only()).class(), Class::Stranded);
    // What a service did before the time looked at is forgotten.
    let former = vec![hybrid(1, 99), classical(1, 60)];
    assert_eq!(verdict(&record("service:b", former), &hybrid_only()).class(), Class::Unaffected);
}

#[test]
fn who_was_not_seen_is_not_known() {
    let registration =
        |subject: &str, admitted| Registration { subject: subject.to_owned(), admitted };
    let registered = [
        registration("thing:away", true),
        registration("thing:box", true),
        registration("thing:barred", false),
    ];
    let records = [
        record("thing:away", vec![classical(1, 60)]),
        record("thing:barred", vec![classical(1, 99)]),
    ];
    let run = dry_run(&records, &registered, &hybrid_only(), NOW, MONTH);
    let classes: Vec<_> =
        run.subjects.iter().map(|one| (one.subject.as_str(), one.verdict.class())).collect();
    assert_eq!(classes, [("thing:away", Class::NotSeen), ("thing:box", Class::NeverSeen)]);
    assert_eq!(run.subjects[0].last_seen, Some(Timestamp(60 * DAY)));
    let counts = run.counts;
    assert_eq!((counts.not_seen, counts.not_seen_stranded, counts.never_seen), (1, 1, 1));
    assert_eq!((counts.stranded, counts.not_admitted, counts.devices), (0, 1, 2));
}

/// The model: sets of names, and the rule of each verdict in one line.
#[derive(Debug, Clone)]
struct Spec {
    theirs: [Vec<&'static str>; 3],
    ours: [Vec<&'static str>; 3],
    alpn_required: bool,
    key: &'static str,
    signature: &'static str,
    last: u64,
}

fn expected(spec: &Spec) -> Class {
    let meets = |n: usize| spec.theirs[n].iter().any(|name| spec.ours[n].contains(name));
    let first = |n: usize| spec.theirs[n].first().copied().unwrap_or_default();
    if spec.last < 70 {
        Class::NotSeen
    } else if !(meets(0) && meets(1) && meets(2)) || spec.alpn_required {
        Class::Stranded
    } else if !spec.ours[2].contains(&spec.key) || !spec.ours[2].contains(&spec.signature) {
        Class::MustReissue
    } else if !spec.ours[0].contains(&first(0)) || !spec.ours[1].contains(&first(1)) {
        Class::LosesPreferred
    } else {
        Class::Unaffected
    }
}

/// Some of the names in some order; `known`: of those that this build can do, and at least one.
fn some(
    all: &[(&'static str, u16)],
    known: bool,
) -> impl Strategy<Value = Vec<&'static str>> + use<> {
    let pool: Vec<&'static str> = all
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !known || !name.starts_with("0x"))
        .collect();
    let (least, most) = (usize::from(known), pool.len());
    proptest::sample::subsequence(pool, least..=most).prop_shuffle()
}

fn spec() -> impl Strategy<Value = Spec> {
    let lists = |known| {
        [
            some(&SUITES, known).boxed(),
            some(&GROUPS, known).boxed(),
            some(&SIGNATURES, known).boxed(),
        ]
    };
    let algorithm = || prop_oneof![Just(P256), Just(P384)];
    (
        lists(false),
        lists(true),
        proptest::bool::weighted(0.1),
        algorithm(),
        algorithm(),
        60_u64..100,
    )
        .prop_map(|(theirs, ours, alpn_required, key, signature, last)| Spec {
            theirs,
            ours,
            alpn_required,
            key,
            signature,
            last,
        })
}

proptest! {
    #[test]
    fn every_verdict_is_the_models(specs in proptest::collection::vec(spec(), 1..6)) {
        // One fleet a candidate: the first one's policy judges them all.
        let ours = specs[0].ours.clone();
        let alpn_required = specs[0].alpn_required;
        let alpn = if alpn_required { Alpn::Required } else { Alpn::IfOffered };
        let candidate = candidate(&ours[0], &ours[1], &ours[2], alpn);
        let (mut records, mut model, mut offers) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (index, spec) in specs.into_iter().enumerate() {
            let spec = Spec { ours: ours.clone(), alpn_required, ..spec };
            let subject = format!("thing:{index}");
            let [suites, groups, signatures] = &spec.theirs;
            let mut record = record(&subject, vec![offer(suites, groups, signatures, 1, spec.last)]);
            let certificate = record.certificate.as_mut().unwrap();
            certificate.key = Some(spec.key.to_owned());
            certificate.signature = Some(spec.signature.to_owned());
            records.push(record);
            model.insert(subject.clone(), expected(&spec));
            offers.insert(subject, spec.theirs);
        }
        let run = dry_run(&records, &[], &candidate, NOW, MONTH);
        let found: BTreeMap<String, Class> =
            run.subjects.iter().map(|one| (one.subject.clone(), one.verdict.class())).collect();
        prop_assert_eq!(&found, &model);
        let counts = run.counts;
        let sum = counts.stranded + counts.must_reissue + counts.loses_preferred
            + counts.unaffected + counts.not_seen + counts.never_seen;
        prop_assert_eq!(sum, records.len());
        prop_assert!(run.subjects.is_sorted_by_key(|one| one.verdict.class()));
        // What is predicted is the policy's first that both sides have.
        for one in &run.subjects {
            if let Verdict::LosesPreferred { then, .. } | Verdict::Unaffected { then, .. } = &one.verdict {
                let theirs = &offers[&one.subject];
                let first = |n: usize| ours[n].iter().find(|name| theirs[n].contains(name)).copied();
                prop_assert_eq!(Some(then.suite.as_str()), first(0));
                prop_assert_eq!(Some(then.group.as_str()), first(1));
            }
        }
    }
}
