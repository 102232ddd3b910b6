//! Checks on given facts: an orderly device passes what can be decided, and each known misjudgement is
//! not made. No network.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use common::*;
use countersign_assessor::evidence::*;
use countersign_assessor::{Profile, Report, Statement, Verdict};
use countersign_model::ixit::*;
use countersign_model::time::Timestamp;

fn verdict(declaration: Declaration, facts: Vec<Facts>, case: &str) -> Verdict {
    Report::of(&bundle(declaration, facts)).verdicts[case]
}

fn unit(report: &Report, case: &str, unit: &str) -> Verdict {
    let case = report.cases.iter().find(|found| found.id == case).unwrap();
    case.units.iter().find(|found| found.id == unit).unwrap_or_else(|| panic!("{case:#?}")).verdict
}

fn good() -> Vec<Facts> {
    good_facts(&declaration())
}

fn with_tls(change: impl FnOnce(&mut TlsServerFacts)) -> Vec<Facts> {
    let mut facts = good();
    let Facts::TlsServer(tls) = &mut facts[0] else { panic!() };
    change(tls);
    facts
}

fn with_access(row: usize, subject: &Subject, outcome: Outcome) -> Vec<Facts> {
    let mut facts = good();
    let Facts::Access(access) = &mut facts[1 + row] else { panic!() };
    access.attempts.iter_mut().find(|attempt| attempt.subject == *subject).unwrap().outcome =
        outcome;
    facts
}

fn with_canary(change: impl FnOnce(&mut CanaryFacts)) -> Vec<Facts> {
    let mut facts = good();
    let Facts::CanarySearch(search) = &mut facts[3] else { panic!() };
    change(search);
    facts
}

fn with_scan(change: impl FnOnce(&mut ScanFacts)) -> Vec<Facts> {
    let mut facts = good();
    let Facts::PortScan(scan) = &mut facts[4] else { panic!() };
    change(scan);
    facts
}

#[test]
fn an_orderly_device_passes_what_can_be_decided() {
    let report = Report::of(&bundle(declaration(), good()));
    for case in ["5.5-1-2", "5.5-3-1", "5.5-4-2", "5.5-5-2", "5.5-6-2", "5.5-7-2", "5.5-8-1"] {
        assert_eq!(
            report.verdicts[case],
            Verdict::Pass,
            "{:#?}",
            report.cases.iter().find(|c| c.id == case)
        );
    }
    for case in ["5.5-1-1", "5.5-2-1", "5.5-2-2", "5.5-4-1", "5.5-5-1", "5.5-6-1", "5.5-7-1"] {
        assert_eq!(report.verdicts[case], Verdict::Inconclusive, "{case}");
    }
    assert_eq!(unit(&report, "5.5-1-1", "c"), Verdict::Pass);
    assert_eq!(unit(&report, "5.5-1-1", "d"), Verdict::Pass);
}

//= specs/house.md#house-assessor
//= type=test
//# A verdict MUST NOT come from absence.
#[test]
fn nothing_seen_is_nothing_passed() {
    let report = Report::of(&bundle(declaration(), vec![]));
    for case in ["5.5-1-2", "5.5-4-2", "5.5-5-2", "5.5-6-2", "5.5-7-2"] {
        assert_eq!(report.verdicts[case], Verdict::Inconclusive, "{case}");
    }
    let empty = Report::of(&bundle(Declaration::default(), vec![]));
    assert_eq!(empty.count(Verdict::Pass), 0);
}

/// Known misjudgement: "all" relaxed to "most", and honest disclosure taken for compliance (5.5-2).
#[test]
fn one_unreviewed_implementation_fails_however_openly_it_is_declared() {
    let mut declared = declaration();
    declared.net_sec_impl.push(NetSecImpl {
        id: "NetSecImpl-2".into(),
        review_method: Twin::new("We openly say that this has not been reviewed yet.", vec![]),
        ..NetSecImpl::default()
    });
    assert_eq!(verdict(declared, good(), "5.5-2-1"), Verdict::Fail);
}

