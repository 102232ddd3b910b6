//! The policy key changes: who follows, who comes back, and that nobody returns to a key that was left.

use super::*;
use countersign_crypto::cose::{CoseError, DocumentKeys};
use countersign_crypto::policy::keys::{name_successor, with_changes};
use countersign_crypto::policy::{KeyChangeError, PolicyKeyId, SignedPolicyError, sign_document};
use countersign_crypto::second::{SecondAlgorithm, SecondKey};
use proptest::prelude::*;

/// Keys of one maker, and the statements between them.
struct Line {
    keys: Vec<KeyHandle>,
    statements: Vec<Vec<u8>>,
}

fn key() -> KeyHandle {
    KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap()
}

fn stated(before: &KeyHandle, next: &KeyHandle, place: usize) -> Vec<u8> {
    let place = u64::try_from(place).unwrap();
    name_successor(
        &DocumentKeys::new(before.clone()),
        &DocumentKeys::new(next.clone()),
        place,
        MAKER,
    )
    .unwrap()
}

impl Line {
    fn new(changes: usize) -> Self {
        let keys: Vec<_> = (0..=changes).map(|_| key()).collect();
        let statements =
            (1..=changes).map(|place| stated(&keys[place - 1], &keys[place], place)).collect();
        Self { keys, statements }
    }

    /// A policy as the maker signs it while the key in that place is active.
    fn signed(&self, version: u64, place: usize) -> Vec<u8> {
        let policy = policy::sign(&written(version, |_| {}), &self.keys[place]).unwrap();
        with_changes(&self.statements[..place], policy).unwrap()
    }

    fn trust(&self, held: usize) -> PolicyTrust {
        PolicyTrust::new(self.keys[held].spki_der(), MAKER)
    }

    fn slots(&self, side: Side, held: usize) -> PolicySlots {
        let first = PreparedPolicy::prepare(&self.signed(1, held), &self.trust(held), today());
        PolicySlots::new(side, first.unwrap())
    }
}

fn arrives(slots: &mut PolicySlots, document: &[u8], trust: &PolicyTrust) -> Result<(), Refusal> {
    let prepared = PreparedPolicy::prepare(document, trust, today());
    slots.offer(prepared, &floor(), Source::Peer("gateway.example"), now(), SOON)
}

fn in_force(slots: &mut PolicySlots) {
    let digest = slots.candidate().unwrap().digest();
    slots.report(Event::TrialSucceeded(digest), now(), STILL).unwrap();
    slots.report(Event::Carried(digest), now(), STILL).unwrap();
}

fn id(key: &KeyHandle) -> PolicyKeyId {
    PolicyKeyId::of(key.spki_der())
}

//= specs/house.md#house-policy
//= type=test
//# A policy whose chain of keys does not lead on from the newest key that was ever taken MUST be refused.
#[test]
fn a_key_that_was_left_signs_nothing_any_more_not_even_after_a_restart() {
    let line = Line::new(2);
    let trust = line.trust(0);
    for side in [Side::Device, Side::Gateway] {
        let mut slots = line.slots(side, 0);
        assert_eq!(slots.newest_key(), None);
        arrives(&mut slots, &line.signed(2, 1), &trust).unwrap();
        in_force(&mut slots);
        assert_eq!(slots.newest_key(), Some(id(&line.keys[1])));

        // Whoever stole the old key: a policy of a higher version, alone or with another successor.
        let thief = key();
        let fork = stated(&line.keys[0], &thief, 1);
        let fork = with_changes(&[fork], policy::sign(&written(9, |_| {}), &thief).unwrap());
        for forged in [line.signed(9, 0), fork.unwrap()] {
            let refusal = arrives(&mut slots, &forged, &trust).unwrap_err();
            let newest = id(&line.keys[1]);
            assert_eq!(
                (refusal.word(), &refusal),
                (Word::Signature, &Refusal::KeyBehind { newest })
            );
        }
        // With the true statements, which do not lead to it; and a chain that comes back to it.
        let by_old = policy::sign(&written(9, |_| {}), &line.keys[0]).unwrap();
        let refused = [
            with_changes(&line.statements[..1], by_old.clone()).unwrap(),
            with_changes(
                &[line.statements[0].clone(), stated(&line.keys[1], &line.keys[0], 2)],
                by_old,
            )
            .unwrap(),
        ];
        for forged in refused {
            let refusal = arrives(&mut slots, &forged, &trust).unwrap_err();
            assert_eq!(refusal.word(), Word::Signature, "{refusal}");
        }

        // A restart forgets neither the key nor what it signed, and the text of the state says which it is.
        let stored: StoredSlots =
            serde_json::from_slice(&serde_json::to_vec(&slots.stored()).unwrap()).unwrap();
        assert_eq!(stored, slots.stored());
        let find = |wanted: &StoredPolicy| {
            let place = usize::try_from(wanted.version - 1).unwrap();
            PreparedPolicy::restore(&line.signed(wanted.version, place), &trust, today()).ok()
        };
        let built_in = PreparedPolicy::built_in(today());
        let mut slots = PolicySlots::resume(side, stored, find, built_in, now()).unwrap();
        assert_eq!(slots.active().version(), 2);
        assert!(matches!(
            arrives(&mut slots, &line.signed(9, 0), &trust),
            Err(Refusal::KeyBehind { .. })
        ));
        arrives(&mut slots, &line.signed(3, 2), &trust).unwrap();
        assert_eq!(slots.newest_key(), Some(id(&line.keys[2])));
    }
}

