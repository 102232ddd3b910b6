use super::*;
use crate::permit::device::{Subject, SubjectName};
use countersign_crypto::random::Random;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use countersign_model::topic::Topic;
use std::time::Duration;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct Counter(u8);
impl Random for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        self.0 += 1;
        out.fill(self.0);
    }
}

fn inbox() -> CommandInbox {
    CommandInbox::new("plug-1".parse().unwrap(), Timestamp(0))
}

fn toggle() -> Topic {
    "things/plug-1/actions/toggle".parse().unwrap()
}

fn stamp(by: &str, id: u128, at: Timestamp) -> Vec<(String, String)> {
    let command = format!("{id:032x}").parse().unwrap();
    let stamp = Stamp { by: by.parse().unwrap(), command, at };
    stamp.write().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn pairs(properties: &[(String, String)]) -> Vec<(&str, &str)> {
    properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn send(
    inbox: &mut CommandInbox,
    topic: &Topic,
    properties: &[(String, String)],
    now: Timestamp,
) -> Result<FreshCommand, CommandRefusal> {
    inbox.accept(topic, b"", pairs(properties), now)
}

#[test]
fn a_stamped_command_becomes_a_request_of_its_service() {
    let mut inbox = inbox();
    let topic = "things/plug-1/properties/relay/set".parse().unwrap();
    let properties = stamp("backend", 1, NOW);
    let fresh = inbox.accept(&topic, b"true", pairs(&properties), NOW).unwrap();
    assert_eq!(fresh.subject().name(), SubjectName::Service("backend".parse().unwrap()));
    assert_eq!(fresh.subject().role(NOW), Some(Role::Member));
    assert!(matches!(fresh.subject(), Subject::Service { .. }));
    let receipt = fresh.done(None, NOW);
    assert_eq!(
        receipt.topic(&"plug-1".parse().unwrap()).as_str(),
        "things/plug-1/actions/relay/receipt"
    );
    assert_eq!(
        String::from_utf8(receipt.to_json()).unwrap(),
        r#"{"command":"00000000000000000000000000000001","affordance":"relay","outcome":"done","at":1800000000000}"#
    );
}

#[test]
fn only_the_gateways_whole_stamp_counts() {
    let good = stamp("backend", 1, NOW);
    for at in 0..3 {
        let mut missing = good.clone();
        missing.remove(at);
        assert!(matches!(
            send(&mut inbox(), &toggle(), &missing, NOW),
            Err(CommandRefusal::Stamp(_))
        ));
        let mut twice = good.clone();
        twice.push(good[at].clone());
        assert!(matches!(
            send(&mut inbox(), &toggle(), &twice, NOW),
            Err(CommandRefusal::Stamp(_))
        ));
        for value in ["", "thing:plug-1", "service:", "service:a/b", "-1", "0x1", "G"] {
            let mut bad = good.clone();
            bad[at].1 = value.to_owned();
            assert!(matches!(
                send(&mut inbox(), &toggle(), &bad, NOW),
                Err(CommandRefusal::Stamp(_))
            ));
        }
    }
}

#[test]
fn other_topics_are_not_commands_for_us() {
    for topic in [
        "things/plug-2/actions/toggle",
        "things/plug-1/properties/relay",
        "things/plug-1/actions/toggle/receipt",
        "things/plug-1/events/overload",
        "other",
    ] {
        let refused = send(&mut inbox(), &topic.parse().unwrap(), &stamp("b", 1, NOW), NOW);
        assert_eq!(refused.err(), Some(CommandRefusal::Topic), "{topic}");
    }
}

//= specs/house.md#house-commands
//= type=test
//# A device MUST refuse a command that is stale or repeated.
#[test]
fn thirty_seconds_either_way_and_no_more() {
    let edge = FRESHNESS;
    let beyond = edge + Duration::from_millis(1);
    for (id, at, now, fresh) in [
        (1, NOW, NOW.plus(edge), true),
        (2, NOW, NOW.plus(beyond), false),
        (3, NOW.plus(edge), NOW, true),
        (4, NOW.plus(beyond), NOW, false),
        (5, Timestamp(u64::MAX), NOW, false),
    ] {
        let result = send(&mut inbox(), &toggle(), &stamp("b", id, at), now);
        assert_eq!(result.is_ok(), fresh, "{id}");
        if !fresh {
            assert!(matches!(result, Err(CommandRefusal::Stale(_))));
        }
    }
}

#[test]
fn a_command_is_handled_once_even_across_a_restart() {
    let mut inbox = inbox();
    let ahead = stamp("b", 1, NOW.plus(FRESHNESS));
    assert!(send(&mut inbox, &toggle(), &ahead, NOW).is_ok());
    // Again and again while it could be fresh, which for a stamp from the future is twice as long.
    for seconds in [0, 10, 30, 45, 60] {
        let now = NOW.plus(Duration::from_secs(seconds));
        let again = send(&mut inbox, &toggle(), &ahead, now);
        assert_eq!(again.err(), Some(CommandRefusal::Replayed), "{seconds}");
    }
    let mut restarted = CommandInbox::new("plug-1".parse().unwrap(), inbox.floor());
    let again = send(&mut restarted, &toggle(), &ahead, NOW);
    assert_eq!(again.err(), Some(CommandRefusal::Replayed));
    let younger = stamp("b", 2, inbox.floor().plus(Duration::from_millis(1)));
    assert!(send(&mut restarted, &toggle(), &younger, NOW.plus(Duration::from_secs(1))).is_ok());
}

#[test]
fn a_flood_costs_its_sender_only() {
    let mut inbox = inbox();
    let mut ids = 0..;
    let mut next = |by: &str, now| stamp(by, ids.next().unwrap(), now);
    for _ in 0..BURST {
        assert!(send(&mut inbox, &toggle(), &next("flood", NOW), NOW).is_ok());
    }
    let refused = send(&mut inbox, &toggle(), &next("flood", NOW), NOW);
    assert_eq!(refused.err(), Some(CommandRefusal::TooMany));
    assert!(send(&mut inbox, &toggle(), &next("calm", NOW), NOW).is_ok());
    let later = NOW.plus(Duration::from_secs(1));
    let accepted =
        (0..50).filter(|_| send(&mut inbox, &toggle(), &next("flood", later), later).is_ok());
    assert_eq!(accepted.count() as u64, PER_SECOND);
}

#[test]
fn the_memory_is_bounded_and_never_forgets_what_is_fresh() {
    let mut inbox = inbox();
    let first = stamp("s0", u128::MAX, NOW);
    assert!(send(&mut inbox, &toggle(), &first, NOW).is_ok());
    let mut accepted = 1;
    for round in 0..20_u64 {
        let now = NOW.plus(Duration::from_secs(round));
        for service in 0..30 {
            for n in 0..10_u128 {
                let id = u128::from(round) << 64 | service << 32 | n;
                accepted += usize::from(
                    send(&mut inbox, &toggle(), &stamp(&format!("s{service}"), id, now), now)
                        .is_ok(),
                );
            }
        }
    }
    assert_eq!(accepted, REMEMBERED);
    let again = send(&mut inbox, &toggle(), &first, NOW.plus(Duration::from_secs(20)));
    assert_eq!(again.err(), Some(CommandRefusal::Replayed));
    // A minute later there is room again.
    let later = NOW.plus(Duration::from_secs(60));
    assert!(send(&mut inbox, &toggle(), &stamp("late", 7, later), later).is_ok());
}

#[test]
fn refusals_that_deserve_a_receipt_get_one() {
    let properties = stamp("b", 1, NOW);
    let late = NOW.plus(Duration::from_secs(31));
    let stale = send(&mut inbox(), &toggle(), &properties, late).unwrap_err();
    let receipt = stale.receipt(&toggle(), pairs(&properties), late).unwrap();
    assert_eq!(receipt.outcome, Outcome::Refused);
    assert!(receipt.detail.unwrap().contains("31000 ms"));
    assert_eq!(CommandRefusal::Replayed.receipt(&toggle(), pairs(&properties), NOW), None);
    let broken = inbox().accept(&toggle(), b"{", pairs(&properties), NOW).unwrap_err();
    assert!(matches!(broken, CommandRefusal::Malformed(_)));
    assert!(broken.receipt(&toggle(), pairs(&properties), NOW).is_some());
}

#[test]
fn ids_are_fresh_and_read_back() {
    let mut random = Counter(0);
    let (a, b) = (CommandId::fresh(&mut random), CommandId::fresh(&mut random));
    assert_ne!(a, b);
    assert_eq!(a.to_string().parse(), Ok(a));
    assert!("0123".parse::<CommandId>().is_err());
    assert!("ABCDEFABCDEFABCDEFABCDEFABCDEFAB".parse::<CommandId>().is_err());
    assert!("+0000000000000000000000000000001".parse::<CommandId>().is_err());
}
