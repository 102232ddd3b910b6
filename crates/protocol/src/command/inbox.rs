//! The checks before judgement.

use super::receipt::{Outcome, Receipt};
use super::stamp::{CommandId, InvalidStamp, Stamp};
use crate::permit::device::{AccessList, Malformed, Refusal, Request, Subject};
use countersign_model::id::{AffordanceName, ServiceName, ThingId};
use countersign_model::thing::Operation;
use countersign_model::time::Timestamp;
use countersign_model::topic::{ThingTopic, Topic};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How far a command's time may lie from ours, either way: the delay of a slow link, and two clocks that NTP keeps.
pub const FRESHNESS: Duration = Duration::from_secs(30);
/// Ids that are remembered. An id is forgotten only when its command is stale, so this also bounds the commands of a minute.
pub const REMEMBERED: usize = 1024;
/// Commands that one service may send at once.
pub const BURST: u64 = 20;
/// Commands a second that one service may send for long.
pub const PER_SECOND: u64 = 5;
/// Services whose rate is followed at once.
const MAX_SERVICES: usize = 32;

/// A command that may be judged: stamped, ours, fresh, new, and within limits. Only [`CommandInbox::accept`] makes one.
#[derive(Debug)]
pub struct FreshCommand {
    id: CommandId,
    name: AffordanceName,
    subject: Subject,
    request: Request,
}

/// Why a command is not judged at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// It does not carry the gateway's stamp.
    #[error(transparent)]
    Stamp(#[from] InvalidStamp),
    /// It is no command topic of this device.
    #[error("not a command for this device")]
    Topic,
    /// Its time is too far from ours.
    #[error("not fresh: {0} ms from the device's time")]
    Stale(u64),
    /// Its id was seen before, or it may have been handled before the last restart.
    #[error("already handled")]
    Replayed,
    /// Its sender is too fast.
    #[error("too many commands")]
    TooMany,
    /// It is no bounded request.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The device's memory of commands. One per device, for all its sessions with the gateway.
#[derive(Debug)]
pub struct CommandInbox {
    thing: ThingId,
    /// Commands stamped at or before this may have been handled before a restart.
    restart: Timestamp,
    newest: Timestamp,
    order: VecDeque<(Timestamp, CommandId)>,
    seen: BTreeSet<CommandId>,
    rates: BTreeMap<ServiceName, Bucket>,
}

/// A token bucket, counted in thousandths of a command.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: u64,
    at: Timestamp,
}

impl Bucket {
    const FULL: u64 = BURST * 1000;

    fn refilled(self, now: Timestamp) -> Self {
        let gained = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let level = self.level.saturating_add(gained.saturating_mul(PER_SECOND)).min(Self::FULL);
        Self { level, at: now }
    }
}

impl CommandInbox {
    /// An inbox for `thing`. `floor` is what [`CommandInbox::floor`] gave before the restart; the beginning of time for a
    /// device that never had a command.
    #[must_use]
    pub const fn new(thing: ThingId, floor: Timestamp) -> Self {
        Self {
            thing,
            restart: floor,
            newest: floor,
            order: VecDeque::new(),
            seen: BTreeSet::new(),
            rates: BTreeMap::new(),
        }
    }

    /// The newest time stamped on an accepted command. Store it before a command is carried out, and give it back after a
    /// restart: what was carried out is then never carried out again.
    #[must_use]
    pub fn floor(&self) -> Timestamp {
        self.newest
    }

