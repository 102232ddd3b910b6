use super::*;
use crate::policy::{CompiledPolicy, DEFAULT_TOML, Policy, Use};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn question(profile: Profile, support: &str) -> Question {
    let today = day("2026-11-25");
    Question { profile, today, support_until: day(support), replaceable: true }
}

fn fixed(profile: Profile, support: &str) -> Question {
    Question { replaceable: false, ..question(profile, support) }
}

fn classical() -> Policy {
    let mut policy = Policy::built_in();
    for tls in policy.uses.values_mut() {
        tls.groups = vec!["secp256r1".into()];
    }
    policy.expires = day("2049-12-31");
    policy
}

//= specs/en-303-645.md#5.5-3
//= type=test
//# Where algorithms cannot be replaced, the support period SHOULD NOT outlive their recommended lifetime.
#[test]
fn a_device_that_cannot_replace_its_policy_needs_every_item_to_last() {
    let answer = lifetime(&classical(), fixed(Profile::Bsi, "2031-12-31"));
    assert_eq!(answer.findings, []);
    assert_eq!(answer.first_day, Some(day("2032-01-01")));
    let answer = lifetime(&classical(), fixed(Profile::Bsi, "2032-01-01"));
    assert_eq!(answer.findings.len(), Use::ALL.len());
    let found = &answer.findings[0];
    assert_eq!((found.subject.as_str(), found.item.as_str()), ("device-uplink", "secp256r1"));
    assert_eq!((found.source.as_deref(), found.until), (Some("BSI-1"), Some(day("2031-12-31"))));
    assert_eq!((found.status, found.provenance), ("ended", Some(Provenance::Secondary)));
}

#[test]
fn a_device_that_can_replace_it_needs_a_successor_in_its_build() {
    let answer = lifetime(&classical(), question(Profile::Bsi, "2034-12-31"));
    assert_eq!(answer.findings, []);
    assert_eq!(answer.to_replace.len(), Use::ALL.len());
    assert!(answer.to_replace[0].told.contains("replace it by then: SecP256r1MLKEM768"));
    // No signature scheme of this build outlasts 2035.
    assert_eq!(answer.first_day, Some(day("2036-01-01")));
    let answer = lifetime(&classical(), question(Profile::Bsi, "2036-01-01"));
    assert!(answer.findings.iter().all(|found| found.path.contains("signatures")));
    assert_eq!(answer.findings.len(), 2 * (Use::ALL.len() + 1));
    assert!(answer.findings[0].told.contains("firmware"));
}

#[test]
fn an_item_that_leaves_by_itself_is_no_finding_and_an_emptied_list_is() {
    let mut policy = classical();
    for tls in policy.uses.values_mut() {
        tls.groups = vec![
            "SecP256r1MLKEM768".into(),
            Item { until: Some(day("2031-12-31")), ..Item::from("secp256r1") },
        ];
    }
    let answer = lifetime(&policy, fixed(Profile::Bsi, "2035-12-31"));
    assert_eq!(answer.findings, []);
    policy.uses.get_mut(&Use::Est).unwrap().groups.remove(0);
    let answer = lifetime(&policy, fixed(Profile::Bsi, "2035-12-31"));
    assert_eq!(answer.findings.len(), 1);
    assert_eq!(
        (answer.findings[0].subject.as_str(), answer.findings[0].source.as_deref()),
        ("est", None)
    );
}

#[test]
fn what_is_not_allowed_today_is_found_whatever_the_support() {
    let answer = lifetime(&Policy::built_in(), question(Profile::Nist, "2026-12-31"));
    assert!(answer.findings.is_empty(), "{answer:?}");
    let answer = lifetime(&Policy::built_in(), question(Profile::Cnsa2, "2026-12-31"));
    assert_eq!(answer.first_day, Some(day("2026-11-25")));
    let suite =
        answer.findings.iter().find(|found| found.item == "TLS_AES_128_GCM_SHA256").unwrap();
    assert_eq!((suite.status, suite.until), ("disallowed", None));
    assert!(suite.told.contains("from memory"), "{}", suite.told);
}

#[test]
fn a_policy_that_ends_cannot_outlast_itself() {
    let answer = lifetime(&Policy::built_in(), fixed(Profile::Acm, "2032-06-01"));
    assert!(answer.findings.iter().any(|found| found.path == "expires"));
    assert_eq!(answer.first_day, Some(day("2032-01-01")));
    let answer = lifetime(&Policy::built_in(), question(Profile::Acm, "2032-06-01"));
    assert_eq!((answer.findings.len(), answer.first_day), (0, None));
    assert!(answer.to_replace.iter().any(|found| found.path == "expires"));
}

//= specs/house.md#house-policy
//= type=test
//# A policy MUST NOT be put in force with an item that its profile does not allow, unless no source lists the item and the policy says why it stands there.
#[test]
fn what_the_profile_refuses_is_an_error_that_names_line_entry_statement_and_mend() {
    let today = day("2026-11-25");
    let compile = |text: &str| CompiledPolicy::compile(Policy::from_toml(text).unwrap(), today);
    assert!(compile(DEFAULT_TOML).is_ok());

    let unreasoned = Policy::from_toml(DEFAULT_TOML).map(|mut policy| {
        let group = &mut policy.uses.get_mut(&Use::Pairing).unwrap().groups[1];
        assert_eq!(group.because.take().map(|_| group.name.as_str()), Some("X25519MLKEM768"));
        policy
    });
    let errors = CompiledPolicy::compile(unreasoned.unwrap(), today).unwrap_err();
    assert_eq!(errors.len(), 1);
    let told = errors[0].to_string();
    for part in ["line ", "uses.pairing.groups[1]", "X25519MLKEM768", "not listed", "because = "] {
        assert!(told.contains(part), "{told}");
    }

    // A reason does not turn a refusal into a permission.
    let refused = DEFAULT_TOML.replace("profile = \"acm\"", "profile = \"nist\"").replacen(
        "\"TLS_AES_128_GCM_SHA256\"",
        "{ name = \"TLS_CHACHA20_POLY1305_SHA256\", because = \"it is fast\" }",
        1,
    );
    let errors = compile(&refused).unwrap_err();
    assert_eq!((errors.len(), errors[0].path.as_str()), (1, "uses.device-uplink.suites[1]"));
    let told = errors[0].to_string();
    assert!(
        told.contains("not allowed by NIST SP 800-131A") && told.contains("secondary source"),
        "{told}"
    );
    assert!(errors[0].mend.contains("TLS_AES_128_GCM_SHA256"), "{told}");

    let bsi = DEFAULT_TOML.replace("profile = \"acm\"", "profile = \"bsi\"");
    assert!(compile(&bsi).is_ok());
    let later = CompiledPolicy::compile(Policy::from_toml(&bsi).unwrap(), day("2036-01-01"));
    assert!(later.unwrap_err().iter().any(|error| error.fault.contains("is ended on 2036-01-01")));
}

#[test]
fn what_is_accepted_is_shown_as_not_listed() {
    let policy = Policy::built_in();
    let judged = judge(&policy, Profile::Acm, day("2026-11-25"));
    let accepted = judged.iter().find(|j| j.item.name == "X25519MLKEM768").unwrap();
    assert!(accepted.may_stand() && !accepted.verdict.is_allowed());
    let told = accepted.told();
    assert!(told.starts_with("not listed") && told.contains("accepted because"), "{told}");
}
