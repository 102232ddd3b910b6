//! The second signature: who needs it, and that none is left out.

use super::*;
use countersign_crypto::cose::DocumentKeys;
use countersign_crypto::policy::sign_document;
use countersign_crypto::second::{SecondAlgorithm, SecondKey};

static SECOND: LazyLock<SecondKey> = LazyLock::new(second_key);

fn second_key() -> SecondKey {
    SecondKey::ephemeral(SecondAlgorithm::MlDsa65).unwrap()
}

fn both() -> PolicyTrust {
    trust().with_second(Some(SECOND.spki_der().to_vec()))
}

fn asking(policy: &mut Policy) {
    policy.document_signing.second = vec!["ML-DSA-65".into()];
}

fn signed(policy: &Policy, first: &KeyHandle, second: &SecondKey) -> Vec<u8> {
    let keys = DocumentKeys::new(first.clone()).with_second(second.clone());
    sign_document(policy, &keys).unwrap()
}

fn doubly(version: u64, change: impl FnOnce(&mut Policy)) -> Vec<u8> {
    signed(&written(version, change), &KEY, &SECOND)
}

fn slots(first: &[u8]) -> PolicySlots {
    let first = PreparedPolicy::prepare(first, &both(), today()).unwrap();
    PolicySlots::new(Side::Device, first)
}

fn arrives(slots: &mut PolicySlots, document: &[u8], trust: &PolicyTrust) -> Result<(), Refusal> {
    let prepared = PreparedPolicy::prepare(document, trust, today());
    slots.offer(prepared, &floor(), Source::Peer("gateway.example"), now(), SOON)
}

/// Documents of version 6 that leave something out, and what is said of each where two signatures are needed.
fn lacking(change: fn(&mut Policy)) -> Vec<(Vec<u8>, &'static str)> {
    let policy = written(6, change);
    let stranger = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let mut bad = signed(&policy, &KEY, &SECOND);
    *bad.last_mut().unwrap() ^= 1;
    vec![
        (policy::sign(&policy, &KEY).unwrap(), "signature"),
        (bad, "second signature"),
        (signed(&policy, &KEY, &second_key()), "another key"),
        (signed(&policy, &stranger, &SECOND), "signature"),
        (Vec::new(), "COSE"),
    ]
}

//= specs/house.md#house-policy
//= type=test
//# A policy that names a second signature, or that follows one in force which does, MUST be refused without it.
//= specs/house.md#house-policy
//= type=test
//# A document that needs two signatures MUST be refused when either is missing or does not verify.
#[test]
fn what_lacks_a_signature_is_refused_whoever_asked_for_it() {
    let silent: fn(&mut Policy) = |_| {};
    for (first, change) in [
        // The policy in force asks; the next one, which says nothing of it, takes nothing away.
        (doubly(5, asking), silent),
        (doubly(5, asking), asking),
        // The next one asks for itself.
        (document(5, silent), asking),
    ] {
        let mut slots = slots(&first);
        for (lacking, text) in lacking(change) {
            let before = word(&slots);
            let refusal = arrives(&mut slots, &lacking, &both()).unwrap_err();
            assert_eq!(refusal.word(), Word::Signature, "{refusal}");
            assert!(refusal.to_string().contains(text), "{text}: {refusal}");
            assert_eq!(word(&slots), before);
            assert_eq!(slots.history().entries().last().unwrap().word, Word::Signature);
        }
        arrives(&mut slots, &doubly(6, change), &both()).unwrap();
    }
}

#[test]
fn a_second_signature_that_nobody_needs_is_the_makers_all_the_same() {
    let mut slots = slots(&document(5, |_| {}));
    let foreign = signed(&written(6, |_| {}), &KEY, &second_key());
    let refusal = arrives(&mut slots, &foreign, &both()).unwrap_err();
    assert!(refusal.to_string().contains("another key"), "{refusal}");
    arrives(&mut slots, &doubly(6, |_| {}), &both()).unwrap();
}

#[test]
fn it_ends_with_a_policy_that_asks_no_more_and_was_itself_signed_twice() {
    let mut slots = slots(&doubly(5, asking));
    arrives(&mut slots, &doubly(6, |_| {}), &both()).unwrap();
    // On trial it is not in force yet.
    let single = document(7, |_| {});
    assert!(matches!(
        arrives(&mut slots, &single, &both()),
        Err(Refusal::SecondAsked { offered: 7, by: 5 })
    ));
    let digest = slots.candidate().unwrap().digest();
    slots.report(Event::TrialSucceeded(digest), now(), STILL).unwrap();
    arrives(&mut slots, &single, &both()).unwrap();
}

#[test]
fn whoever_knows_no_second_key_takes_what_needs_none_and_says_why_not_the_rest() {
    let mut slots = slots(&document(5, |_| {}));
    let refusal = arrives(&mut slots, &doubly(6, asking), &trust()).unwrap_err();
    assert_eq!((refusal.word(), &refusal), (Word::Signature, &Refusal::NoSecondKey));
    assert!(refusal.to_string().contains("provisioned again"), "{refusal}");
    arrives(&mut slots, &doubly(6, |_| {}), &trust()).unwrap();
}

#[test]
fn a_restart_forgets_neither_key_nor_demand() {
    let first = doubly(5, asking);
    let stored = slots(&first).stored();
    let find = |_: &StoredPolicy| PreparedPolicy::restore(&first, &both(), today()).ok();
    let built_in = PreparedPolicy::built_in(today());
    let mut slots = PolicySlots::resume(Side::Device, stored, find, built_in, now()).unwrap();
    assert_eq!(slots.active().version(), 5);
    assert!(arrives(&mut slots, &document(6, |_| {}), &both()).is_err());
    assert!(arrives(&mut slots, &doubly(6, |_| {}), &both()).is_ok());
}
