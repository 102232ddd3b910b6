use super::document::*;
use super::*;
use crate::second::{SecondAlgorithm, SecondKey};
use coset::{CoseSign, CoseSign1};

const TYPE: &str = "application/countersign-test";

fn keys(algorithm: SignatureAlgorithm) -> DocumentKeys {
    DocumentKeys::new(KeyHandle::ephemeral(algorithm).unwrap())
}

/// Keys of both kinds, for every algorithm that the provider offers.
fn pairs() -> Vec<DocumentKeys> {
    let second = SecondAlgorithm::offered().iter();
    second
        .zip(SignatureAlgorithm::ALL.into_iter().cycle())
        .map(|(&second, first)| keys(first).with_second(SecondKey::ephemeral(second).unwrap()))
        .collect()
}

fn classical_only(keys: &DocumentKeys) -> DocumentVerifier {
    DocumentVerifier::new(keys.classical().spki_der().to_vec())
}

#[test]
fn verifies_for_its_key_and_type_only() {
    for algorithm in SignatureAlgorithm::ALL {
        let (ours, others) = (keys(algorithm), keys(algorithm));
        let document = sign(&ours, TYPE, b"payload").unwrap();
        let verified = verify(&ours.verifier(), TYPE, &document).unwrap();
        assert_eq!((verified.payload(), verified.second_spki_der()), (&b"payload"[..], None));
        assert!(verify(&others.verifier(), TYPE, &document).is_err());
        let other = verify(&ours.verifier(), "application/other", &document);
        assert!(matches!(other, Err(CoseError::ContentType(_))));
    }
}

#[test]
fn two_signatures_verify_together_and_the_first_vouches_for_the_second_key() {
    for keys in pairs() {
        let document = sign(&keys, TYPE, b"payload").unwrap();
        let second = keys.second().unwrap().spki_der();
        for verifier in [keys.verifier(), classical_only(&keys)] {
            let verified = verify(&verifier, TYPE, &document).unwrap();
            assert_eq!(verified.second_spki_der(), Some(second));
            assert_eq!(verified.into_payload(), b"payload");
        }
        let other = verify(&keys.verifier(), "application/other", &document);
        assert!(matches!(other, Err(CoseError::ContentType(_))));
    }
}

//= specs/house.md#house-policy
//= type=test
//# A document that needs two signatures MUST be refused when either is missing or does not verify.
#[test]
fn each_missing_or_bad_signature_is_refused_with_its_reason() {
    for keys in pairs() {
        let both = sign(&keys, TYPE, b"payload").unwrap();
        let parsed = CoseSign::from_tagged_slice(&both).unwrap();
        let with = |change: &dyn Fn(&mut CoseSign)| {
            let mut changed = parsed.clone();
            change(&mut changed);
            changed.to_tagged_vec().unwrap()
        };
        let needing = keys.verifier();
        let refused = |verifier: &DocumentVerifier, document: &[u8]| {
            verify(verifier, TYPE, document).unwrap_err()
        };

        // One signature: by a signer that has no second key, or because somebody took the other away.
        let single = sign(&DocumentKeys::new(keys.classical().clone()), TYPE, b"payload").unwrap();
        assert_eq!(refused(&needing, &single), CoseError::SecondMissing);
        assert!(verify(&classical_only(&keys), TYPE, &single).is_ok());
        let cut = with(&|document| document.signatures.truncate(1));
        assert_eq!(refused(&needing, &cut), CoseError::SecondMissing);
        assert_eq!(refused(&classical_only(&keys), &cut), CoseError::SecondMissing);
        let second_alone = with(&|document| drop(document.signatures.remove(0)));
        assert_eq!(refused(&needing, &second_alone), CoseError::Header);
        assert_eq!(refused(&needing, &with(&|d| d.signatures.clear())), CoseError::Form);
        assert_eq!(refused(&needing, &with(&|d| d.signatures.reverse())), CoseError::Header);
        let thrice = with(&|d| d.signatures.push(d.signatures[0].clone()));
        assert_eq!(refused(&needing, &thrice), CoseError::Form);

        // Bad ones.
        let first = with(&|document| document.signatures[0].signature[9] ^= 1);
        assert_eq!(refused(&needing, &first), CoseError::Signature(SignatureError::Invalid));
        let second = with(&|document| document.signatures[1].signature[9] ^= 1);
        for verifier in [needing.clone(), classical_only(&keys)] {
            let reason = refused(&verifier, &second);
            assert_eq!(reason, CoseError::Second(SignatureError::Invalid));
        }

        // Another second key, properly introduced: fine for a stranger, not for who trusts one already.
        let algorithm = keys.second().unwrap().algorithm();
        let stranger = SecondKey::ephemeral(algorithm).unwrap();
        let other = DocumentKeys::new(keys.classical().clone()).with_second(stranger);
        let other = sign(&other, TYPE, b"payload").unwrap();
        assert_eq!(refused(&needing, &other), CoseError::SecondKey);
        assert!(verify(&classical_only(&keys), TYPE, &other).is_ok());
    }
}

#[test]
fn a_classical_signature_does_not_move_between_the_two_forms() {
    for keys in pairs() {
        let both = CoseSign::from_tagged_slice(&sign(&keys, TYPE, b"payload").unwrap()).unwrap();
        let single = sign(&DocumentKeys::new(keys.classical().clone()), TYPE, b"payload").unwrap();
        let mut single = CoseSign1::from_tagged_slice(&single).unwrap();
        single.signature = both.signatures[0].signature.clone();
        let moved = single.to_tagged_vec().unwrap();
        assert!(verify(&classical_only(&keys), TYPE, &moved).is_err());
    }
}

#[test]
fn every_flipped_bit_and_cut_is_found() {
    let single = keys(SignatureAlgorithm::EcdsaP256Sha256);
    for keys in pairs().into_iter().take(1).chain([single]) {
        let document = sign(&keys, TYPE, b"payload").unwrap();
        // A signature of thousands of bytes is one number to its verifier: every seventh byte will do there.
        let step = if document.len() > 1000 { 7 } else { 1 };
        for verifier in [keys.verifier(), classical_only(&keys)] {
            for index in (0..document.len()).step_by(step) {
                let mut changed = document.clone();
                changed[index] ^= 1;
                assert!(verify(&verifier, TYPE, &changed).is_err(), "byte {index}");
                assert!(verify(&verifier, TYPE, &document[..index]).is_err());
            }
        }
    }
}

#[test]
fn another_encoding_of_the_same_document_is_refused() {
    for keys in pairs() {
        let document = sign(&keys, TYPE, b"payload").unwrap();
        // The tag 98 in two bytes more than it needs.
        let longer = [&[0xd9, 0x00, 0x62], &document[2..]].concat();
        assert_eq!(verify(&keys.verifier(), TYPE, &longer), Err(CoseError::Form));
        let untagged = &document[2..];
        assert!(verify(&keys.verifier(), TYPE, untagged).is_err());
    }
}
