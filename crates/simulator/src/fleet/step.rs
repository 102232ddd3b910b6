//! What can happen, one thing at a time.

use super::device::Session;
use super::gate::USE;
use super::handshake::meet;
use super::node::Crash;
use super::press::{Bad, Kind, P256, P384};
use super::{Fleet, check};
use countersign_model::time::Day;
use countersign_protocol::permit::door::{Admission, judge};
use countersign_protocol::policy::{
    Change, Event, Next, SessionVerdict, Source, rejudge, spread, within,
};
use std::rc::Rc;
use std::time::Duration;

/// One thing that happens. A device is named by number, modulo how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The maker signs the next version, which ends so many days after the world began.
    Publish {
        kind: Kind,
        days: u16,
        withdraw: bool,
    },
    /// The gateway hears of what was published, and does what is due.
    Gate(Crash),
    GateRestarts,
    /// The gateway gets certificates of both algorithms.
    GateRotates,
    GateClock {
        hours: i16,
    },
    GateGetsBad(Bad),
    /// A device does what is due: a trial, a connection, messages; either side may be killed in it.
    Device {
        device: usize,
        crash: Crash,
        gate: Crash,
    },
    Restarts(usize),
    GetsBad(usize, Bad),
    /// Its network breaks, or is mended.
    Link(usize, bool),
    Sleeps(usize, bool),
    Clock {
        device: usize,
        hours: i16,
    },
    /// It gets a certificate by another algorithm, if its policy and the gateway take it.
    Rotates(usize),
    /// It has something to tell.
    Speaks(usize),
    Passes {
        minutes: u16,
    },
}

impl Fleet {
    /// One step, and every promise checked after it.
    pub fn step(&mut self, step: Step) {
        self.counts.steps += 1;
        let (count, epoch) = (self.devices.len(), self.epoch);
        let touched = match step {
            Step::Publish { kind, days, withdraw } => self.publish(kind, days, withdraw),
            Step::Gate(crash) => self.gate_turn(crash),
            Step::GateRestarts => self.gate_restarts(),
            Step::GateRotates => {
                self.gate.certificates = vec![P256, P384];
                self.gate_changed()
            }
            Step::GateClock { hours } => {
                self.gate.node.skew = i64::from(hours) * 3_600_000;
                self.rejudge_sessions();
                self.gate_changed()
            }
            Step::GateGetsBad(bad) => self.gate_gets_bad(bad),
            Step::Device { device, crash, gate } => self.device_turn(device % count, crash, gate),
            Step::Restarts(device) => {
                let device = &mut self.devices[device % count];
                device.node.restart(&mut self.library, self.now);
                device.session = None;
                self.counts.crashes += 1;
                Some(device.number)
            }
            Step::GetsBad(device, bad) => self.device_gets_bad(device % count, bad),
            Step::Link(device, linked) => {
                let device = &mut self.devices[device % count];
                device.linked = linked;
                device.session = device.session.take().filter(|_| linked);
                Some(device.number)
            }
            Step::Sleeps(device, asleep) => {
                let device = &mut self.devices[device % count];
                device.awake = !asleep;
                device.session = device.session.take().filter(|_| !asleep);
                Some(device.number)
            }
            Step::Clock { device, hours } => {
                self.devices[device % count].node.skew = i64::from(hours) * 3_600_000;
                Some(device % count)
            }
            Step::Rotates(device) => self.rotates(device % count),
            Step::Speaks(device) => {
                let device = &mut self.devices[device % count];
                device.made += 1;
                device.outbox.insert(device.made);
                Some(device.number)
            }
            Step::Passes { minutes } => {
                self.now = self.now.plus(Duration::from_secs(u64::from(minutes) * 60));
                self.end_sessions();
                // As a shell does at `Door::next_expiry`.
                self.rejudge_sessions();
                self.gate_changed()
            }
        };
        check::after(self, touched.filter(|_| self.epoch == epoch));
    }

    /// The gateway's door may have changed: everybody's promise is looked at.
    pub(super) fn gate_changed(&mut self) -> Option<usize> {
        self.epoch += 1;
        self.reached.clear();
        None
    }