    //= specs/house.md#house-commands
    //# A device MUST refuse a command that is stale or repeated.
    /// Checks a message from the gateway, in the order of the module's picture.
    ///
    /// # Errors
    /// [`CommandRefusal`]; [`CommandRefusal::receipt`] tells what to answer.
    pub fn accept<'a>(
        &mut self,
        topic: &Topic,
        payload: &[u8],
        properties: impl IntoIterator<Item = (&'a str, &'a str)> + Clone,
        now: Timestamp,
    ) -> Result<FreshCommand, CommandRefusal> {
        // 1. The gateway vouches for it.
        let stamp = Stamp::read(properties)?;
        // 2. It is for us.
        let (operation, name) = match ThingTopic::parse(topic) {
            Some(ThingTopic::Action { thing, name }) if thing == self.thing => {
                (Operation::InvokeAction, name)
            }
            Some(ThingTopic::SetProperty { thing, name }) if thing == self.thing => {
                (Operation::WriteProperty, name)
            }
            _ => return Err(CommandRefusal::Topic),
        };
        // 3. It is fresh, and younger than what a former life of this device handled.
        let distance = now.since(stamp.at).max(stamp.at.since(now));
        if distance > FRESHNESS {
            return Err(CommandRefusal::Stale(
                u64::try_from(distance.as_millis()).unwrap_or(u64::MAX),
            ));
        }
        if stamp.at <= self.restart {
            return Err(CommandRefusal::Replayed);
        }
        // 4. It is new.
        self.forget(now);
        if self.seen.contains(&stamp.command) {
            return Err(CommandRefusal::Replayed);
        }
        // 5. It is within our own limits. An id that is still fresh is never pushed out by others.
        if self.seen.len() >= REMEMBERED || !self.within_rate(&stamp.by, now) {
            return Err(CommandRefusal::TooMany);
        }
        self.seen.insert(stamp.command);
        self.order.push_back((stamp.at, stamp.command));
        self.newest = self.newest.max(stamp.at);
        // 6. It is a request.
        let request = Request::new(operation, name.as_str(), payload)?;
        let subject = AccessList::service(stamp.by, now.plus(FRESHNESS));
        Ok(FreshCommand { id: stamp.command, name, subject, request })
    }

    fn forget(&mut self, now: Timestamp) {
        let seen = &mut self.seen;
        self.order.retain(|(at, id)| {
            let fresh = at.plus(FRESHNESS) >= now;
            if !fresh {
                seen.remove(id);
            }
            fresh
        });
    }

    fn within_rate(&mut self, service: &ServiceName, now: Timestamp) -> bool {
        if !self.rates.contains_key(service) {
            if self.rates.len() >= MAX_SERVICES {
                self.rates.retain(|_, bucket| bucket.refilled(now).level < Bucket::FULL);
            }
            if self.rates.len() >= MAX_SERVICES {
                return false;
            }
        }
        let full = Bucket { level: Bucket::FULL, at: now };
        let bucket = self.rates.entry(service.clone()).or_insert(full);
        *bucket = bucket.refilled(now);
        match bucket.level.checked_sub(1000) {
            Some(rest) => {
                bucket.level = rest;
                true
            }
            None => false,
        }
    }
}

impl FreshCommand {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> CommandId {
        self.id
    }

    /// The affordance that it is for, which need not exist.
    #[must_use]
    pub const fn affordance(&self) -> &AffordanceName {
        &self.name
    }

    /// Who asked, for the judgement.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What was asked, for the judgement.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The receipt of a command that was carried out.
    #[must_use]
    pub fn done(&self, output: Option<Value>, at: Timestamp) -> Receipt {
        Receipt { output, ..self.receipt(Outcome::Done, None, at) }
    }

    /// The receipt of a command that the device tried and could not do; `detail` is for people.
    #[must_use]
    pub fn failed(&self, detail: &str, at: Timestamp) -> Receipt {
        self.receipt(Outcome::Failed, Some(detail.to_owned()), at)
    }

    /// The receipt of a command that was judged and refused.
    #[must_use]
    pub fn refused(&self, refusal: &Refusal, at: Timestamp) -> Receipt {
        self.receipt(Outcome::Refused, Some(refusal.to_string()), at)
    }

    fn receipt(&self, outcome: Outcome, detail: Option<String>, at: Timestamp) -> Receipt {
        Receipt {
            command: self.id,
            affordance: self.name.clone(),
            outcome,
            detail,
            output: None,
            at,
        }
    }
}

impl CommandRefusal {
    /// The receipt that says so. `None` for what deserves no answer: a message without a stamp, one for somebody else, and a
    /// repetition, whose first delivery has its own receipt.
    #[must_use]
    pub fn receipt<'a>(
        &self,
        topic: &Topic,
        properties: impl IntoIterator<Item = (&'a str, &'a str)> + Clone,
        at: Timestamp,
    ) -> Option<Receipt> {
        if matches!(self, Self::Stamp(_) | Self::Topic | Self::Replayed) {
            return None;
        }
        let stamp = Stamp::read(properties).ok()?;
        let affordance = ThingTopic::parse(topic)?.name().clone();
        Some(Receipt {
            command: stamp.command,
            affordance,
            outcome: Outcome::Refused,
            detail: Some(self.to_string()),
            output: None,
            at,
        })
    }
}
