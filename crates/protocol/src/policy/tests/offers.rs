//! What is refused, why, and what stands in the record of it.

use super::*;
use crate::permit::device::{AccessList, Permit, Request, Voucher, judge};
use countersign_crypto::policy::SignedPolicyError;
use countersign_crypto::secret::Strength;
use countersign_model::state::DeviceState;
use countersign_model::thing::{Operation, ThingDescription};
use std::collections::BTreeSet;

fn arrives(slots: &mut PolicySlots, document: &[u8], from: &str) -> Result<(), Refusal> {
    let prepared = PreparedPolicy::prepare(document, &trust(), today());
    slots.offer(prepared, &floor(), Source::Peer(from), now(), SOON)
}

//= specs/house.md#house-policy
//= type=test
//# A policy for another maker MUST be refused.
//= specs/house.md#house-policy
//= type=test
//# An expired policy MUST be refused.
//= specs/house.md#house-policy
//= type=test
//# A policy that the provider cannot carry out MUST be refused with the reason.
//= specs/house.md#house-policy
//= type=test
//# A policy that is below the built-in floor MUST be refused.
//= specs/house.md#house-policy
//= type=test
//# Nobody MUST return to a version that the policy in force withdraws.
//= specs/house.md#house-policy
//= type=test
//# A refused policy MUST be recorded with its reason.
#[test]
fn each_refusal_has_its_word_and_stands_in_the_record() {
    let good = document(6, |_| {});
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let stranger = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let forged = policy::sign(&written(6, |_| {}), &stranger).unwrap();
    let cases = [
        ("signature", forged),
        ("signature", flipped),
        ("signature", good[..good.len() - 9].to_vec()),
        ("signature", Vec::new()),
        ("maker", document(6, |policy| policy.maker = Some("Somebody".into()))),
        ("provider", document(6, |policy| groups(policy, &["X25519Kyber"]))),
        ("expired", document(6, |policy| policy.expires = "2026-11-24".parse().unwrap())),
        ("not-newer", document(5, |policy| policy.expires = "2030-01-01".parse().unwrap())),
        ("not-newer", document(4, |_| {})),
        ("withdrawn", document(3, |_| {})),
    ];
    let first = prepared(5, |policy| policy.withdraws = vec![3]);
    let mut slots = PolicySlots::new(Side::Device, first);
    let mut words = BTreeSet::new();
    for (word, document) in cases {
        let before = word_of(&slots);
        let refusal = arrives(&mut slots, &document, "gateway.example").unwrap_err();
        assert_eq!(refusal.word().as_str(), word, "{refusal}");
        assert_eq!(word_of(&slots), before, "a refusal changes nothing");
        let entry = slots.history().entries().last().unwrap();
        assert_eq!((entry.word.as_str(), entry.at), (word, now()));
        assert_eq!(entry.from, "gateway.example");
        assert_eq!(entry.text, refusal.to_string().chars().take(400).collect::<String>());
        words.insert(refusal.word());
    }
    assert!(arrives(&mut slots, &good, "gateway.example").is_ok());
    words.insert(arrives(&mut slots, &good, "gateway.example").unwrap_err().word());
    let named: Vec<_> = words.iter().map(|word| word.as_str()).collect();
    assert_eq!(
        named,
        ["signature", "maker", "provider", "expired", "not-newer", "withdrawn", "busy"]
    );
}

fn word_of(slots: &PolicySlots) -> String {
    word(slots)
}

//= specs/house.md#house-policy
//= type=test
//# A policy that is below the built-in floor MUST be refused.
#[test]
fn the_floor_is_of_version_and_of_strength() {
    let mut slots = steady(Side::Device, 1);
    let source = Source::Peer("gateway.example");
    let mut offered =
        |floor: &PolicyFloor| slots.offer(Ok(plain(4)), floor, source, now(), SOON).unwrap_err();
    let high = offered(&floor().raised_to(5, Strength(0)));
    assert_eq!(high, Refusal::BelowFloor(BelowFloor::Version { offered: 4, floor: 5 }));
    let strong = offered(&floor().raised_to(0, Strength(192)));
    assert!(
        matches!(&strong, Refusal::BelowFloor(BelowFloor::Strength { bits: 128, floor: 192, .. })),
        "{strong}"
    );
    assert_eq!(strong.word(), Word::BelowFloor);
    let only = |policy: &mut Policy| {
        groups(policy, &["secp384r1"]);
        policy.uses.values_mut().for_each(|tls| tls.suites = vec!["TLS_AES_256_GCM_SHA384".into()]);
    };
    let signed = slots
        .offer(Ok(prepared(4, only)), &floor().raised_to(0, Strength(192)), source, now(), SOON)
        .unwrap_err()
        .to_string();
    assert!(signed.contains("ecdsa_secp256r1_sha256 has 128 bit, less than 192"), "{signed}");
}

#[test]
fn the_same_knock_again_only_counts_up() {
    let mut slots = steady(Side::Device, 1);
    for _ in 0..500 {
        arrives(&mut slots, b"junk", "gateway.example").unwrap_err();
    }
    arrives(&mut slots, &document(1, |_| {}), "gateway.example").unwrap_err();
    for name in 0..200 {
        arrives(&mut slots, b"junk", &format!("{name}.example")).unwrap_err();
    }
    let entries = slots.history().entries();
    assert_eq!(entries.len(), HISTORY);
    assert!(entries.iter().all(|entry| entry.version.is_none() && entry.times == 1));
    for _ in 0..3 {
        arrives(&mut slots, b"junk", "199.example").unwrap_err();
    }
    assert_eq!(slots.history().entries().last().unwrap().times, 4);
    assert!(matches!(
        PreparedPolicy::prepare(b"junk", &trust(), today()),
        Err(Refusal::Signature(SignedPolicyError::Cose(_)))
    ));
}

//= specs/en-303-645.md#5.5-5
//= type=test
//# Security-relevant configuration over a network interface MUST follow authentication.
#[test]
fn at_the_device_itself_a_policy_comes_in_by_the_owners_permit() {
    let thing = ThingDescription::parse(
        br#"{ "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"countersign": "urn:countersign:td#"}],
              "title": "Plug", "securityDefinitions": {"mtls": {"scheme": "auto"}}, "security": "mtls",
              "actions": {"policy": {"countersign:role": "owner", "countersign:securityRelevant": true}}}"#,
    )
    .unwrap();
    let owners = AccessList::first_owner("ada".parse().unwrap());
    let ada = owners.person(&"ada".parse().unwrap(), Voucher::Home, Timestamp(u64::MAX));
    let request = Request::new(Operation::InvokeAction, "policy", b"").unwrap();
    let judged = judge(DeviceState::Initialised, &ada, &thing, &request, now()).unwrap();
    let Permit::Configure(permit) = judged else { panic!("{judged:?}") };
    let mut slots = steady(Side::Device, 1);
    slots.offer(Ok(plain(2)), &floor(), Source::Local(&permit), now(), SOON).unwrap();
    assert_eq!(slots.history().entries().last().unwrap().from, "person:ada");
    // The permit opens the door to the slots; the signature is still the maker's.
    let forged = PreparedPolicy::prepare(b"junk", &trust(), today());
    assert!(slots.offer(forged, &floor(), Source::Local(&permit), now(), SOON).is_err());
}

#[test]
fn words_are_what_is_stored() {
    for word in Word::ALL {
        assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
    }
}