//= specs/house.md#house-assessor
//= type=test
//# A critical security parameter that leaves the device without a mechanism MUST NOT pass.
/// Known misjudgement: a secret with mechanism "N/A" is never looked at, and the group passes.
#[test]
fn a_travelling_secret_without_a_mechanism_fails() {
    let mut declared = declaration();
    declared.sec_param[0].mechanisms.clear();
    let report = Report::of(&bundle(declared.clone(), good()));
    assert_eq!(report.verdicts["5.5-6-1"], Verdict::Fail);
    assert_eq!(report.verdicts["5.5-7-1"], Verdict::Fail);
    declared.sec_param[0].description.typed.leaves_device = Reach::LocalNetwork;
    let report = Report::of(&bundle(declared, good()));
    assert_eq!(report.verdicts["5.5-6-1"], Verdict::Fail);
    assert_eq!(report.verdicts["5.5-7-1"], Verdict::NotApplicable);
}

/// Known misjudgement: N/A argued in a circle.
#[test]
fn a_feature_is_not_denied_while_the_tables_show_it() {
    let mut declared = declaration();
    declared.conditions.csps_leave = Condition::fails("nothing leaves, so nothing can leave");
    assert_eq!(verdict(declared, good(), "5.5-7-1"), Verdict::Fail);
}

/// Known misjudgement: no outbound traffic in the capture read as no remote capability (5.5-7).
#[test]
fn an_empty_or_wrong_capture_shows_nothing() {
    for change in [
        (|search: &mut CanaryFacts| search.bytes = 0) as fn(&mut CanaryFacts),
        |search| search.control_found = Some(false),
        |search| search.control_found = None,
        |search| search.self_test = false,
        |search| search.canaries[0].searchable = false,
        |search| search.canaries[0].parameter = None,
    ] {
        let report = Report::of(&bundle(declaration(), with_canary(change)));
        assert_eq!(report.verdicts["5.5-7-2"], Verdict::Inconclusive);
        assert_eq!(report.verdicts["5.5-6-2"], Verdict::Inconclusive);
    }
}

#[test]
fn a_canary_in_the_traffic_fails_whatever_is_declared() {
    let hit = Hit { stream: 0, offset: 7, encoding: "base64".into() };
    let found = with_canary(|search| search.canaries[0].hits.push(hit));
    assert_eq!(verdict(declaration(), found.clone(), "5.5-7-2"), Verdict::Fail);
    let mut local = declaration();
    local.sec_param[0].description.typed.leaves_device = Reach::Never;
    assert_eq!(verdict(local, found, "5.5-7-2"), Verdict::Fail);
}

//= specs/en-303-645.md#5.5-1
//= type=test
//# The cryptography in use MUST be the cryptography that the declaration names.
/// Known misjudgement: a deviation reported as "no encryption" instead of "differs from the declaration".
#[test]
fn an_undeclared_setting_fails_as_a_difference() {
    for change in [
        (|tls: &mut TlsServerFacts| {
            tls.versions.insert(CodePoint(0x0303), Answer::Accepted);
        }) as fn(&mut TlsServerFacts),
        |tls| {
            tls.groups.insert(CodePoint(29), Answer::Accepted);
        },
        |tls| {
            tls.suites
                .get_mut(&CodePoint(0x0304))
                .unwrap()
                .insert(CodePoint(0x1303), Answer::Accepted);
        },
        |tls| tls.handshake.as_mut().unwrap().client_certificate_requested = false,
    ] {
        let report = Report::of(&bundle(declaration(), with_tls(change)));
        assert_eq!(report.verdicts["5.5-1-2"], Verdict::Fail);
        let case = report.cases.iter().find(|case| case.id == "5.5-1-2").unwrap();
        assert!(case.reason.contains("differs from the declaration"), "{}", case.reason);
    }
}

