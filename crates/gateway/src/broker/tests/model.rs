//! The broker against a reference model that is a list: who is there, what each asked for, what each must have got.

use super::kit::{Got, World, device, kept, qos, service, v5, v311};
use crate::broker::ConnId;
use countersign_model::topic::{Filter, Topic};
use countersign_protocol::permit::messaging::{MessagingSubject, judge_publish, judge_subscribe};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Subscribe { who: usize, filter: usize, qos: u8 },
    Publish { who: usize, topic: usize, qos: u8 },
    Cut { who: usize },
    Dial { who: usize },
}

const TOPICS: [&str; 6] = [
    "things/d0/properties/a",
    "things/d1/properties/a",
    "things/d0/events/b",
    "things/d0/actions/c",
    "things/d1/properties/a/set",
    "home/x",
];

const FILTERS: [&str; 8] = [
    "things/+/properties/#",
    "things/d0/actions/+",
    "things/d1/properties/+/set",
    "things/#",
    "home/+",
    "#",
    "things/d0/events/b",
    "+/+/events/+",
];

/// Members by number: two devices and two services, two of them with kept sessions.
fn subjects() -> [MessagingSubject; 4] {
    [
        device("d0"),
        device("d1"),
        service("s0", &["subscribe things/#", "publish things/+/actions/+", "publish home/#"]),
        service("s1", &["subscribe #", "publish things/#"]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0_usize..4;
    prop_oneof![
        3 => (who.clone(), 0..FILTERS.len(), 0_u8..3)
            .prop_map(|(who, filter, qos)| Step::Subscribe { who, filter, qos }),
        6 => (who.clone(), 0..TOPICS.len(), 1_u8..3)
            .prop_map(|(who, topic, qos)| Step::Publish { who, topic, qos }),
        1 => who.clone().prop_map(|who| Step::Cut { who }),
        2 => who.prop_map(|who| Step::Dial { who }),
    ]
}

#[derive(Default)]
struct Member {
    conn: Option<ConnId>,
    subscriptions: Vec<(Filter, u8)>,
    due: Vec<Got>,
    got: Vec<Got>,
}

fn keeps(who: usize) -> bool {
    who % 2 == 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn everybody_gets_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let subjects = subjects();
        let mut members: [Member; 4] = Default::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Dial { who } if members[who].conn.is_none() => {
                    let dial = if who < 2 { v5("c") } else { v311("c") };
                    let dial = if keeps(who) { kept(dial) } else { dial };
                    members[who].conn = Some(world.dial(&subjects[who], dial));
                }
                Step::Cut { who } => {
                    let member = &mut members[who];
                    let Some(conn) = member.conn.take() else { continue };
                    let got = world.messages(conn);
                    member.got.extend(got);
                    world.cut(conn);
                    if !keeps(who) {
                        member.subscriptions.clear();
                    }
                }
                Step::Subscribe { who, filter, qos } => {
                    let Some(conn) = members[who].conn else { continue };
                    let filter: Filter = FILTERS[filter].parse().unwrap();
                    let allowed = judge_subscribe(&subjects[who], &filter).is_ok();
                    let code = world.subscribe(conn, &[(filter.as_str(), qos)])[0];
                    prop_assert_eq!(code < 0x80, allowed);
                    if allowed {
                        members[who].subscriptions.retain(|(have, _)| *have != filter);
                        members[who].subscriptions.push((filter, qos));
                    }
                }
                Step::Publish { who, topic, qos: sent } => {
                    let Some(conn) = members[who].conn else { continue };
                    let topic: Topic = TOPICS[topic].parse().unwrap();
                    let allowed = judge_publish(&subjects[who], &topic).is_ok();
                    // MQTT 3.1.1 has no word for a refusal but the end, which the model of cuts covers.
                    if !allowed && who >= 2 {
                        continue;
                    }
                    let payload = number.to_string();
                    world.publish(conn, topic.as_str(), &payload, sent);
                    prop_assert!(!world.closed.contains_key(&conn));
                    if !allowed {
                        continue;
                    }
                    for member in &mut members {
                        let asked = member.subscriptions.iter()
                            .filter(|(filter, _)| filter.matches(&topic)).map(|(_, q)| *q).max();
                        let Some(asked) = asked else { continue };
                        let delivered = qos(asked).min(qos(sent)).as_u8();
                        if member.conn.is_some() || delivered > 0 {
                            member.due.push(super::kit::got(topic.as_str(), &payload, delivered, false));
                        }
                    }
                }
                Step::Dial { .. } => {}
            }
        }
        for (who, member) in members.iter_mut().enumerate() {
            if member.conn.is_none() && keeps(who) {
                let dial = if who < 2 { v5("c") } else { v311("c") };
                member.conn = Some(world.dial(&subjects[who], kept(dial)));
            }
            if let Some(conn) = member.conn {
                member.got.extend(world.messages(conn));
            }
            prop_assert_eq!(&member.got, &member.due, "member {}", who);
        }
        prop_assert_eq!(world.broker.status().bytes, 0, "everything was acknowledged");
    }
}
