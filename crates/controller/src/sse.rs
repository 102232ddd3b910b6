//! Server-sent events (HTML Living Standard, section 9.2.6), as bytes arrive.

use std::mem::take;

/// Longest event, in bytes: the largest value of a property with a margin for its name and its escapes.
pub(crate) const MAX_EVENT: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type; `message` where the server names none.
    pub(crate) kind: String,
    /// Its data.
    pub(crate) data: String,
}

/// An event or a line longer than [`MAX_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The reader of one stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    returned: bool,
    begun: bool,
    kind: String,
    data: String,
}

impl Reader {
    /// Takes bytes and gives the events that are complete with them.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    let line = take(&mut self.line);
                    events.extend(self.line(&line)?);
                }
                _ if self.line.len() >= MAX_EVENT => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Event>, TooLong> {
        let text = String::from_utf8_lossy(line);
        // A byte order mark may stand before the first line only.
        let text = if self.begun { &text } else { text.trim_start_matches('\u{feff}') };
        self.begun = true;
        if text.is_empty() {
            return Ok(self.event());
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if self.data.len() + value.len() >= MAX_EVENT {
                    return Err(TooLong);
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            // A comment, or a field that asks for what we do anyway.
            _ => {}
        }
        Ok(None)
    }

    fn event(&mut self) -> Option<Event> {
        let (kind, mut data) = (take(&mut self.kind), take(&mut self.data));
        if data.is_empty() {
            return None;
        }
        data.pop();
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { kind, data })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_however_their_bytes_arrive() {
        let text = "\u{feff}retry: 2000\n\nevent: power\ndata: 12.5\nid: 1\n\n:\n\n\
                    event: relay\r\ndata:true\r\n\r\ndata: a\rdata\rdata:  b\r\rdata: cut off";
        let expected =
            [event("power", "12.5"), event("relay", "true"), event("message", "a\n\n b")];
        for size in 1..text.len() {
            let mut reader = Reader::default();
            let parts = text.as_bytes().chunks(size);
            let events: Vec<_> = parts.flat_map(|part| reader.read(part).unwrap()).collect();
            assert_eq!(events, expected, "in parts of {size}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(&vec![b'x'; MAX_EVENT + 1]), Err(TooLong));
        let mut reader = Reader::default();
        let line = format!("data: {}\n", "x".repeat(1_000));
        assert!((0..100).any(|_| reader.read(line.as_bytes()) == Err(TooLong)));
    }
}