#[test]
fn an_unclear_answer_is_not_a_refusal() {
    for change in [
        (|tls: &mut TlsServerFacts| tls.control = false) as fn(&mut TlsServerFacts),
        |tls| {
            tls.versions.insert(CodePoint(0x0301), Answer::Silent);
        },
        |tls| {
            tls.groups.insert(CodePoint(29), Answer::NotOffered);
        },
        |tls| tls.handshake = None,
        |tls| tls.groups.clear(),
    ] {
        assert_eq!(verdict(declaration(), with_tls(change), "5.5-1-2"), Verdict::Inconclusive);
    }
}

#[test]
fn a_client_role_is_not_judged_by_the_server_role() {
    let mut declared = declaration();
    declared.sec_com_mech[0].cryptographic_details.typed[0].role = EndRole::Peer;
    assert_eq!(verdict(declared, good(), "5.5-1-2"), Verdict::Inconclusive);
}

#[test]
fn whoever_gets_through_without_right_fails() {
    for subject in [Subject::Nobody, Subject::WrongHome, viewer()] {
        let facts = with_access(1, &subject, Outcome::Status(204));
        let report = Report::of(&bundle(declaration(), facts));
        assert_eq!(report.verdicts["5.5-4-2"], Verdict::Fail, "{subject}");
        assert_eq!(report.verdicts["5.5-5-2"], Verdict::Fail, "{subject}");
    }
    // An ordinary affordance is no matter of 5.5-5.
    let report =
        Report::of(&bundle(declaration(), with_access(0, &Subject::Nobody, Outcome::Status(200))));
    assert_eq!(report.verdicts["5.5-4-2"], Verdict::Fail);
    assert_eq!(report.verdicts["5.5-5-2"], Verdict::Pass);
}

#[test]
fn only_a_clear_refusal_is_one() {
    for outcome in [
        Outcome::Silent,
        Outcome::Unreachable,
        Outcome::Garbage,
        Outcome::Status(400),
        Outcome::Status(405),
        Outcome::Status(429),
        Outcome::Status(500),
        Outcome::Status(302),
        Outcome::NotTried("x".into()),
    ] {
        let facts = with_access(1, &Subject::Nobody, outcome.clone());
        assert_eq!(verdict(declaration(), facts, "5.5-4-2"), Verdict::Inconclusive, "{outcome}");
    }
    for outcome in [Outcome::Status(401), Outcome::Status(404), Outcome::Closed, Outcome::Alert(42)]
    {
        let facts = with_access(1, &Subject::Nobody, outcome.clone());
        assert_eq!(verdict(declaration(), facts, "5.5-4-2"), Verdict::Pass, "{outcome}");
    }
}

#[test]
fn not_found_is_a_refusal_only_where_somebody_finds_it() {
    let mut facts = with_access(1, &Subject::Nobody, Outcome::Status(404));
    let Facts::Access(access) = &mut facts[2] else { panic!() };
    access.attempts.last_mut().unwrap().outcome =
        Outcome::NotTried("commands were not allowed".into());
    assert_eq!(verdict(declaration(), facts, "5.5-4-2"), Verdict::Inconclusive);
}

#[test]
fn a_role_below_the_needed_one_must_have_been_tried() {
    let mut facts = good();
    let Facts::Access(access) = &mut facts[2] else { panic!() };
    access.attempts.retain(|attempt| attempt.subject != viewer());
    assert_eq!(verdict(declaration(), facts, "5.5-4-2"), Verdict::Inconclusive);
}

#[test]
fn the_entitled_must_get_through() {
    assert_eq!(
        verdict(declaration(), with_access(0, &owner(), Outcome::Status(403)), "5.5-4-2"),
        Verdict::Fail
    );
    let unclear = with_access(0, &owner(), Outcome::Status(500));
    assert_eq!(verdict(declaration(), unclear, "5.5-4-2"), Verdict::Inconclusive);
}

