#![allow(clippy::unwrap_used)]

use super::*;
use crate::policy::{Policy, VerifiedPolicy, sign};
use crate::second::{SecondAlgorithm, SecondKey};
use crate::signature::{KeyHandle, SignatureAlgorithm};

fn key(number: usize) -> KeyHandle {
    let all = SignatureAlgorithm::ALL;
    KeyHandle::ephemeral(all[number % all.len()]).unwrap()
}

fn alone(key: &KeyHandle) -> DocumentKeys {
    DocumentKeys::new(key.clone())
}

fn stated(before: &KeyHandle, next: &KeyHandle, place: u64) -> Vec<u8> {
    name_successor(&alone(before), &alone(next), place, "Acme").unwrap()
}

/// Keys 0 to `count`, and the statements between them.
fn line(count: usize) -> (Vec<KeyHandle>, Vec<Vec<u8>>) {
    let keys: Vec<_> = (0..=count).map(key).collect();
    let pairs = (1_u64..).zip(keys.windows(2));
    let statements = pairs.map(|(place, pair)| stated(&pair[0], &pair[1], place)).collect();
    (keys, statements)
}

fn way(held: &KeyHandle, statements: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, KeyChangeError> {
    let way = follow(held.spki_der(), "Acme", statements)?;
    Ok(way.into_iter().map(|step| step.spki_der).collect())
}

//= specs/house.md#house-policy
//= type=test
//# A new policy key MUST be believed only by the signature of the policy key before it, and by its own.
#[test]
fn foreign_changed_and_misplaced_statements_are_refused() {
    let (keys, statements) = line(3);
    let newest: Vec<_> = keys.iter().map(|key| key.spki_der().to_vec()).collect();
    for held in 0..=3 {
        assert_eq!(way(&keys[held], &statements).unwrap(), newest[held + 1..], "{held}");
    }
    assert_eq!(named(&statements).unwrap(), newest);
    // By a stranger, by a later key, and by nobody but the key before.
    let stranger = key(0);
    assert_eq!(way(&stranger, &statements), Err(KeyChangeError::Unknown));
    let content = encode(&Said {
        place: 1,
        maker: "Acme".into(),
        before: newest[0].clone(),
        next: stranger.spki_der().to_vec(),
    });
    let accepted = cose::sign1(&stranger, ACCEPTED, &content).unwrap();
    for forger in [&stranger, &keys[2]] {
        let forged = cose::sign1(forger, NAMED, &accepted).unwrap();
        assert!(matches!(way(&keys[0], &[forged]), Err(KeyChangeError::Signature(_))));
    }
    let unwilling = cose::sign1(&keys[0], ACCEPTED, &content).unwrap();
    let unwilling = cose::sign1(&keys[0], NAMED, &unwilling).unwrap();
    assert!(matches!(way(&keys[0], &[unwilling]), Err(KeyChangeError::Next(_))));
    // Missing, doubled, turned round, gone back.
    assert_eq!(way(&keys[0], &statements[1..]), Err(KeyChangeError::Unknown));
    for order in [&[0, 2][..], &[0, 0, 1], &[0, 2, 1], &[1, 0, 2]] {
        let mixed: Vec<_> = order.iter().map(|at| statements[*at].clone()).collect();
        assert_eq!(way(&keys[0], &mixed), Err(KeyChangeError::Order), "{order:?}");
    }
    let back = [statements[0].clone(), stated(&keys[1], &keys[0], 2)];
    assert_eq!(way(&keys[0], &back), Err(KeyChangeError::Twice));
    assert_eq!(way(&keys[1], &back), Err(KeyChangeError::Twice));
    // Every byte of a statement.
    for at in 0..statements[0].len() {
        let mut changed = statements.clone();
        changed[0][at] ^= 1;
        assert!(way(&keys[0], &changed).is_err(), "byte {at}");
    }
    // Another maker's, no successor at all, too many.
    assert_eq!(
        follow(keys[0].spki_der(), "Other", &statements).unwrap_err(),
        KeyChangeError::Maker
    );
    let own = DocumentKeys::new(keys[0].clone());
    for (next, place) in [(&keys[0], 1), (&keys[1], 0)] {
        assert_eq!(name_successor(&own, &alone(next), place, "Acme"), Err(KeyChangeError::Form));
    }
    let many = vec![Vec::new(); MAX_KEY_CHANGES + 1];
    assert_eq!(way(&keys[0], &many), Err(KeyChangeError::TooMany(MAX_KEY_CHANGES + 1)));
    let file = to_bytes(&statements);
    assert_eq!(from_bytes(&file).unwrap(), statements);
    assert!(from_bytes(&file[1..]).is_err());
}

#[test]
fn a_document_carries_what_leads_to_it_and_has_one_form() {
    let (keys, statements) = line(2);
    let policy = Policy { maker: Some("Acme".into()), ..Policy::built_in() };
    let signed = sign(&policy, &keys[2]).unwrap();
    let document = with_changes(&statements, signed.clone()).unwrap();
    assert_eq!(split(&document).unwrap(), (statements.clone(), signed.clone()));
    let digest = VerifiedPolicy::verify(&signed, keys[2].spki_der()).unwrap().digest();
    for (held, steps) in keys.iter().zip([2, 1, 0]) {
        let verified = VerifiedPolicy::verify(&document, held.spki_der()).unwrap();
        assert_eq!((verified.way().len(), verified.digest()), (steps, digest));
    }
    assert!(VerifiedPolicy::verify(&signed, keys[1].spki_der()).is_err());
    // By a key that was left, with the statements that lead past it.
    let late = with_changes(&statements, sign(&policy, &keys[1]).unwrap()).unwrap();
    assert!(keys.iter().all(|held| VerifiedPolicy::verify(&late, held.spki_der()).is_err()));
    // Another maker's policy by the same key.
    let other = Policy { maker: Some("Other".into()), ..policy };
    let other = with_changes(&statements, sign(&other, &keys[2]).unwrap()).unwrap();
    let refused = VerifiedPolicy::verify(&other, keys[0].spki_der());
    assert_eq!(refused.unwrap_err(), SignedPolicyError::Keys(KeyChangeError::Maker));
    // In another form.
    let trailing = [&document[..], &[0]].concat();
    let none = join(&[], &signed);
    for other in [&trailing, &none, &document[..document.len() - 1].to_vec(), &vec![WITH_CHANGES]] {
        assert_eq!(split(other).unwrap_err(), KeyChangeError::Form);
    }
    assert_eq!(with_changes(&[], signed.clone()).unwrap(), signed);
}

#[test]
fn a_statement_under_two_signatures_says_whose_the_second_is() {
    for &algorithm in SecondAlgorithm::offered() {
        let (before, next) = (key(0), key(1));
        let second = SecondKey::ephemeral(algorithm).unwrap();
        let keys = DocumentKeys::new(before.clone()).with_second(second.clone());
        let mut statement = name_successor(&keys, &alone(&next), 1, "Acme").unwrap();
        let way = follow(before.spki_der(), "Acme", std::slice::from_ref(&statement)).unwrap();
        assert_eq!(way[0].second_spki_der.as_deref(), Some(second.spki_der()));
        assert!(statement.len() < 10 * 1024);
        *statement.last_mut().unwrap() ^= 1;
        assert!(follow(before.spki_der(), "Acme", &[statement]).is_err());
    }
}

//= specs/house.md#house-policy
//= type=test
//# A new key of second signatures MUST be believed only by the signatures of the second key before it and of the policy key, and by its own.
#[test]
fn the_second_key_changes_by_the_second_key_before_it() {
    let Some(&algorithm) = SecondAlgorithm::offered().first() else { return };
    let second = || SecondKey::ephemeral(algorithm).unwrap();
    let keys: Vec<_> = (0..4).map(key).collect();
    let seconds: Vec<_> = (0..3).map(|_| second()).collect();
    let both = |key: usize, second: usize| alone(&keys[key]).with_second(seconds[second].clone());
    let stated = |before: &DocumentKeys, next: &DocumentKeys, place| {
        name_successor(before, next, place, "Acme").unwrap()
    };
    let statements = [
        stated(&both(0, 0), &both(1, 1), 1),
        stated(&both(1, 1), &alone(&keys[2]), 2),
        stated(&both(2, 1), &both(3, 2), 3),
    ];
    let way = follow(keys[0].spki_der(), "Acme", &statements).unwrap();
    let of = |at: usize| Some(seconds[at].spki_der().to_vec());
    let seen: Vec<_> =
        way.into_iter().map(|step| (step.second_spki_der, step.next_second_spki_der)).collect();
    assert_eq!(seen, [(of(0), of(1)), (of(1), None), (of(1), of(2))]);
    let named: Vec<_> = [0, 1, 3].into_iter().zip([0, 1, 2].map(|at| of(at).unwrap())).collect();
    assert_eq!(named_seconds(&statements).unwrap(), named);
    assert_eq!(named_seconds(&line(2).1).unwrap(), []);
    // By nobody, by itself, by one that was left, by a stranger; back to one that was left.
    assert_eq!(
        name_successor(&alone(&keys[0]), &both(1, 1), 1, "Acme"),
        Err(KeyChangeError::Signature(CoseError::SecondMissing))
    );
    assert_eq!(name_successor(&both(0, 0), &both(1, 0), 1, "Acme"), Err(KeyChangeError::Form));
    let content = encode(&Said {
        place: 1,
        maker: "Acme".into(),
        before: keys[0].spki_der().to_vec(),
        next: keys[1].spki_der().to_vec(),
    });
    let accepted = cose::sign(&both(1, 1), ACCEPTED, &content).unwrap();
    let unsaid = cose::sign(&alone(&keys[0]), NAMED, &accepted).unwrap();
    let refused =
        |statements: &[Vec<u8>]| follow(keys[0].spki_der(), "Acme", statements).unwrap_err();
    assert_eq!(refused(&[unsaid]), KeyChangeError::Signature(CoseError::SecondMissing));
    let left = stated(&both(1, 0), &both(2, 2), 2);
    assert_eq!(
        refused(&[statements[0].clone(), left]),
        KeyChangeError::Signature(CoseError::SecondKey)
    );
    let back = stated(&both(1, 1), &both(2, 0), 2);
    assert_eq!(refused(&[statements[0].clone(), back]), KeyChangeError::Twice);
    // A policy under the second key of its place, and under no other.
    let policy = Policy { maker: Some("Acme".into()), ..Policy::built_in() };
    let verifier = both(0, 0).verifier();
    for (second, fits) in [(0, false), (1, false), (2, true)] {
        let signed = crate::policy::sign_document(&policy, &both(3, second)).unwrap();
        let document = with_changes(&statements, signed).unwrap();
        assert_eq!(VerifiedPolicy::verify_document(&document, &verifier).is_ok(), fits);
    }
    let total: usize = statements.iter().map(Vec::len).sum();
    assert!(total < 32 * 1024, "{total}");
}