    fn publish(&mut self, kind: Kind, days: u16, withdraw: bool) -> Option<usize> {
        let kept = &self.gate.node.stored().kept;
        let oldest = kept.last().map(|policy| policy.version).filter(|_| withdraw);
        self.press.publish(kind, u64::from(days), oldest.into_iter().collect());
        self.counts.published += 1;
        Some(0)
    }

    fn gate_turn(&mut self, crash: Crash) -> Option<usize> {
        let clock = self.gate.node.clock(self.now);
        let mut slots = self.gate.node.slots.clone();
        slots.on_day(Day::of(clock));
        self.gate.node.slots = slots;
        match self.gate.node.slots.next(clock) {
            Next::Try(policy) => {
                let rules = policy.compiled().rules(USE).clone();
                let own = &self.gate.certificates;
                let tried = own.iter().find_map(|certificate| {
                    meet(&rules, certificate, std::slice::from_ref(&rules), own).ok()
                });
                let event = match tried {
                    Some(_) => Event::TrialSucceeded(policy.digest()),
                    None => Event::TrialFailed(policy.digest(), "no certificate for it".into()),
                };
                self.gate_report(event, crash);
            }
            _ => self.gate_hears(crash),
        }
        self.gate_changed()
    }

    /// What was published and the gateway does not have yet, in order, until it takes one.
    fn gate_hears(&mut self, crash: Crash) {
        let highest = self.gate.node.slots.highest();
        let news: Vec<_> =
            self.press.published.range(highest + 1..).map(|(_, new)| new.clone()).collect();
        for document in news {
            if self.gate_offer(&document, crash) {
                break;
            }
        }
    }

    fn gate_offer(&mut self, document: &Rc<[u8]>, crash: Crash) -> bool {
        let clock = self.gate.node.clock(self.now);
        let prepared = self.library.prepare(document, Day::of(clock));
        let mut slots = self.gate.node.slots.clone();
        let source = Source::Peer("authority");
        let taken =
            slots.offer(prepared, &self.library.floor, source, clock, Duration::ZERO).is_ok();
        self.counts.refused += u64::from(!taken);
        let lives = self.gate_commit(slots, Some(document.clone()).filter(|_| taken), crash);
        if taken && lives {
            // It may have taken the place of another one that waited, and that somebody was admitted under.
            self.rejudge_sessions();
        }
        taken
    }

    fn gate_report(&mut self, event: Event, crash: Crash) -> bool {
        let clock = self.gate.node.clock(self.now);
        let (mut slots, jitter) = (self.gate.node.slots.clone(), self.jitter());
        let Ok(change) = slots.report(event, clock, jitter) else { return true };
        self.counts.gateway_activated += u64::from(change == Change::Activated);
        let lives = self.gate_commit(slots, None, crash);
        if change != Change::Nothing {
            self.gate_changed();
            self.rejudge_sessions();
        }
        lives
    }

    fn gate_commit(
        &mut self,
        slots: countersign_protocol::policy::PolicySlots,
        document: Option<Rc<[u8]>>,
        crash: Crash,
    ) -> bool {
        let lives = self.gate.node.commit(slots, document, crash, &mut self.library, self.now);
        self.gate.note();
        if !lives {
            self.counts.crashes += 1;
            self.devices.iter_mut().for_each(|device| device.session = None);
        }
        lives
    }

    fn gate_restarts(&mut self) -> Option<usize> {
        self.gate.node.restart(&mut self.library, self.now);
        self.counts.crashes += 1;
        self.devices.iter_mut().for_each(|device| device.session = None);
        self.gate_changed()
    }

