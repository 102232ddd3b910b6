use super::*;
use crate::broker::tests::kit::{Client, Dial, backend, connect_packet, device, got, v5, v311};

const WHY: &str = "policy 3 is in force";

/// A visitor with the client's side of it.
struct Visit {
    door: Door,
    client: Client,
    states: Vec<Vec<u8>>,
    closed: bool,
}

impl Visit {
    fn of(subject: &MessagingSubject, dial: Dial) -> Self {
        let door = Door::new(subject, Payload::from(*b"the policy"), WHY.to_owned(), 0);
        let mut client = Client::new(dial.version);
        client.send(connect_packet(&dial));
        let mut visit = Self { door, client, states: Vec::new(), closed: false };
        visit.settle(0);
        visit
    }

    /// Lets everything happen that is under way; each byte comes by itself.
    fn settle(&mut self, now: u64) {
        loop {
            let bytes = self.client.take_output();
            if bytes.is_empty() || self.closed {
                return;
            }
            for byte in bytes {
                let outputs = self.door.received(&[byte], now);
                self.attend(outputs);
            }
        }
    }

    fn attend(&mut self, outputs: Vec<DoorOutput>) {
        for output in outputs {
            match output {
                DoorOutput::Transmit(bytes) => self.client.receive(&bytes),
                DoorOutput::State(_, payload) => self.states.push(payload.to_vec()),
                DoorOutput::Close => self.closed = true,
            }
        }
    }

    fn at(&mut self, now: u64) {
        let outputs = self.door.tick(now);
        self.attend(outputs);
    }
}

const ALL: [(&str, u8); 3] = [
    ("things/plug-1/actions/+", 1),
    ("things/plug-1/properties/+/set", 1),
    ("things/plug-1/policy", 1),
];

//= specs/house.md#house-policy
//= type=test
//# A channel that only an older policy allows MUST be used for the newer policy and nothing else.
#[test]
fn a_device_gets_the_policy_and_nothing_else() {
    for dial in [v5("plug-1"), v311("plug-1")] {
        let refused = if dial.version == v311("x").version { 0x80 } else { code::NOT_AUTHORIZED };
        let mut visit = Visit::of(&device("plug-1"), dial);
        assert_eq!(visit.client.connack(), Some((0, false)), "no session is given");
        visit.client.subscribe(&ALL);
        visit.settle(10);
        assert_eq!(visit.client.suback(), [refused, refused, 1]);
        assert_eq!(visit.client.messages(), [got("things/plug-1/policy", "the policy", 1, false)]);
        // What it has to say is neither taken nor refused: it keeps it.
        visit.client.publish("things/plug-1/properties/power", "1", 1, false);
        visit.client.publish("things/plug-2/policy/state", "{}", 0, false);
        visit.settle(20);
        assert_eq!((visit.client.pubacks(), visit.states.len()), (Vec::new(), 0));
        visit.client.publish("things/plug-1/policy/state", "{}", 0, false);
        visit.settle(30);
        assert_eq!(visit.states, [b"{}"]);
        // It has thanked for the policy; a little later it is shown out.
        assert!(visit.door.ends_at() <= 30 + LAST_WORDS_MS && !visit.closed);
        visit.at(30 + LAST_WORDS_MS);
        assert!(visit.closed);
    }
}

#[test]
fn the_reason_is_told_in_words_and_nobody_stays_for_ever() {
    let mut visit = Visit::of(&device("plug-1"), v5("plug-1"));
    visit.at(PATIENCE_MS - 1);
    assert!(!visit.closed);
    visit.at(PATIENCE_MS);
    assert_eq!((visit.closed, visit.client.goodbye()), (true, Some(code::ADMINISTRATIVE_ACTION)));
    let said = format!("{:?}", visit.client.packets);
    assert!(said.contains(WHY), "{said}");
}

#[test]
fn a_service_and_whoever_has_no_policy_to_get_hear_why() {
    let visit = Visit::of(&backend(), v5("backend"));
    assert_eq!((visit.client.connack(), visit.closed), (Some((code::NOT_AUTHORIZED, false)), true));
    assert!(format!("{:?}", visit.client.packets).contains(WHY));
    let mut door = Door::closed(WHY.to_owned(), 0);
    let mut client = Client::new(v5("plug-1").version);
    client.send(connect_packet(&v5("plug-1")));
    let outputs = door.received(&client.take_output(), 0);
    assert_eq!(outputs.last(), Some(&DoorOutput::Close));
}

#[test]
fn wildcards_noise_and_chatter_lead_nowhere() {
    let mut visit = Visit::of(&device("plug-1"), v5("plug-1"));
    visit.client.subscribe(&[("things/plug-1/#", 1), ("things/plug-2/policy", 1)]);
    visit.settle(1);
    assert_eq!(visit.client.suback(), [code::NOT_AUTHORIZED; 2]);
    assert_eq!(visit.client.messages(), []);
    for _ in 0..=MAX_REPORTS {
        visit.client.publish("things/plug-1/policy/state", "{}", 0, false);
    }
    visit.settle(2);
    assert_eq!((visit.states.len(), visit.closed), (usize::from(MAX_REPORTS), true));

    let mut door = Door::new(&device("plug-1"), Payload::from(*b"p"), WHY.to_owned(), 0);
    assert_eq!(door.received(b"GET / HTTP/1.1\r\n\r\n", 0), [DoorOutput::Close]);
}
