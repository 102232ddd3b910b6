//! Published examples of CBOR (RFC 8949 appendix A and section 4.2.1), through the encoder that makes signed documents.
#![allow(clippy::unwrap_used)]

use countersign_crypto::cose;
use countersign_crypto::policy::{self, POLICY_CONTENT_TYPE, Policy};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde_json::{Value, json};

/// Those of appendix A that have a value in JSON, and one encoding.
const ONE_ENCODING: &[(&str, &str)] = &[
    ("00", "0"),
    ("01", "1"),
    ("0a", "10"),
    ("17", "23"),
    ("1818", "24"),
    ("1819", "25"),
    ("1864", "100"),
    ("1903e8", "1000"),
    ("1a000f4240", "1000000"),
    ("1b000000e8d4a51000", "1000000000000"),
    ("1bffffffffffffffff", "18446744073709551615"),
    ("20", "-1"),
    ("29", "-10"),
    ("3863", "-100"),
    ("3903e7", "-1000"),
    ("f4", "false"),
    ("f5", "true"),
    ("f6", "null"),
    ("60", r#""""#),
    ("6161", r#""a""#),
    ("6449455446", r#""IETF""#),
    ("62225c", r#""\"\\""#),
    ("62c3bc", "\"\u{fc}\""),
    ("63e6b0b4", "\"\u{6c34}\""),
    ("64f0908591", "\"\u{10151}\""),
    ("80", "[]"),
    ("83010203", "[1,2,3]"),
    ("8301820203820405", "[1,[2,3],[4,5]]"),
    (
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]",
    ),
    ("a0", "{}"),
    ("a26161016162820203", r#"{"a":1,"b":[2,3]}"#),
    ("826161a161626163", r#"["a",{"b":"c"}]"#),
    ("a56161614161626142616361436164614461656145", r#"{"a":"A","b":"B","c":"C","d":"D","e":"E"}"#),
];

/// Those of indefinite length: readable, and not what a deterministic encoder writes.
const INDEFINITE: &[(&str, &str)] = &[
    ("7f657374726561646d696e67ff", r#""streaming""#),
    ("9fff", "[]"),
    ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
    ("9f01820203820405ff", "[1,[2,3],[4,5]]"),
    ("83018202039f0405ff", "[1,[2,3],[4,5]]"),
    ("83019f0203ff820405", "[1,[2,3],[4,5]]"),
    ("bf61610161629f0203ffff", r#"{"a":1,"b":[2,3]}"#),
    ("826161bf61626163ff", r#"["a",{"b":"c"}]"#),
];

fn write(out: &mut Encoder<Vec<u8>>, value: &Value) {
    match value {
        Value::Null => out.null().map(drop),
        Value::Bool(value) => out.bool(*value).map(drop),
        Value::String(text) => out.str(text).map(drop),
        Value::Number(number) => match number.as_u64() {
            Some(number) => out.u64(number).map(drop),
            None => out.i64(number.as_i64().unwrap()).map(drop),
        },
        Value::Array(items) => {
            out.array(items.len() as u64).unwrap();
            items.iter().for_each(|item| write(out, item));
            return;
        }
        Value::Object(fields) => {
            out.map(fields.len() as u64).unwrap();
            for (key, value) in fields {
                out.str(key).unwrap();
                write(out, value);
            }
            return;
        }
    }
    .unwrap();
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    write(&mut out, value);
    out.into_writer()
}

fn read(from: &mut Decoder<'_>) -> Value {
    match from.datatype().unwrap() {
        Type::Null => from.null().map(|()| Value::Null).unwrap(),
        Type::Bool => json!(from.bool().unwrap()),
        Type::String | Type::StringIndef => {
            json!(from.str_iter().unwrap().map(Result::unwrap).collect::<String>())
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => json!(from.u64().unwrap()),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => json!(from.i64().unwrap()),
        Type::Array | Type::ArrayIndef => {
            let len = from.array().unwrap();
            let mut items = Vec::new();
            while more(from, len, items.len()) {
                items.push(read(from));
            }
            Value::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let len = from.map().unwrap();
            let mut fields = serde_json::Map::new();
            while more(from, len, fields.len()) {
                let key = from.str().unwrap().to_owned();
                fields.insert(key, read(from));
            }
            Value::Object(fields)
        }
        other => panic!("{other:?} is in none of the examples"),
    }
}

fn more(from: &mut Decoder<'_>, len: Option<u64>, read: usize) -> bool {
    match len {
        Some(len) => (read as u64) < len,
        None if from.datatype().unwrap() == Type::Break => {
            from.skip().unwrap();
            false
        }
        None => true,
    }
}

#[test]
fn appendix_a_is_read_and_written() {
    for (hex, value) in ONE_ENCODING {
        let (bytes, value) = (hex::decode(hex).unwrap(), serde_json::from_str(value).unwrap());
        assert_eq!(read(&mut Decoder::new(&bytes)), value, "{hex}");
        assert_eq!(hex::encode(encoded(&value)), *hex);
    }
    for (hex, value) in INDEFINITE {
        let (bytes, value) = (hex::decode(hex).unwrap(), serde_json::from_str(value).unwrap());
        assert_eq!(read(&mut Decoder::new(&bytes)), value, "{hex}");
        assert_ne!(hex::encode(encoded(&value)), *hex);
    }
    let bytes =
        |hex: &str| minicbor::decode::<minicbor::bytes::ByteVec>(&hex::decode(hex).unwrap());
    assert!(bytes("40").unwrap().is_empty());
    assert_eq!(**bytes("4401020304").unwrap(), [1, 2, 3, 4]);
}

/// Section 4.2.1: keys are in the bytewise order of their encodings; the RFC's own example of that order.
#[test]
fn keys_are_ordered_by_their_encodings() {
    let keys = [
        json!(10),
        json!(100),
        json!(-1),
        json!("z"),
        json!("aa"),
        json!([100]),
        json!([-1]),
        json!(false),
    ];
    let encodings: Vec<String> = keys.iter().map(|key| hex::encode(encoded(key))).collect();
    assert_eq!(encodings, ["0a", "1864", "20", "617a", "626161", "811864", "8120", "f4"]);
    assert!(encodings.is_sorted());
}

/// A signed policy is in the core deterministic encoding: each of its tokens in its shortest form, nothing indefinite.
#[test]
fn a_signed_policy_is_in_the_core_deterministic_encoding() {
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let mut policy = Policy::built_in();
    policy.maker = Some("Example".to_owned());
    policy.withdraws = vec![0, 23, 24, 65_536];
    let document = policy::sign(&policy, &key).unwrap();
    let payload = cose::verify1(&document, POLICY_CONTENT_TYPE, key.spki_der()).unwrap();
    let (mut from, mut again) = (Decoder::new(&payload), Encoder::new(Vec::new()));
    anew(&mut from, &mut again);
    assert_eq!(from.position(), payload.len());
    assert_eq!(again.into_writer(), payload);
}

/// One item in its shortest, definite form.
fn anew(from: &mut Decoder<'_>, out: &mut Encoder<Vec<u8>>) {
    match from.datatype().unwrap() {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            out.u64(from.u64().unwrap()).unwrap();
        }
        Type::Bool => drop(out.bool(from.bool().unwrap()).unwrap()),
        Type::String => drop(out.str(from.str().unwrap()).unwrap()),
        Type::Array => {
            let len = from.array().unwrap().unwrap();
            out.array(len).unwrap();
            (0..len).for_each(|_| anew(from, out));
        }
        Type::Map => {
            let len = from.map().unwrap().unwrap();
            out.map(len).unwrap();
            let mut last = None;
            for _ in 0..len {
                let key = from.u64().unwrap();
                assert!(last < Some(key), "keys ascend");
                last = Some(key);
                out.u64(key).unwrap();
                anew(from, out);
            }
        }
        other => panic!("{other:?} has no place in a policy"),
    }
}