//= specs/house.md#house-policy
//= type=test
//# A device that slept through changes of the policy key MUST be able to take the newest policy by the key that it holds.
#[test]
fn who_slept_through_several_changes_takes_the_newest_policy_at_once() {
    let line = Line::new(3);
    for held in 0..=3 {
        let mut slots = line.slots(Side::Device, held);
        arrives(&mut slots, &line.signed(7, 3), &line.trust(held)).unwrap();
        in_force(&mut slots);
        let newest = (held < 3).then(|| id(&line.keys[3]));
        assert_eq!((slots.active().version(), slots.newest_key()), (7, newest), "{held}");
    }
    // One with a newer key from the factory does not take what an older one signed.
    let refusal = PreparedPolicy::prepare(&line.signed(7, 1), &line.trust(2), today()).unwrap_err();
    let unknown = SignedPolicyError::Keys(KeyChangeError::Unknown);
    assert_eq!(refusal, Refusal::Signature(unknown));
}

//= specs/house.md#house-policy
//= type=test
//# A change of the policy key MUST bear a second signature where the policy in force asks its successor for one.
#[test]
fn where_two_signatures_are_needed_the_change_of_the_key_needs_them_too() {
    let second = SecondKey::ephemeral(SecondAlgorithm::MlDsa65).unwrap();
    let (old, next) = (key(), key());
    let trust =
        PolicyTrust::new(old.spki_der(), MAKER).with_second(Some(second.spki_der().to_vec()));
    let both = |key: &KeyHandle| DocumentKeys::new(key.clone()).with_second(second.clone());
    let signed = |version: u64, key: &KeyHandle| {
        let policy = written(version, |policy| {
            policy.document_signing.second = vec!["ML-DSA-65".into()];
        });
        sign_document(&policy, &both(key)).unwrap()
    };
    let first = PreparedPolicy::prepare(&signed(1, &old), &trust, today()).unwrap();
    let mut slots = PolicySlots::new(Side::Device, first);
    // Whoever broke the classical algorithm alone cannot lead a device away from its maker.
    let alone = stated(&old, &next, 1);
    let alone = with_changes(&[alone], signed(2, &next)).unwrap();
    let refusal = arrives(&mut slots, &alone, &trust).unwrap_err();
    assert_eq!(refusal, Refusal::SecondAsked { offered: 2, by: 1 });
    // Nor with a second key of their own.
    let other = SecondKey::ephemeral(SecondAlgorithm::MlDsa65).unwrap();
    let other = DocumentKeys::new(old.clone()).with_second(other);
    let other = name_successor(&other, &DocumentKeys::new(next.clone()), 1, MAKER).unwrap();
    let other = with_changes(&[other], signed(2, &next)).unwrap();
    assert!(arrives(&mut slots, &other, &trust).unwrap_err().to_string().contains("another key"));
    assert_eq!(slots.newest_key(), None);
    let together = name_successor(&both(&old), &DocumentKeys::new(next.clone()), 1, MAKER).unwrap();
    let together = with_changes(&[together], signed(2, &next)).unwrap();
    arrives(&mut slots, &together, &trust).unwrap();
    in_force(&mut slots);

    // What was believed before needs no second signature later: a change from before there was a second key.
    let mut slots =
        PolicySlots::new(Side::Device, PreparedPolicy::prepare(&alone, &trust, today()).unwrap());
    let third = with_changes(&[stated(&old, &next, 1)], signed(3, &next)).unwrap();
    arrives(&mut slots, &third, &trust).unwrap();
}

