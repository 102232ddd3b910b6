//! The update door: a device whose channel only an older policy allows is given the newest policy, and nothing else.
//!
//! ```text
//!  CONNECT ─► CONNACK ─► SUBSCRIBE ─► SUBACK, PUBLISH policy ─► PUBACK ─► (its report) ─► DISCONNECT with the reason
//! ```
//! No session stands behind it: what the device has to say keeps waiting at the device, unacknowledged, and what waits for
//! it here stays here. Services get the reason and no policy: theirs is not ours to set.

use super::decode::Decoder;
use super::encode::encode;
use super::message::{Payload, Properties, Qos};
use super::packet::{ConnackFacts, Incoming, Outgoing, OutgoingPublish, Version, code};
use countersign_model::id::ThingId;
use countersign_model::topic::{Filter, PolicyTopic, Topic};
use countersign_protocol::permit::messaging::{MessagingSubject, judge_subscribe, permit_policy};

/// The largest packet taken at the door, in bytes: a CONNECT, a SUBSCRIBE, a report, one reading that must wait.
const MAX_PACKET: u32 = 128 << 10;

/// How long a visit may take, in milliseconds: a subscription and one document over a bad link.
const PATIENCE_MS: u64 = 20_000;

/// How long the device may still report after it has thanked for the policy, in milliseconds.
const LAST_WORDS_MS: u64 = 2_000;

/// Reports of one visit: what it holds, what became of the new one.
const MAX_REPORTS: u8 = 4;

/// The packet identifier of the one document.
const DOCUMENT_ID: u16 = 1;

/// What the shell shall do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DoorOutput {
    /// Write these bytes.
    Transmit(Vec<u8>),
    /// The device has said which policy it holds.
    State(ThingId, Payload),
    /// Close; the visit is over.
    Close,
}

/// One visit.
pub(crate) struct Door {
    /// Who; none for a service.
    thing: Option<ThingId>,
    document: Payload,
    why: String,
    decoder: Decoder,
    /// On the monotonic clock.
    ends_at: u64,
    given: bool,
    reports: u8,
    out: Vec<DoorOutput>,
}

//= specs/house.md#house-policy
//# A channel that only an older policy allows MUST be used for the newer policy and nothing else.
impl Door {
    /// A visit of `subject`, who hears `why` at its end. `now`: milliseconds on the monotonic clock.
    pub(crate) fn new(
        subject: &MessagingSubject,
        document: Payload,
        why: String,
        now: u64,
    ) -> Self {
        let thing = match subject {
            MessagingSubject::Device(thing) => Some(thing.clone()),
            MessagingSubject::Service { .. } => None,
        };
        Self { thing, document, ..Self::closed(why, now) }
    }

    /// A visit of somebody for whom there is nothing but the reason.
    pub(crate) fn closed(why: String, now: u64) -> Self {
        Self {
            thing: None,
            document: Payload::from([]),
            why,
            decoder: Decoder::new(MAX_PACKET),
            ends_at: now + PATIENCE_MS,
            given: false,
            reports: 0,
            out: Vec::new(),
        }
    }

    /// When to call [`Door::tick`], on the monotonic clock.
    pub(crate) const fn ends_at(&self) -> u64 {
        self.ends_at
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: u64) -> Vec<DoorOutput> {
        if now >= self.ends_at {
            self.goodbye();
        }
        std::mem::take(&mut self.out)
    }

    /// Bytes came, in any slices.
    pub(crate) fn received(&mut self, mut bytes: &[u8], now: u64) -> Vec<DoorOutput> {
        while !matches!(self.out.last(), Some(DoorOutput::Close)) {
            match self.decoder.next(&mut bytes) {
                Ok(Some(packet)) => self.packet(packet, now),
                Ok(None) => break,
                Err(_) => self.out.push(DoorOutput::Close),
            }
        }
        std::mem::take(&mut self.out)
    }

