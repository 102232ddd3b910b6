//! What a channel opens at the gateway, and what becomes of open sessions.

use super::*;
use crate::permit::door::{Admission, judge};
use countersign_crypto::policy::ChannelNames;

const USE: Use = Use::DeviceUplink;
const P256: &str = "ecdsa_secp256r1_sha256";
const P384: &str = "ecdsa_secp384r1_sha384";
const CLASSICAL: &[&str] = &["secp256r1"];
const HYBRID: &[&str] = &["X25519MLKEM768"];

fn channel(group: &'static str) -> ChannelNames<'static> {
    ChannelNames {
        version: "TLS 1.3",
        suite: "TLS_AES_128_GCM_SHA256",
        group,
        signatures: &[P256],
        alpn: true,
    }
}

fn opens(
    slots: &PolicySlots,
    channel: &ChannelNames<'_>,
    held: Option<u64>,
    at: Timestamp,
) -> String {
    match judge(&slots.door(), USE, channel, held, at) {
        Admission::Admitted(permit) => format!("admitted under {}", permit.version()),
        Admission::UpdateOnly(permit) => {
            format!("gets {}, by {}", permit.gives().version(), permit.under())
        }
        Admission::Refused(refused) => refused.to_string(),
    }
}

fn activate(slots: &mut PolicySlots, policy: PreparedPolicy) {
    let digest = offer(slots, policy, now()).unwrap();
    slots.report(Event::TrialSucceeded(digest), now(), STILL).unwrap();
}

fn carried(slots: &mut PolicySlots) {
    let digest = slots.active().digest();
    assert_eq!(slots.report(Event::Carried(digest), now(), STILL), Ok(Change::Proven));
}

//= specs/house.md#house-policy
//= type=test
//# A gateway MUST let a device that holds an older, unexpired and not withdrawn policy in to receive
//# the newer one.
//= specs/house.md#house-policy
//= type=test
//# A channel that only an older policy allows MUST be used for the newer policy and nothing else.
#[test]
fn from_classical_to_hybrid_nobody_is_locked_out() {
    let (old, new) = (channel("secp256r1"), channel("X25519MLKEM768"));
    let short = |policy: &mut Policy| {
        groups(policy, CLASSICAL);
        policy.expires = "2027-01-01".parse().unwrap();
    };
    let mut gateway = PolicySlots::new(Side::Gateway, prepared(1, short));
    let none = "policy 1 does not allow this channel, and no older one that is still kept does: \
                the group X25519MLKEM768 is not allowed";
    assert_eq!(opens(&gateway, &new, None, now()), none);
    activate(&mut gateway, prepared(2, |policy| groups(policy, HYBRID)));
    // Nobody has followed yet: both count in full.
    assert_eq!(opens(&gateway, &old, Some(1), now()), "admitted under 1");
    assert_eq!(opens(&gateway, &new, Some(2), now()), "admitted under 2");
    carried(&mut gateway);
    assert_eq!(opens(&gateway, &old, Some(1), now()), "gets 2, by 1");
    assert_eq!(opens(&gateway, &old, None, now()), "gets 2, by 1");
    assert_eq!(opens(&gateway, &new, None, now()), "admitted under 2");
    // It has the policy in force and comes by the old one all the same.
    assert!(opens(&gateway, &old, Some(2), now()).starts_with("policy 2 does not allow"));
    // Three policies later the one that slept is still let in.
    for version in 3..6 {
        activate(&mut gateway, prepared(version, |policy| groups(policy, &["SecP256r1MLKEM768"])));
        carried(&mut gateway);
    }
    assert_eq!(opens(&gateway, &old, Some(1), now()), "gets 5, by 1");
    assert_eq!(opens(&gateway, &new, Some(2), now()), "gets 5, by 2");
    // Until its policy ends, by the gateway's clock; and when that clock was wrong, no harm is done.
    let over = "2027-01-02".parse::<Day>().unwrap().start();
    assert_eq!(gateway.door().next_expiry(now()), Some("2027-01-01".parse::<Day>().unwrap().end()));
    assert!(opens(&gateway, &old, Some(1), over).contains("the group secp256r1 is not allowed"));
    assert_eq!(gateway.door().next_expiry(over), Some(plain(2).expires()));
    assert_eq!(opens(&gateway, &old, Some(1), now()), "gets 5, by 1");
}

//= specs/house.md#house-policy
//= type=test
//# Nobody MUST return to a version that the policy in force withdraws.
#[test]
fn a_withdrawn_policy_opens_nothing_from_that_moment() {
    let old = channel("secp256r1");
    let mut gateway =
        PolicySlots::new(Side::Gateway, prepared(1, |policy| groups(policy, CLASSICAL)));
    activate(
        &mut gateway,
        prepared(2, |policy| {
            groups(policy, HYBRID);
            policy.withdraws = vec![1];
        }),
    );
    assert!(opens(&gateway, &old, Some(1), now()).contains("the group secp256r1 is not allowed"));
    assert!(gateway.previous().is_none());
}

#[test]
fn each_part_of_a_channel_counts_and_a_mixture_of_two_policies_is_neither() {
    let gateway = || {
        PolicySlots::new(
            Side::Gateway,
            prepared(1, |policy| {
                groups(policy, CLASSICAL);
                policy
                    .uses
                    .values_mut()
                    .for_each(|tls| tls.suites = vec!["TLS_AES_128_GCM_SHA256".into()]);
            }),
        )
    };
    let mut moved = gateway();
    activate(
        &mut moved,
        prepared(2, |policy| {
            groups(policy, HYBRID);
            for tls in policy.uses.values_mut() {
                tls.suites = vec!["TLS_AES_256_GCM_SHA384".into()];
                tls.signatures = vec![P384.into()];
            }
        }),
    );
    carried(&mut moved);
    let base = channel("X25519MLKEM768");
    let strong = ChannelNames { suite: "TLS_AES_256_GCM_SHA384", signatures: &[P384], ..base };
    assert_eq!(opens(&moved, &strong, None, now()), "admitted under 2");
    for (mixed, lacks) in [
        (
            ChannelNames { suite: "TLS_AES_128_GCM_SHA256", ..strong },
            "suite TLS_AES_128_GCM_SHA256",
        ),
        (ChannelNames { group: "secp256r1", ..strong }, "group secp256r1"),
        (
            ChannelNames { signatures: &[P384, P256], ..strong },
            "signature algorithm ecdsa_secp256r1",
        ),
        (ChannelNames { version: "TLS 1.2", ..strong }, "version TLS 1.2"),
    ] {
        assert!(opens(&moved, &mixed, None, now()).contains(lacks), "{lacks}");
    }
    assert_eq!(opens(&moved, &channel("secp256r1"), None, now()), "gets 2, by 1");
}

#[test]
fn a_full_door_refuses_the_next_policy_and_says_what_to_do() {
    let mut gateway = steady(Side::Gateway, 1);
    let last = u64::try_from(MAX_KEPT).unwrap() + 1;
    for version in 2..=last {
        activate(&mut gateway, plain(version));
        carried(&mut gateway);
    }
    let refused = offer(&mut gateway, plain(last + 1), now()).unwrap_err();
    assert_eq!(refused, Refusal::TooManyKept { kept: MAX_KEPT + 1, most: MAX_KEPT });
    let withdrawing = prepared(last + 1, |policy| policy.withdraws = vec![2]);
    activate(&mut gateway, withdrawing);
    carried(&mut gateway);
    let kept: Vec<_> = gateway.stored().kept.iter().map(|policy| policy.version).collect();
    assert_eq!(kept.len(), MAX_KEPT);
    assert!(kept.contains(&1) && !kept.contains(&2));
}

//= specs/house.md#house-policy
//= type=test
//# Sessions that a change of policy ends MUST end spread over a time that grows with their number.
//= specs/house.md#house-permits
//= type=test
//# Open sessions MUST be judged again when policy, grants or revocation change.
#[test]
fn ten_thousand_sessions_end_one_after_the_other() {
    let mut gateway =
        PolicySlots::new(Side::Gateway, prepared(1, |policy| groups(policy, CLASSICAL)));
    activate(&mut gateway, prepared(2, |policy| groups(policy, HYBRID)));
    let (old, new) = (channel("secp256r1"), channel("X25519MLKEM768"));
    let over = spread(10_000);
    assert_eq!(over, Duration::from_secs(100));
    let verdict = |gateway: &PolicySlots, channel, jitter| {
        rejudge(&gateway.door(), USE, channel, now(), over, Jitter(jitter))
    };
    assert_eq!(verdict(&gateway, &old, 7), SessionVerdict::Keep, "nobody has followed yet");
    carried(&mut gateway);
    assert_eq!(verdict(&gateway, &new, 7), SessionVerdict::Keep);
    let mut per_second = vec![0; 100];
    for session in 0..10_000_u32 {
        let jitter = u16::try_from(session.wrapping_mul(40_503) % 65_536).unwrap();
        let SessionVerdict::CloseAfter { delay, reason } = verdict(&gateway, &old, jitter) else {
            panic!("kept");
        };
        assert!(reason.contains("take the policy and reconnect"), "{reason}");
        per_second[usize::try_from(delay.as_secs()).unwrap()] += 1;
    }
    assert!(per_second.iter().all(|count| (50..200).contains(count)), "{per_second:?}");
    assert_eq!(spread(50), Duration::from_millis(500));
    assert_eq!(spread(usize::MAX), LONGEST_SPREAD);
    assert!(within(Duration::MAX, Jitter(u16::MAX)) <= LONGEST_SPREAD);
}