//= specs/en-303-645.md#5.5-5
//= type=test
//# Every logical interface that a network scan can find MUST be declared.
#[test]
fn an_undeclared_port_fails() {
    let open = with_scan(|scan| {
        scan.transports.get_mut(&Transport::Tcp).unwrap().open.insert(2323);
    });
    assert_eq!(verdict(declaration(), open, "5.5-5-2"), Verdict::Fail);
    let before = with_scan(|scan| {
        let tcp = scan.transports.get_mut(&Transport::Tcp).unwrap();
        tcp.open.insert(22);
        tcp.baseline = Some([22].into());
    });
    assert_eq!(verdict(declaration(), before, "5.5-5-2"), Verdict::Pass);
}

/// Known misjudgement: one of several kinds of evidence, and still a PASS (5.5-5).
#[test]
fn half_the_evidence_is_not_enough() {
    let without_scan = good()[..4].to_vec();
    assert_eq!(verdict(declaration(), without_scan, "5.5-5-2"), Verdict::Inconclusive);
    let without_access: Vec<_> =
        good().into_iter().filter(|facts| !matches!(facts, Facts::Access(_))).collect();
    assert_eq!(verdict(declaration(), without_access, "5.5-5-2"), Verdict::Inconclusive);
    for change in [
        (|scan: &mut ScanFacts| {
            scan.transports.remove(&Transport::Udp);
        }) as fn(&mut ScanFacts),
        |scan| scan.transports.get_mut(&Transport::Tcp).unwrap().tried = 1024,
        |scan| scan.transports.get_mut(&Transport::Tcp).unwrap().open.clear(),
        |scan| {
            let udp = scan.transports.get_mut(&Transport::Udp).unwrap();
            udp.unclear.insert(5353);
            udp.unclear_count = 1;
        },
    ] {
        assert_eq!(verdict(declaration(), with_scan(change), "5.5-5-2"), Verdict::Inconclusive);
    }
}

#[test]
fn a_port_open_in_the_wrong_state_or_without_an_interface_fails() {
    let mut declared = declaration();
    declared.listeners[0].states = vec![State::Pairing];
    assert_eq!(verdict(declared, good(), "5.5-5-2"), Verdict::Fail);
    let mut declared = declaration();
    declared.listeners[0].interface = None;
    assert_eq!(verdict(declared.clone(), good(), "5.5-5-2"), Verdict::Fail);
    declared.edition = Edition::V2;
    assert_eq!(verdict(declared, good(), "5.5-5-2"), Verdict::Pass);
}

#[test]
fn a_listener_on_every_address_is_on_this_one() {
    let mut declared = declaration();
    declared.listeners[0].address = Some("0.0.0.0".parse().unwrap());
    assert_eq!(verdict(declared.clone(), good(), "5.5-5-2"), Verdict::Pass);
    declared.listeners[0].address = Some("127.77.0.2".parse().unwrap());
    assert_eq!(verdict(declared, good(), "5.5-5-2"), Verdict::Fail);
}

#[test]
fn states_that_were_not_driven_are_not_known() {
    let mut declared = declaration();
    declared.soft_serv[0].description.typed.states.push(State::Pairing);
    assert_eq!(verdict(declared, good(), "5.5-5-2"), Verdict::Inconclusive);
}

#[test]
fn functionality_without_authentication_fails_and_needs_a_justification() {
    let mut declared = declaration();
    declared.soft_serv[0].authentication.clear();
    assert_eq!(verdict(declared.clone(), good(), "5.5-4-1"), Verdict::Fail);
    let detail = "open weather data".into();
    declared.ics.push(IcsRow { provision: "5.5-4".into(), support: Support::No, detail });
    assert_eq!(verdict(declared, good(), "5.5-4-1"), Verdict::NotApplicable);
}

#[test]
fn an_open_writable_property_fails() {
    let mut declared = declaration();
    declared.affordances[1].access = Access::Nosec;
    assert_eq!(verdict(declared, good(), "5.5-5-1"), Verdict::Fail);
}

