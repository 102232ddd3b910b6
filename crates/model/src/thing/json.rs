//! JSON from strangers: bounded in size and depth, and without the ambiguity of a name that stands twice.

use super::schema::ValueError;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Largest value of a property, action or event, in bytes of JSON.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;
/// Deepest nesting of such a value.
pub const MAX_VALUE_DEPTH: usize = 16;

/// Reads one JSON value.
///
/// # Errors
/// More than [`MAX_VALUE_BYTES`], deeper than [`MAX_VALUE_DEPTH`], a member that stands twice, or no JSON at all.
pub fn parse_value(bytes: &[u8]) -> Result<Value, ValueError> {
    let fail = |reason: String| ValueError { path: "$".to_owned(), reason };
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(fail(format!("longer than {MAX_VALUE_BYTES} bytes")));
    }
    parse_strict(bytes, MAX_VALUE_DEPTH).map_err(fail)
}

pub(super) fn parse_strict(bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth }.deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Builds a [`Value`] as serde_json does, but refuses duplicate names and too much depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("the member {name:?} stands twice")));
            }
            let value = members.next_value_seed(inner)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_or_bottomless_values_are_refused() {
        assert!(parse_value(br#"{"a":1,"b":[true,null,-2.5,"x"]}"#).is_ok());
        assert!(parse_value(br#"{"a":1,"a":2}"#).is_err());
        assert!(parse_value(b"[1] [2]").is_err());
        assert!(parse_value(b"").is_err());
        assert!(
            parse_value(&[b"[".repeat(MAX_VALUE_DEPTH), b"]".repeat(MAX_VALUE_DEPTH)].concat())
                .is_ok()
        );
        assert!(parse_value(&b"[".repeat(10_000)).is_err());
        assert!(parse_value(&vec![b' '; MAX_VALUE_BYTES + 1]).is_err());
    }
}
