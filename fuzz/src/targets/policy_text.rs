//! The TOML of a crypto policy, as people write it.

use countersign_crypto::policy::{
    CompiledPolicy, Policy, Question, Use, judge, lifetime, sign, verify,
};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::registry::Profile;
use countersign_model::time::Day;
use std::sync::OnceLock;

/// Whatever text compiles, or is refused with reasons that name existing lines; what may be signed comes back the same.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = Policy::from_toml(text) else { return };
    let lines = text.lines().count().max(1);
    for day in ["2026-11-25", "2032-01-01", "2040-06-30"] {
        let day: Day = day.parse().expect("a day");
        match CompiledPolicy::compile(policy.clone(), day) {
            Ok(compiled) => compiled_is_whole(&compiled, day),
            Err(reasons) => {
                assert!(!reasons.is_empty(), "a refusal without a reason");
                for reason in reasons {
                    assert!(reason.line.is_none_or(|line| line <= lines), "{reason}: no such line");
                    assert!(!reason.mend.is_empty(), "{reason}: no mend");
                }
            }
        }
        for profile in Profile::ALL {
            for judged in judge(&policy, profile, day) {
                // Not listed is never allowed, whatever reason is given.
                assert!(judged.accepted().is_none() || !judged.verdict.is_allowed());
            }
            for replaceable in [true, false] {
                let question =
                    Question { profile, today: day, support_until: day.plus_years(5), replaceable };
                let answer = lifetime(&policy, question);
                if !answer.findings.is_empty() {
                    let first = answer.first_day.expect("a finding has its day");
                    assert!(first <= question.support_until, "{answer:?}");
                }
            }
        }
    }
    signed_comes_back(&policy);
}

fn compiled_is_whole(compiled: &CompiledPolicy, day: Day) {
    for use_ in Use::ALL {
        let rules = compiled.rules(use_);
        assert!(!rules.groups().is_empty() && !rules.suites().is_empty());
        assert!(!rules.versions().is_empty() && !rules.signatures().is_empty());
    }
    assert!(compiled.next_change().is_none_or(|change| change > day));
    assert!(compiled.at(day).is_ok(), "a policy that compiled does not compile");
}

fn signed_comes_back(policy: &Policy) {
    static KEY: OnceLock<KeyHandle> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).expect("this machine makes keys")
    });
    if let Ok(document) = sign(policy, key) {
        let back = verify(&document, key.spki_der());
        if policy.document_signing.second.is_empty() {
            assert_eq!(back.as_ref(), Ok(policy));
        } else {
            assert!(back.is_err(), "one signature where the policy asks for two");
        }
    }
}
