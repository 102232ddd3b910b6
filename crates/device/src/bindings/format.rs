//! Values as they stand in files and in what programs print.

use serde_json::{Number, Value};

/// How a value is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// As JSON.
    Json,
    /// As it stands, without the blanks around it.
    Text,
    /// A decimal number, times `scale`.
    Number {
        /// What one of the product's units is in the description's.
        scale: f64,
    },
    /// One of two words.
    Boolean {
        /// For false and for true.
        words: [String; 2],
    },
}

impl Format {
    /// The value in `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(&self, bytes: &[u8]) -> Result<Value, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?.trim();
        match self {
            Self::Json => countersign_model::thing::parse_value(text.as_bytes())
                .map_err(|error| format!("is no JSON: {error}")),
            Self::Text => Ok(Value::String(text.to_owned())),
            Self::Number { scale } => {
                let integer = text.parse::<i64>().ok().filter(|_| *scale == 1.0);
                let number = match integer {
                    Some(integer) => Some(Number::from(integer)),
                    None => text.parse().ok().and_then(|raw: f64| Number::from_f64(raw * scale)),
                };
                number.map(Value::Number).ok_or_else(|| "is no number".to_owned())
            }
            Self::Boolean { words } => match words.iter().position(|word| word == text) {
                Some(index) => Ok(Value::Bool(index == 1)),
                None => Err(format!("is neither {:?} nor {:?}", words[0], words[1])),
            },
        }
    }

    /// `value`, as the product takes it.
    ///
    /// # Errors
    /// When this format cannot say it.
    pub fn print(&self, value: &Value) -> Result<String, String> {
        match (self, value) {
            (Self::Json, value) => Ok(value.to_string()),
            (Self::Text, Value::String(text)) if !text.contains(['\n', '\0']) => Ok(text.clone()),
            (Self::Text, Value::String(_)) => Err("has a line break".to_owned()),
            (Self::Number { scale }, Value::Number(number)) if *scale == 1.0 => {
                Ok(number.to_string())
            }
            (Self::Number { scale }, Value::Number(number)) => {
                let raw = number.as_f64().unwrap_or_default() / scale;
                // 0.3 / 0.1 is meant to be 3.
                let whole = (raw - raw.round()).abs() < 1e-6;
                Ok(if whole { format!("{:.0}", raw.round()) } else { raw.to_string() })
            }
            (Self::Boolean { words }, Value::Bool(value)) => Ok(words[usize::from(*value)].clone()),
            _ => Err("cannot be written in the binding's format".to_owned()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_and_written_back() {
        let words =
            |no: &str, yes: &str| Format::Boolean { words: [no.to_owned(), yes.to_owned()] };
        for (format, text, value) in [
            (Format::Json, "{\"on\":true}", json!({"on": true})),
            (Format::Text, "idle", json!("idle")),
            (Format::Number { scale: 1.0 }, "9007199254740993", json!(9_007_199_254_740_993_i64)),
            (Format::Number { scale: 0.001 }, "21500", json!(21.5)),
            (words("0", "1"), "1", json!(true)),
            (words("off", "on"), "off", json!(false)),
        ] {
            assert_eq!(format.parse(format!(" {text}\n").as_bytes()).unwrap(), value);
            assert_eq!(format.print(&value).unwrap(), text);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let number = Format::Number { scale: 2.0 };
        let boolean = Format::Boolean { words: ["0".to_owned(), "1".to_owned()] };
        for (format, text) in [
            (&Format::Json, "{"),
            (&number, "NaN"),
            (&number, "1e999"),
            (&number, ""),
            (&boolean, "2"),
        ] {
            format.parse(text.as_bytes()).unwrap_err();
        }
        Format::Text.parse(&[0xFF]).unwrap_err();
        Format::Text.print(&json!("one\ntwo")).unwrap_err();
        boolean.print(&json!(1)).unwrap_err();
        number.print(&json!("1")).unwrap_err();
    }
}