    fn rejudge_sessions(&mut self) {
        let clock = self.gate.node.clock(self.now);
        let (door, now) = (self.gate.door(), self.now);
        let open = self.devices.iter().filter(|device| device.session.is_some()).count();
        for number in 0..self.devices.len() {
            let jitter = self.jitter();
            let Some(session) = &mut self.devices[number].session else { continue };
            let signatures = [session.met.client];
            let names = session.met.names(&signatures);
            let verdict = rejudge(&door, USE, &names, clock, spread(open), jitter);
            session.closes = match verdict {
                SessionVerdict::Keep => None,
                SessionVerdict::CloseAfter { delay, .. } => {
                    Some(session.closes.map_or(now.plus(delay), |at| at.min(now.plus(delay))))
                }
            };
        }
    }

    fn end_sessions(&mut self) {
        let now = self.now;
        for device in &mut self.devices {
            let over = device.session.as_ref().and_then(|session| session.closes);
            if over.is_some_and(|at| at <= now) {
                device.session = None;
                self.counts.closed_by_policy += 1;
            }
        }
    }

    fn gate_gets_bad(&mut self, bad: Bad) -> Option<usize> {
        let version = self.gate.node.slots.highest();
        let document = self.press.bad(bad, version, self.gate.node.clock(self.now));
        let before = self.gate.node.slots.clone();
        assert!(!self.gate_offer(&document, Crash::Never), "the gateway took {bad:?}");
        check::refused_well(bad, &before, &self.gate.node.slots);
        self.gate_changed()
    }

    fn device_gets_bad(&mut self, number: usize, bad: Bad) -> Option<usize> {
        let device = &self.devices[number];
        let clock = device.node.clock(self.now);
        let document = self.press.bad(bad, device.node.slots.highest(), clock);
        let before = device.node.slots.clone();
        assert!(!self.device_offer(number, &document, Crash::Never), "{number} took {bad:?}");
        check::refused_well(bad, &before, &self.devices[number].node.slots);
        Some(number)
    }

    fn device_offer(&mut self, number: usize, document: &Rc<[u8]>, crash: Crash) -> bool {
        let open = self.devices.iter().filter(|device| device.session.is_some()).count();
        let wait = within(spread(open), self.jitter());
        let device = &mut self.devices[number];
        let clock = device.node.clock(self.now);
        let prepared = self.library.prepare(document, Day::of(clock));
        let offered = prepared.as_ref().ok().map(|policy| (policy.version(), policy.digest()));
        let highest = device.node.stored().highest;
        let mut slots = device.node.slots.clone();
        let source = Source::Peer("gateway");
        let taken = slots.offer(prepared, &self.library.floor, source, clock, wait).is_ok();
        if taken {
            let (version, digest) = offered.expect("what was taken was prepared");
            let same = version == highest.version && digest == highest.digest;
            assert!(version > highest.version || same, "{number} took {version} after {highest:?}");
        }
        self.counts.refused += u64::from(!taken);
        let document = Some(document.clone()).filter(|_| taken);
        if !device.node.commit(slots, document, crash, &mut self.library, self.now) {
            self.counts.crashes += 1;
            device.session = None;
        }
        taken
    }

    fn rotates(&mut self, number: usize) -> Option<usize> {
        let device = &self.devices[number];
        let other = if device.certificate == P256 { P384 } else { P256 };
        let mine = device.node.slots.active().compiled().rules(USE).signatures();
        // Whatever may be in force next for the device must take it as well: the flow proves a key before it is used.
        let slots = &device.node.slots;
        let all = slots.previous().into_iter().chain(slots.candidate());
        let takes = mine.contains(&other)
            && all.into_iter().all(|p| p.compiled().rules(USE).signatures().contains(&other));
        if takes && device.linked && device.awake {
            self.devices[number].certificate = other;
            self.devices[number].session = None;
        }
        Some(number)
    }