//= specs/house.md#house-policy
//= type=test
//# A new key of second signatures MUST be believed only by the signatures of the second key before it and of the policy key, and by its own.
#[test]
fn the_second_key_rolls_and_the_one_that_was_left_signs_nothing_more() {
    let seconds = [0, 1, 2].map(|_| SecondKey::ephemeral(SecondAlgorithm::MlDsa65).unwrap());
    let keys = [key(), key(), key()];
    let trust = |second: Option<usize>| {
        PolicyTrust::new(keys[0].spki_der(), MAKER)
            .with_second(second.map(|at| seconds[at].spki_der().to_vec()))
    };
    let both = |key: usize, second: usize| {
        DocumentKeys::new(keys[key].clone()).with_second(seconds[second].clone())
    };
    let signed = |version: u64, by: &DocumentKeys, statements: &[Vec<u8>]| {
        let policy = written(version, |policy| {
            policy.document_signing.second = vec!["ML-DSA-65".into()];
        });
        with_changes(statements, sign_document(&policy, by).unwrap()).unwrap()
    };
    let changes = [
        name_successor(&both(0, 0), &both(1, 1), 1, MAKER).unwrap(),
        name_successor(&both(1, 1), &both(2, 2), 2, MAKER).unwrap(),
    ];
    let first = PreparedPolicy::prepare(&signed(1, &both(0, 0), &[]), &trust(Some(0)), today());
    let mut slots = PolicySlots::new(Side::Device, first.unwrap());
    // Under the second key that was left, also beside the new classical one: refused.
    let left = signed(2, &both(1, 0), &changes[..1]);
    let refusal = arrives(&mut slots, &left, &trust(Some(0))).unwrap_err();
    assert_eq!(refusal, Refusal::Signature(CoseError::SecondKey.into()));
    // A thief of the classical key brings a second key of their own.
    let stolen = SecondKey::ephemeral(SecondAlgorithm::MlDsa65).unwrap();
    let thief = DocumentKeys::new(keys[0].clone()).with_second(stolen);
    let theirs = name_successor(&thief, &both(1, 2), 1, MAKER).unwrap();
    let theirs = signed(2, &both(1, 2), &[theirs]);
    let refusal = arrives(&mut slots, &theirs, &trust(Some(0))).unwrap_err();
    assert_eq!(refusal, Refusal::Signature(CoseError::SecondKey.into()));
    // Awake, one roll after the other; and whoever slept through both.
    arrives(&mut slots, &signed(2, &both(1, 1), &changes[..1]), &trust(Some(0))).unwrap();
    in_force(&mut slots);
    arrives(&mut slots, &signed(3, &both(2, 2), &changes), &trust(Some(0))).unwrap();
    in_force(&mut slots);
    let first = PreparedPolicy::prepare(&signed(1, &both(0, 0), &[]), &trust(Some(0)), today());
    let mut sleeper = PolicySlots::new(Side::Device, first.unwrap());
    arrives(&mut sleeper, &signed(3, &both(2, 2), &changes), &trust(Some(0))).unwrap();
    // Whoever holds no second key learns none.
    let refusal = PreparedPolicy::prepare(&signed(3, &both(2, 2), &changes), &trust(None), today());
    assert_eq!(refusal.unwrap_err(), Refusal::NoSecondKey);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is offered in whatever order, by whichever key and with whichever statements: the newest key never becomes an
    /// older one, versions grow, and the maker's newest policy is taken in the end.
    //= specs/house.md#house-policy
    //= type=test
    //# A policy whose chain of keys does not lead on from the newest key that was ever taken MUST be refused.
    #[test]
    fn never_back_and_always_home(
        held in 0_usize..3,
        offers in proptest::collection::vec(
            (2_u64..9, 0_usize..4, proptest::collection::vec(0_usize..3, 0..4), any::<bool>()),
            0..8,
        ),
    ) {
        let line = Line::new(3);
        let trust = line.trust(held);
        let mut slots = line.slots(Side::Device, held);
        let place = |slots: &PolicySlots| slots.newest_key().map_or(held, |newest| {
            line.keys.iter().position(|key| id(key) == newest).unwrap()
        });
        for (version, signer, mixed, honest) in offers {
            let (at, highest) = (place(&slots), slots.highest());
            let mixed: Vec<_> = mixed.iter().map(|one| line.statements[*one].clone()).collect();
            let statements = if honest { &line.statements[..signer] } else { &mixed[..] };
            let policy = policy::sign(&written(version, |_| {}), &line.keys[signer]).unwrap();
            let document = with_changes(statements, policy).unwrap();
            if arrives(&mut slots, &document, &trust).is_ok() {
                prop_assert_eq!(place(&slots), signer);
                prop_assert!(signer >= at && version > highest);
                in_force(&mut slots);
            } else {
                prop_assert_eq!((place(&slots), slots.highest()), (at, highest));
                prop_assert!(!honest || signer < at || version <= highest);
            }
        }
        arrives(&mut slots, &line.signed(10, 3), &trust).unwrap();
        prop_assert_eq!(place(&slots), 3);
    }
}