    fn packet(&mut self, packet: Incoming, now: u64) {
        match packet {
            Incoming::Connect(_) => self.connect(),
            Incoming::Subscribe { id, entries, .. } => {
                let filters: Vec<String> = entries.into_iter().map(|entry| entry.filter).collect();
                self.subscribe(id, &filters);
            }
            Incoming::Publish(publish) => {
                self.published(&publish.topic, publish.payload, publish.qos, publish.id);
            }
            Incoming::Puback { id: DOCUMENT_ID } if self.given => {
                self.ends_at = self.ends_at.min(now + LAST_WORDS_MS);
            }
            Incoming::Ping => self.send(&Outgoing::Pong),
            Incoming::Disconnect { .. } => self.out.push(DoorOutput::Close),
            _ => {}
        }
    }

    fn connect(&mut self) {
        let known = self.thing.is_some();
        let why = self.why.clone();
        let facts = ConnackFacts {
            // One message at a time is enough to be told to wait.
            receive_maximum: 1,
            maximum_packet: MAX_PACKET,
            why: Some(&why),
            ..ConnackFacts::default()
        };
        let code = if known { code::SUCCESS } else { code::NOT_AUTHORIZED };
        self.send(&Outgoing::Connack { session_present: false, code, facts });
        if !known {
            self.out.push(DoorOutput::Close);
        }
    }

    fn subscribe(&mut self, id: u16, filters: &[String]) {
        let Some(thing) = self.thing.clone() else { return };
        let document = PolicyTopic::Document(thing.clone()).topic();
        let subject = MessagingSubject::Device(thing.clone());
        let granted = |text: &String| {
            let filter: Option<Filter> = text.parse().ok();
            // The one topic by its own name: a wildcard would promise more than the policy.
            filter.is_some_and(|f| {
                f.as_str() == document.as_str() && judge_subscribe(&subject, &f).is_ok()
            })
        };
        let codes: Vec<u8> = filters
            .iter()
            .map(|f| if granted(f) { Qos::AtLeastOnce.as_u8() } else { code::NOT_AUTHORIZED })
            .collect();
        let asked = codes.contains(&Qos::AtLeastOnce.as_u8());
        self.send(&Outgoing::Suback { id, codes });
        if asked && !self.given {
            self.given = true;
            self.give(&thing);
        }
    }

    fn give(&mut self, thing: &ThingId) {
        let permit = permit_policy(thing);
        let (payload, properties) = (self.document.clone(), Properties::default());
        self.send(&Outgoing::Publish(OutgoingPublish {
            topic: permit.topic().as_str(),
            payload: &payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            id: Some(DOCUMENT_ID),
            expiry_secs: None,
            properties: &properties,
            subscription_ids: &[],
        }));
    }

    /// A report is taken. Anything else is not refused either, since a refusal is an answer and the message would be gone:
    /// it is not acknowledged, and comes again on a connection that may carry it.
    fn published(&mut self, topic: &str, payload: Payload, qos: Qos, id: Option<u16>) {
        let Some(thing) = self.thing.clone() else { return };
        let state = topic.parse::<Topic>().ok().and_then(|topic| PolicyTopic::parse(&topic));
        if state != Some(PolicyTopic::State(thing.clone())) {
            return;
        }
        self.reports += 1;
        if self.reports > MAX_REPORTS {
            return self.out.push(DoorOutput::Close);
        }
        self.out.push(DoorOutput::State(thing, payload));
        if let (Qos::AtLeastOnce, Some(id)) = (qos, id) {
            self.send(&Outgoing::Puback { id, code: code::SUCCESS });
        }
    }

    fn goodbye(&mut self) {
        if self.decoder.version() == Some(Version::V5) {
            let why = self.why.clone();
            self.send(&Outgoing::Disconnect { code: code::ADMINISTRATIVE_ACTION, why: Some(&why) });
        }
        self.out.push(DoorOutput::Close);
    }

    fn send(&mut self, packet: &Outgoing<'_>) {
        let version = self.decoder.version().unwrap_or(Version::V311);
        match encode(packet, version) {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => self.out.push(DoorOutput::Transmit(bytes)),
            Err(_) => self.out.push(DoorOutput::Close),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