    fn device_turn(&mut self, number: usize, crash: Crash, gate: Crash) -> Option<usize> {
        let device = &mut self.devices[number];
        if !device.awake {
            return Some(number);
        }
        let clock = device.node.clock(self.now);
        device.node.slots.on_day(Day::of(clock));
        if let Next::Try(policy) = device.node.slots.next(clock) {
            let rules = policy.compiled().rules(USE);
            let listener = self.gate.rules(self.now);
            let own = [device.certificate];
            let tried = match device.linked {
                // A policy that forbids the device's own certificate waits for the next one.
                true if policy.allows_identity(USE, &own).is_err() => Err("its own certificate"),
                true => meet(rules, device.certificate, &listener, &self.gate.certificates),
                false => Err("out of reach"),
            };
            let event = match tried {
                Ok(_) => Event::TrialSucceeded(policy.digest()),
                Err(why) => Event::TrialFailed(policy.digest(), why.into()),
            };
            self.counts.trials_failed += u64::from(tried.is_err());
            self.device_report(number, event, crash);
            return Some(number);
        }
        if self.devices[number].session.is_none() {
            return self.connects(number, crash, gate);
        }
        self.talks(number, crash);
        Some(number)
    }

    fn device_report(&mut self, number: usize, event: Event, crash: Crash) {
        let jitter = self.jitter();
        let device = &mut self.devices[number];
        self.counts.crashes += u64::from(crash != Crash::Never);
        match device.report(event, crash, &mut self.library, self.now, jitter) {
            Some(Change::Activated) => {
                device.session = None;
                self.counts.device_activated += 1;
            }
            Some(Change::Returned) => self.counts.returned += 1,
            _ => {}
        }
    }

    fn connects(&mut self, number: usize, crash: Crash, gate_crash: Crash) -> Option<usize> {
        let device = &self.devices[number];
        let active = device.node.slots.active().clone();
        let listener = self.gate.rules(self.now);
        let rules = active.compiled().rules(USE);
        let met = match device.linked {
            true => meet(rules, device.certificate, &listener, &self.gate.certificates),
            false => Err("out of reach"),
        };
        let Ok(met) = met else {
            self.device_report(number, Event::SessionFailed, crash);
            return Some(number);
        };
        let signatures = [met.client];
        let names = met.names(&signatures);
        let at = self.gate.node.clock(self.now);
        let carried = Event::Carried(active.digest());
        match judge(&self.gate.door(), USE, &names, Some(active.version()), at) {
            Admission::Refused(_) => {
                self.counts.turned_away += 1;
                self.device_report(number, Event::SessionFailed, crash);
                Some(number)
            }
            Admission::UpdateOnly(permit) => {
                self.counts.update_door += 1;
                let document = self.gate.node.document(permit.gives().digest()).unwrap();
                self.device_report(number, carried, Crash::Never);
                self.device_offer(number, &document, crash);
                Some(number)
            }
            Admission::Admitted(permit) => {
                check::admitted_by_what_is_in_force(self, &met);
                // The gateway stores that the policy has carried a session before it acknowledges the session.
                if !self.gate_report(Event::Carried(permit.under()), gate_crash) {
                    self.device_report(number, Event::SessionFailed, Crash::Never);
                    return self.gate_changed();
                }
                self.counts.sessions += 1;
                self.devices[number].session = Some(Session { met, closes: None });
                self.device_report(number, carried, crash);
                Some(number)
            }
        }
    }

    fn talks(&mut self, number: usize, crash: Crash) {
        let device = &mut self.devices[number];
        while let Some(message) = device.outbox.first().copied() {
            self.gate.received.insert((number, message));
            // A kill between the acknowledgement and the disk only sends it again.
            if crash == Crash::BeforeSlots {
                device.node.restart(&mut self.library, self.now);
                device.session = None;
                self.counts.crashes += 1;
                return;
            }
            device.outbox.remove(&message);
            self.counts.acknowledged += 1;
        }
        let active = self.gate.node.slots.active().clone();
        if active.version() > self.devices[number].node.slots.highest() {
            let document = self.gate.node.document(active.digest()).unwrap();
            self.device_offer(number, &document, crash);
        }
    }

    /// Every wrong clock set right, every network mended, everybody awake.
    pub fn heal(&mut self) {
        self.gate.node.skew = 0;
        self.gate.certificates = vec![P256, P384];
        for device in &mut self.devices {
            (device.node.skew, device.linked, device.awake) = (0, true, true);
        }
        self.gate_changed();
    }
}
