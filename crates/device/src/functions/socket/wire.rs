//! The lines of the product's socket. No I/O.
//!
//! One JSON object a line, UTF-8, at most [`MAX_LINE`] bytes with its line feed:
//!
//! ```text
//!  agent ─► product   {"id":7,"op":"read","name":"relay"}
//!                     {"id":8,"op":"write","name":"relay","value":true}
//!                     {"id":9,"op":"invoke","name":"toggle","value":null}
//!  product ─► agent   {"id":7,"value":true}
//!                     {"id":8}
//!                     {"id":9,"refused":"not while it is hot"}     the caller's fault; they are told the reason
//!                     {"id":9,"failed":"no bus"}                   the product's fault; the reason goes to the log
//!                     {"event":"overload","value":{"watts":4000}}
//! ```
//! Answers may come in any order; one whose caller has stopped waiting is dropped.

use countersign_model::id::AffordanceName;
use countersign_model::thing::parse_value;
use serde_json::{Value, json};

/// Longest line in either direction, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// Longest reason that is passed on, in characters.
const MAX_REASON: usize = 200;

/// What the agent asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The present value of a property.
    Read,
    /// A new value for a property.
    Write,
    /// An action.
    Invoke,
}

/// A line for the product, with its line feed.
#[must_use]
pub fn request(id: u64, op: Op, name: &AffordanceName, value: &Value) -> String {
    let line = match op {
        Op::Read => json!({ "id": id, "op": "read", "name": name }),
        Op::Write => json!({ "id": id, "op": "write", "name": name, "value": value }),
        Op::Invoke => json!({ "id": id, "op": "invoke", "name": name, "value": value }),
    };
    format!("{line}\n")
}

/// A line of the product's.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The answer to a request.
    Answer {
        /// The request's number.
        id: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something that happened by itself.
    Event {
        /// The event's name.
        name: AffordanceName,
        /// Its data.
        data: Value,
    },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done; null where there is nothing to tell.
    Done(Value),
    /// The caller's value is at fault.
    Refused(String),
    /// The product could not.
    Failed(String),
}

/// A line that breaks the protocol, and with it the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(String);

impl Said {
    /// Reads a line, without its line feed.
    ///
    /// # Errors
    /// [`WireError`] for whatever is not exactly one of the forms.
    pub fn parse(line: &[u8]) -> Result<Self, WireError> {
        let fail = |text: &str| Err(WireError(text.to_owned()));
        let value =
            parse_value(line).map_err(|error| WireError(format!("not a line of JSON: {error}")))?;
        let Value::Object(mut fields) = value else { return fail("not a JSON object") };
        let id = fields.remove("id");
        let event = fields.remove("event");
        let value = fields.remove("value");
        let said = match (id, event) {
            (None, Some(Value::String(name))) => {
                let name = name.parse().map_err(|_| WireError("event: is no name".to_owned()))?;
                Self::Event { name, data: value.unwrap_or_default() }
            }
            (Some(id), None) => {
                let Some(id) = id.as_u64() else { return fail("id: is no number of a request") };
                let mut text = |field: &str| match fields.remove(field) {
                    Some(Value::String(text)) => Ok(Some(text.chars().take(MAX_REASON).collect())),
                    Some(_) => Err(WireError(format!("{field}: is no text"))),
                    None => Ok(None),
                };
                let refused: Option<String> = text("refused")?;
                let failed: Option<String> = text("failed")?;
                let outcome = match (value, refused, failed) {
                    (value, None, None) => Outcome::Done(value.unwrap_or_default()),
                    (None, Some(reason), None) => Outcome::Refused(reason),
                    (None, None, Some(reason)) => Outcome::Failed(reason),
                    _ => return fail("more than one of value, refused and failed"),
                };
                Self::Answer { id, outcome }
            }
            _ => return fail("neither id nor event, or both"),
        };
        match fields.keys().next() {
            Some(field) => fail(&format!("{field:?}: is not known")),
            None => Ok(said),
        }
    }
}

/// Cuts a stream into lines and holds no more than one of them.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Takes what has come, and gives the lines that are whole.
    ///
    /// # Errors
    /// [`WireError`] for a line of more than [`MAX_LINE`] bytes.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.hold(&bytes[..end])?;
            lines.push(std::mem::take(&mut self.held));
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes)?;
        Ok(lines)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        if self.held.len() + bytes.len() >= MAX_LINE {
            return Err(WireError(format!("a line of more than {MAX_LINE} bytes")));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let answer = |id, outcome| Said::Answer { id, outcome };
        for (line, said) in [
            (r#"{"id":7,"value":true}"#, answer(7, Outcome::Done(json!(true)))),
            (r#"{"id":8}"#, answer(8, Outcome::Done(Value::Null))),
            (r#"{"id":9,"refused":"hot"}"#, answer(9, Outcome::Refused("hot".to_owned()))),
            (r#"{"id":9,"failed":"bus"}"#, answer(9, Outcome::Failed("bus".to_owned()))),
            (
                r#"{"event":"overload","value":{"watts":1}}"#,
                Said::Event { name: "overload".parse().unwrap(), data: json!({"watts": 1}) },
            ),
        ] {
            assert_eq!(Said::parse(line.as_bytes()).unwrap(), said);
        }
        let name = "relay".parse().unwrap();
        let line = request(1, Op::Write, &name, &json!("a\nb"));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
    }

    #[test]
    fn everything_else_is_an_error() {
        for line in [
            "",
            "[]",
            "{}",
            r#"{"id":-1}"#,
            r#"{"id":1,"event":"x"}"#,
            r#"{"id":1,"value":1,"failed":"x"}"#,
            r#"{"id":1,"refused":3}"#,
            r#"{"id":1,"extra":3}"#,
            r#"{"event":"../x"}"#,
            r#"{"id":1,"id":2}"#,
        ] {
            assert!(Said::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_come_apart_and_are_bounded() {
        let stream = b"one\n\ntwo\nthr";
        for cut in 0..=stream.len() {
            let mut lines = Lines::default();
            let mut seen = lines.take(&stream[..cut]).unwrap();
            seen.extend(lines.take(&stream[cut..]).unwrap());
            assert_eq!(seen, [&b"one"[..], b"", b"two"], "{cut}");
        }
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'x'; MAX_LINE - 1]).unwrap().is_empty());
        lines.take(b"x").unwrap_err();
    }
}
