//! What the device wants to say and has not been thanked for yet.
//!
//! ```text
//!  push ─► waiting ─► take ─► on the wire ─► acknowledged ─► gone
//!             ▲                   │
//!             └──── session lost ─┘      (in the old order: at least once)
//! ```

use std::collections::{BTreeMap, VecDeque};

/// Most messages kept while the gateway is away: at one reading a second, four minutes; older readings go first.
pub const MAX_MESSAGES: usize = 256;

/// Most payload bytes kept, waiting and on the wire: a device has little memory, and a reading is tens of bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// How badly a message is missed when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A reading: the next one replaces it, so the oldest goes when room is needed.
    Reading,
    /// An event or receipt: only refused when the box is full of its own kind.
    Kept,
}

/// One message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The full topic name.
    pub topic: String,
    /// JSON text.
    pub payload: Vec<u8>,
    /// Whether the gateway keeps it for those who come later.
    pub retain: bool,
    /// MQTT 5 correlation data of the request that this answers.
    pub correlation: Option<Vec<u8>>,
    /// What gives way first.
    pub weight: Weight,
}

impl Outgoing {
    fn cost(&self) -> usize {
        self.topic.len() + self.payload.len() + self.correlation.as_ref().map_or(0, Vec::len)
    }
}

/// No room, even after old readings were let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full ({MAX_MESSAGES} messages or {MAX_BYTES} bytes)")]
pub struct Full;

#[derive(Debug)]
struct Sent {
    order: u64,
    this_connection: bool,
    message: Outgoing,
}

/// A bounded queue with a memory of what is on the wire.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Outgoing>,
    on_the_wire: BTreeMap<u16, Sent>,
    sent: u64,
    bytes: usize,
    dropped: u64,
}

impl Outbox {
    /// Queues a message, letting the oldest readings go if it needs their room.
    ///
    /// # Errors
    /// [`Full`] when no reading is left to let go; the message is not queued.
    pub fn push(&mut self, message: Outgoing) -> Result<(), Full> {
        let cost = message.cost();
        while self.len() >= MAX_MESSAGES || self.bytes + cost > MAX_BYTES {
            let Some(oldest) = self.waiting.iter().position(|m| m.weight == Weight::Reading) else {
                return Err(Full);
            };
            if let Some(gone) = self.waiting.remove(oldest) {
                self.bytes -= gone.cost();
                self.dropped += 1;
            }
        }
        self.bytes += cost;
        self.waiting.push_back(message);
        Ok(())
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Moves the oldest waiting message to the wire under `packet_id`.
    pub fn take(&mut self, packet_id: u16) -> Option<Outgoing> {
        let message = self.waiting.pop_front()?;
        self.sent += 1;
        let sent = Sent { order: self.sent, this_connection: true, message: message.clone() };
        self.on_the_wire.insert(packet_id, sent);
        Some(message)
    }

    /// The gateway has it: it is given back and forgotten.
    pub fn acknowledged(&mut self, packet_id: u16) -> Option<Outgoing> {
        let sent = self.on_the_wire.remove(&packet_id)?;
        self.bytes -= sent.message.cost();
        Some(sent.message)
    }

    /// The connection is gone: what was on the wire may or may not have arrived.
    pub fn unsend(&mut self) {
        self.on_the_wire.values_mut().for_each(|sent| sent.this_connection = false);
    }

    /// Packet identifiers of what earlier connections left unacknowledged, in the order of first sending.
    #[must_use]
    pub fn unacknowledged(&self) -> Vec<u16> {
        let mut left: Vec<_> =
            self.on_the_wire.iter().filter(|(_, sent)| !sent.this_connection).collect();
        left.sort_by_key(|(_, sent)| sent.order);
        left.into_iter().map(|(packet_id, _)| *packet_id).collect()
    }

    /// A message of an earlier connection, which is now sent again under its old identifier.
    pub fn again(&mut self, packet_id: u16) -> Option<&Outgoing> {
        let sent = self.on_the_wire.get_mut(&packet_id)?;
        sent.this_connection = true;
        Some(&sent.message)
    }

    /// What was not sent on this connection waits again, in its old order: the gateway forgot the session, or
    /// takes fewer at once than before.
    pub fn requeue_unsent(&mut self) {
        for packet_id in self.unacknowledged().into_iter().rev() {
            if let Some(sent) = self.on_the_wire.remove(&packet_id) {
                self.waiting.push_front(sent.message);
            }
        }
    }

    /// Messages waiting and on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.on_the_wire.len()
    }

    /// Whether nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Readings let go for want of room since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(text: &str, weight: Weight) -> Outgoing {
        Outgoing {
            topic: "t".into(),
            payload: text.into(),
            retain: false,
            correlation: None,
            weight,
        }
    }

    #[test]
    fn old_readings_give_way_and_receipts_do_not() {
        let mut outbox = Outbox::default();
        outbox.push(message("receipt", Weight::Kept)).unwrap();
        for reading in 0..MAX_MESSAGES + 10 {
            outbox.push(message(&reading.to_string(), Weight::Reading)).unwrap();
        }
        assert_eq!(outbox.len(), MAX_MESSAGES);
        assert_eq!(outbox.dropped(), 11);
        assert_eq!(outbox.take(1).unwrap().payload, b"receipt");
        assert_eq!(outbox.take(2).unwrap().payload, b"11");
    }

    #[test]
    fn a_box_full_of_receipts_refuses() {
        let mut outbox = Outbox::default();
        for _ in 0..MAX_MESSAGES {
            outbox.push(message("r", Weight::Kept)).unwrap();
        }
        assert_eq!(outbox.push(message("one more", Weight::Kept)), Err(Full));
        let big = message(&"x".repeat(MAX_BYTES + 1), Weight::Reading);
        assert_eq!(Outbox::default().push(big), Err(Full));
    }

    #[test]
    fn a_lost_session_sends_again_in_order_what_was_not_acknowledged() {
        let mut outbox = Outbox::default();
        for text in ["a", "b", "c", "d"] {
            outbox.push(message(text, Weight::Reading)).unwrap();
        }
        // Packet identifiers come back in any order; the order of sending counts.
        for packet_id in [9, 3, 5] {
            outbox.take(packet_id).unwrap();
        }
        assert!(outbox.acknowledged(3).is_some());
        outbox.unsend();
        assert_eq!(outbox.unacknowledged(), [9, 5]);
        assert!(outbox.again(9).is_some_and(|message| message.payload == b"a"));
        outbox.unsend();
        outbox.requeue_unsent();
        let again: Vec<_> = (1..=3).map(|id| outbox.take(id).unwrap().payload).collect();
        assert_eq!(again, [b"a", b"c", b"d"]);
        (1..=3).for_each(|id| assert!(outbox.acknowledged(id).is_some()));
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes, 0);
    }
}