#[test]
fn old_cryptography_fails_and_unlisted_cryptography_is_unknown() {
    let mut declared = declaration();
    declared.sec_com_mech[0].cryptographic_details.typed[0].versions.insert(CodePoint(0x0301));
    let report = Report::of(&bundle(declared, good()));
    assert_eq!(
        (unit(&report, "5.5-1-1", "c"), unit(&report, "5.5-1-1", "d")),
        (Verdict::Fail, Verdict::Fail)
    );
    let mut declared = declaration();
    declared.sec_com_mech[0].cryptographic_details.typed[0].groups = codes(&[0x11ec]);
    let report = Report::of(&bundle(declared, good()));
    assert_eq!(unit(&report, "5.5-1-1", "c"), Verdict::Inconclusive);
}

#[test]
fn support_must_not_outlive_an_algorithm_that_cannot_be_replaced() {
    let mut declared = declaration();
    declared.sec_com_mech[0].cryptographic_details.typed[0].groups = codes(&[23]);
    declared.support.until = Day::new(2033, 1, 1).unwrap();
    let report = Report::of(&bundle(declared.clone(), good()));
    assert_eq!(unit(&report, "5.5-1-1", "c"), Verdict::Pass);
    declared.sec_com_mech[0].cryptographic_details.typed[0].replaceable = false;
    let report = Report::of(&bundle(declared, good()));
    assert_eq!(unit(&report, "5.5-1-1", "c"), Verdict::Fail);
}

#[test]
fn a_primitive_outside_the_registry_is_not_best_practice_by_default() {
    let mut declared = declaration();
    declared.sec_com_mech[0].cryptographic_details.typed[0]
        .primitives
        .push("AES-CBC without MAC".into());
    let mut bundle = bundle(declared, good());
    for profile in [Profile::Acm, Profile::Bsi, Profile::Nist] {
        bundle.profile = profile;
        assert_eq!(unit(&Report::of(&bundle), "5.5-1-1", "c"), Verdict::Inconclusive);
    }
    for profile in Profile::ALL {
        bundle.profile = profile;
        assert_ne!(unit(&Report::of(&bundle), "5.5-1-1", "c"), Verdict::Pass, "{profile}");
    }
}

#[test]
fn a_missing_phase_fails_and_a_bare_process_is_left_to_people() {
    let mut declared = declaration();
    declared.sec_mgmt[0].description.typed[3].evidence = None;
    assert_eq!(verdict(declared.clone(), good(), "5.5-8-1"), Verdict::Inconclusive);
    declared.sec_mgmt[0].description.typed.remove(3);
    assert_eq!(verdict(declared, good(), "5.5-8-1"), Verdict::Fail);
}

#[test]
fn a_signed_statement_decides_what_was_open_and_outweighs_no_failure() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let sign = |unit: &str, declared: &Declaration| {
        Statement {
            unit: unit.into(),
            subject: None,
            verdict: Verdict::Pass,
            reason: "looked at by the laboratory and found adequate".into(),
            assessor: "Ada".into(),
            declaration_sha256: countersign_assessor::Bundle::declaration_sha256(declared),
            at: Timestamp(1),
        }
        .sign(&key)
        .unwrap()
    };
    let judged = |declared: Declaration| {
        let mut bundle = bundle(declared.clone(), good());
        for unit in ["5.5-1-1 a", "5.5-1-1 b", "5.5-1-1 c"] {
            let (signed, public) = sign(unit, &declared);
            bundle.statements.push(signed);
            bundle.assessors.insert("Ada".into(), public);
        }
        Report::of(&bundle).verdicts["5.5-1-1"]
    };
    assert_eq!(judged(declaration()), Verdict::Pass);
    let mut old = declaration();
    old.sec_com_mech[0].cryptographic_details.typed[0].versions.insert(CodePoint(0x0301));
    assert_eq!(judged(old), Verdict::Fail);
}
