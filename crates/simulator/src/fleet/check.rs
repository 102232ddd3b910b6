//! What is promised, checked after every step.

use super::gate::USE;
use super::handshake::{Met, meet};
use super::press::Bad;
use super::{Fleet, node::Node};
use countersign_crypto::policy::PolicyDigest;
use countersign_protocol::permit::door::{Admission, judge};
use countersign_protocol::policy::{LONGEST_SPREAD, PolicySlots};

/// Devices that the gateway cannot tell apart.
pub(super) type Class = (PolicyDigest, &'static str);

/// After a step that touched one device, or (`None`) the gateway.
pub(super) fn after(fleet: &mut Fleet, touched: Option<usize>) {
    match touched {
        Some(number) => device(fleet, number),
        None => {
            gate(fleet);
            (0..fleet.devices.len()).for_each(|number| device(fleet, number));
        }
    }
}

fn device(fleet: &mut Fleet, number: usize) {
    never_back(&fleet.devices[number].node);
    reached(fleet, number);
    nothing_lost(fleet, number);
}

/// No lower version, neither in memory nor on disk.
fn never_back(node: &Node) {
    let stored = node.stored();
    assert_eq!(stored.highest.version, node.highest, "the floor has sunk");
    assert!(
        stored.active.version >= node.proven,
        "back from {} to {:?}",
        node.proven,
        stored.active
    );
    assert_eq!(stored.active.version, node.slots.active().version());
    assert!(stored.active.version <= stored.highest.version);
    if let Some(policy) = node.slots.previous() {
        assert!(!node.slots.active().withdraws(policy.version()), "a withdrawn one is kept");
        assert!(policy.version() < node.slots.active().version());
    }
    if let Some(candidate) = node.slots.candidate() {
        assert!(candidate.version() > node.slots.active().version());
    }
}

/// A device reaches the gateway under what is in force with it: in full, or through the update door. The promise ends when
/// that policy ends by the gateway's clock, or was withdrawn by one that was in force at the gateway.
fn reached(fleet: &mut Fleet, number: usize) {
    let device = &fleet.devices[number];
    let active = device.node.slots.active();
    let over = active.expired(fleet.gate.node.clock(fleet.now))
        || fleet.gate.withdrawn.contains(&active.version());
    let class = (active.digest(), device.certificate);
    let is = match fleet.reached.get(&class) {
        Some(known) => *known,
        None => {
            let answer = try_to_reach(fleet, number);
            fleet.reached.insert(class, answer.is_ok());
            if let (Err(why), false) = (&answer, over) {
                panic!(
                    "device {number} under policy {} ({}) does not reach the gateway: {why}\n{:?}",
                    active.version(),
                    device.certificate,
                    fleet.gate.node.stored()
                );
            }
            answer.is_ok()
        }
    };
    assert!(is || over, "device {number} under policy {} is locked out", active.version());
    fleet.counts.promise_over += u64::from(over && !is);
}

fn try_to_reach(fleet: &Fleet, number: usize) -> Result<(), String> {
    let device = &fleet.devices[number];
    let active = device.node.slots.active();
    let met = meet(
        active.compiled().rules(USE),
        device.certificate,
        &fleet.gate.rules(fleet.now),
        &fleet.gate.certificates,
    )?;
    let at = fleet.gate.node.clock(fleet.now);
    let signatures = [met.client];
    let names = met.names(&signatures);
    match judge(&fleet.gate.door(), USE, &names, Some(active.version()), at) {
        Admission::Refused(refused) => Err(refused.to_string()),
        Admission::Admitted(_) | Admission::UpdateOnly(_) => Ok(()),
    }
}

/// A message is in the device's outbox or in the gateway's store.
fn nothing_lost(fleet: &Fleet, number: usize) {
    let device = &fleet.devices[number];
    for message in 1..=device.made {
        let there =
            device.outbox.contains(&message) || fleet.gate.received.contains(&(number, message));
        assert!(there, "message {message} of device {number} is lost");
    }
}

/// The gateway keeps what it must, and no session outlives its policy by more than the longest spread.
fn gate(fleet: &Fleet) {
    let node = &fleet.gate.node;
    never_back(node);
    let stored = node.stored();
    let candidate = stored.candidate.map(|candidate| candidate.policy);
    let held = [stored.active].into_iter().chain(stored.previous).chain(candidate);
    let held = held.chain(stored.kept.iter().copied());
    let held: Vec<_> = held.map(|policy| policy.version).collect();
    let clock = node.clock(fleet.now);
    for (version, expires) in &fleet.gate.was_active {
        let over = clock.as_secs() > expires.as_secs() || fleet.gate.withdrawn.contains(version);
        assert!(over || held.contains(version), "version {version} was dropped: {held:?}");
    }
    let door = fleet.gate.door();
    for device in &fleet.devices {
        let Some(session) = &device.session else { continue };
        assert!(session.closes.is_none_or(|at| at <= fleet.now.plus(LONGEST_SPREAD)));
        let signatures = [session.met.client];
        let names = session.met.names(&signatures);
        if session.closes.is_none() {
            let verdict = judge(&door, USE, &names, None, clock);
            let admitted = matches!(verdict, Admission::Admitted(_));
            assert!(
                admitted,
                "device {} has a session that nothing in force allows",
                device.number
            );
        }
    }
}

/// A session in full is one that a policy in force would have allowed, by its own lists.
pub(super) fn admitted_by_what_is_in_force(fleet: &Fleet, met: &Met) {
    let slots = &fleet.gate.node.slots;
    let in_force = [slots.active()].into_iter().chain(slots.previous()).chain(slots.candidate());
    let allowed = in_force.into_iter().any(|policy| {
        let tls = &policy.compiled().policy().uses[&USE];
        tls.groups.iter().any(|item| item.name == met.group)
            && tls.suites.iter().any(|item| item.name == met.suite)
            && tls.signatures.iter().any(|item| item.name == met.client)
    });
    assert!(allowed, "{met:?} was admitted in full");
}

/// A bad document changes nothing but the record, which says what was wrong with it.
pub(super) fn refused_well(bad: Bad, before: &PolicySlots, after: &PolicySlots) {
    let strip = |slots: &PolicySlots| {
        let mut stored = slots.stored();
        stored.history = Default::default();
        stored
    };
    assert_eq!(strip(before), strip(after), "{bad:?} changed something");
    let entry = after.history().entries().last().expect("a refusal is recorded");
    assert!(bad.deserves(entry.word), "{bad:?} was refused as {}", entry.word);
}
