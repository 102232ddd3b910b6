//! The COSE working group's published examples: our reading of the formats, and our refusal of what is not ours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::{
    Algorithm, CborSerializable as _, CoseSign, CoseSign1, Header, TaggedCborSerializable as _,
};
use serde_json::Value;

use super::*;

/// SubjectPublicKeyInfo of an uncompressed point follows these bytes (RFC 5480 section 2.1).
const P256_PREFIX: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
const P384_PREFIX: &str = "3076301006072a8648ce3d020106052b81040022036200";

/// An empty protected header written as a map of none. RFC 9052 section 4.4 has it signed as no bytes, `coset`
/// has it signed as it stands. Our documents never have an empty one, so nothing rests on it; both forms refused is safe.
const EMPTY_HEADER_IN_LONG: [&str; 2] =
    ["sign-tests/sign-pass-01.json", "sign1-tests/sign-pass-01.json"];

fn cases() -> Vec<(String, Value)> {
    let text = include_str!("../../tests/data/cose-wg-examples.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all["cases"].as_object().unwrap().clone().into_iter().collect()
}

/// The public key of an example; `None` for a curve that the product does not have.
fn spki(key: &Value) -> Option<Vec<u8>> {
    let mut out = hex::decode(match key["crv"].as_str()? {
        "P-256" => P256_PREFIX,
        "P-384" => P384_PREFIX,
        _ => return None,
    })
    .unwrap();
    out.push(4);
    for coordinate in ["x", "y"] {
        out.extend(URL_SAFE_NO_PAD.decode(key[coordinate].as_str()?).unwrap());
    }
    Some(out)
}

fn hex_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap_or_default()).unwrap()
}

/// Verifies one signature as the product does once it has the header's algorithm.
fn verifies(
    spki_der: &[u8],
    protected: &Header,
    unprotected: &Header,
    fixed: &[u8],
    message: &[u8],
) -> bool {
    let algorithm = SignatureAlgorithm::of_spki(spki_der).unwrap();
    let named = protected.alg.as_ref().or(unprotected.alg.as_ref());
    named == Some(&Algorithm::Assigned(algorithm_id(algorithm)))
        && verify_fixed(algorithm, spki_der, message, fixed).is_ok()
}

#[test]
fn published_signatures_verify_and_published_forgeries_do_not() {
    let (mut verified, mut refused, mut not_ours) = (0, 0, 0);
    for (name, case) in cases() {
        let document = hex_of(&case["output"]["cbor"]);
        let wrong = case["fail"] == true || EMPTY_HEADER_IN_LONG.contains(&&*name);
        let judged = if case["input"]["sign0"].is_object() {
            judge_one(&case, &document)
        } else {
            judge_many(&case, &document)
        };
        match judged {
            None => not_ours += 1,
            Some(good) => {
                assert_eq!(good, !wrong, "{name}");
                if good { verified += 1 } else { refused += 1 }
            }
        }
    }
    // Of 32 examples, four use P-521 or SHA-512 alone, which the product has not.
    assert_eq!((verified, refused, not_ours), (14, 14, 4));
}

fn judge_one(case: &Value, document: &[u8]) -> Option<bool> {
    let input = &case["input"]["sign0"];
    let spki_der = spki(&input["key"])?;
    if input["alg"] == "ES512" {
        return None;
    }
    let parsed =
        CoseSign1::from_tagged_slice(document).or_else(|_| CoseSign1::from_slice(document));
    let Ok(signed) = parsed else { return Some(false) };
    let message = signed.tbs_data(&hex_of(&input["external"]));
    let good = verifies(
        &spki_der,
        &signed.protected.header,
        &signed.unprotected,
        &signed.signature,
        &message,
    );
    if good {
        assert_eq!(message, hex_of(&case["intermediates"]["ToBeSign_hex"]));
    }
    Some(good)
}

/// All signatures of the product's algorithms must verify; `None` when there is none.
fn judge_many(case: &Value, document: &[u8]) -> Option<bool> {
    let parsed = CoseSign::from_tagged_slice(document).or_else(|_| CoseSign::from_slice(document));
    let mut all = None;
    for (index, signer) in case["input"]["sign"]["signers"].as_array()?.iter().enumerate() {
        let Some(spki_der) = spki(&signer["key"]) else { continue };
        if signer["protected"]["alg"] == "ES512" {
            continue;
        }
        let Ok(signed) = &parsed else { return Some(false) };
        let signature = &signed.signatures[index];
        let message = signed.tbs_data(&hex_of(&signer["external"]), signature);
        let good = verifies(
            &spki_der,
            &signature.protected.header,
            &signature.unprotected,
            &signature.signature,
            &message,
        );
        if good {
            let published = &case["intermediates"]["signers"][index]["ToBeSign_hex"];
            assert_eq!(message, hex_of(published));
        }
        all = Some(all.unwrap_or(true) && good);
    }
    all
}

#[test]
fn none_of_them_passes_for_one_of_our_documents() {
    for (name, case) in cases() {
        let key = match case["input"]["sign0"]["key"].is_object() {
            true => &case["input"]["sign0"]["key"],
            false => &case["input"]["sign"]["signers"][0]["key"],
        };
        let Some(spki_der) = spki(key) else { continue };
        let document = hex_of(&case["output"]["cbor"]);
        let verifier = DocumentVerifier::new(spki_der);
        assert!(verify(&verifier, "application/countersign-test", &document).is_err(), "{name}");
    }
}
