//! Published test vectors, through the crate's public doors.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::second::{self, SecondAlgorithm};
use serde_json::Value;

/// Tag, length (RFC 8949's cousin X.690 section 8.1) and content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match u16::try_from(len).unwrap().to_be_bytes() {
        [0, short @ 0..=127] => out.push(short),
        [0, long] => out.extend([0x81, long]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend(content);
    out
}

/// A SubjectPublicKeyInfo around a raw key of any length (RFC 9881 section 4).
fn spki(algorithm: SecondAlgorithm, raw: &[u8]) -> Vec<u8> {
    let identifier = der(0x30, &der(0x06, algorithm.oid().as_bytes()));
    der(0x30, &[identifier, der(0x03, &[&[0], raw].concat())].concat())
}

#[test]
fn ml_dsa_verifies_as_wycheproof_says() {
    let all: Value = serde_json::from_str(include_str!("data/wycheproof-mldsa.json")).unwrap();
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let keys: Vec<_> = all["keys"].as_array().unwrap().iter().map(bytes).collect();
    let mut tried = [0; 2];
    for test in all["tests"].as_array().unwrap() {
        let algorithm = SecondAlgorithm::from_name(test["algorithm"].as_str().unwrap()).unwrap();
        if !SecondAlgorithm::offered().contains(&algorithm) {
            continue;
        }
        let key = &keys[usize::try_from(test["publicKey"].as_u64().unwrap()).unwrap()];
        let valid = test["result"] == "valid";
        let verified =
            second::verify(&spki(algorithm, key), &bytes(&test["msg"]), &bytes(&test["sig"]));
        assert_eq!(verified.is_ok(), valid, "{algorithm}: {}: {verified:?}", test["comment"]);
        tried[usize::from(valid)] += 1;
    }
    let offered = SecondAlgorithm::offered().len();
    assert_eq!(tried.map(|n| n * 3), [14 * 3 * offered, 5 * 3 * offered], "{tried:?}");
}
