use super::*;
use crate::broker::status::ChannelFacts;
use countersign_crypto::policy::{Policy, sign};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::time::Day;
use countersign_protocol::policy::{
    Event, PolicyFloor, PolicySlots, PolicyTrust, PreparedPolicy, Side, Source,
};

/// A gateway that moved from a classical policy to a hybrid one, and was proven.
fn moved() -> (Door, Timestamp) {
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let now = SystemClock.now();
    let prepared = |version: u64, groups: &[&str]| {
        let mut policy = Policy::built_in();
        (policy.version, policy.maker) = (version, Some("Example".to_owned()));
        for tls in policy.uses.values_mut() {
            tls.groups.retain(|item| groups.contains(&item.name.as_str()));
        }
        let trust = PolicyTrust::new(key.spki_der(), "Example");
        PreparedPolicy::prepare(&sign(&policy, &key).unwrap(), &trust, Day::of(now))
    };
    let mut slots = PolicySlots::new(Side::Gateway, prepared(2, &["secp256r1"]).unwrap());
    let newer = prepared(3, &["X25519MLKEM768"]);
    let digest = newer.as_ref().unwrap().digest();
    let floor = PolicyFloor::of_build();
    slots.offer(newer, &floor, Source::Peer("test"), now, Duration::ZERO).unwrap();
    for event in [Event::TrialSucceeded(digest), Event::Carried(digest)] {
        slots.report(event, now, Jitter(0)).unwrap();
    }
    (slots.door(), now)
}

fn open(conn: u64, thing: Option<&str>, group: &str) -> Judged {
    let channel = ChannelFacts {
        version: "TLS 1.3".to_owned(),
        suite: "TLS_AES_256_GCM_SHA384".to_owned(),
        group: group.to_owned(),
        ..ChannelFacts::default()
    };
    Judged { conn: ConnId(conn), thing: thing.map(|name| name.parse().unwrap()), channel }
}

//= specs/house.md#house-policy
//= type=test
//# Sessions that a change of policy ends MUST end spread over a time that grows with their number.
#[test]
fn devices_are_told_once_and_what_is_below_closes_later_and_spread() {
    let (door, now) = moved();
    let mut all: Vec<Judged> =
        (0..1000).map(|n| open(n, Some(&format!("plug-{n}")), "secp256r1")).collect();
    all.push(open(5000, Some("modern"), "X25519MLKEM768"));
    all.push(open(5001, None, "X25519MLKEM768"));
    let mut changeover = Changeover::default();
    changeover.plan(&door, &all, 0, now, &mut SystemRandom);
    let (mut told, mut closed, mut last) = (Vec::new(), Vec::new(), 0);
    for at in 0..60_000 {
        while let Some((conn, due)) = changeover.take(at) {
            match due {
                Due::Tell => {
                    changeover.told(conn, door.active().digest());
                    told.push(at);
                }
                Due::Close(why) => {
                    assert!(conn.0 < 1000 && why.contains("policy 3"), "{why}");
                    closed.push(at);
                    last = at;
                }
            }
        }
    }
    assert_eq!((told.len(), closed.len()), (1001, 1000));
    assert!(closed.iter().all(|at| *at >= millis(GRACE)), "each has time to follow by itself");
    let busiest =
        (0..=last / 1000).map(|s| closed.iter().filter(|at| *at / 1000 == s).count()).max();
    assert!(busiest.unwrap() < 200, "a thousand do not come back at once: {busiest:?}");
    // Another plan tells nobody again.
    changeover.plan(&door, &all, 0, now, &mut SystemRandom);
    let again = std::iter::from_fn(|| changeover.take(u64::MAX));
    assert!(again.into_iter().all(|(_, due)| matches!(due, Due::Close(_))));
}

#[test]
fn who_reports_an_older_version_is_given_the_policy_once() {
    let (door, _) = moved();
    let mut changeover = Changeover::default();
    assert!(changeover.holds(ConnId(1), 2, &door));
    changeover.told(ConnId(1), door.active().digest());
    assert!(!changeover.holds(ConnId(1), 2, &door), "it may have refused it");
    assert!(!changeover.holds(ConnId(2), 3, &door));
    changeover.forget(ConnId(1));
    assert!(changeover.holds(ConnId(1), 2, &door), "another connection");
}
