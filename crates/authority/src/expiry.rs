//! What expires when, and whether somebody must do something about it.
//!
//! ```text
//!  root, issuing CAs, policy      people replace them          due: within the time that was asked about
//!  operators                      people renew them            due: a third of their life left
//!  servers, services, devices     renew by themselves at a     due: a sixth left, so renewal has failed for long
//!                                 third of their life
//! ```
//! What is asked about also bounds the others: nothing is due that ends later than that.

mod collect;
pub mod metrics;

use std::collections::HashMap;
use std::time::Duration;

use countersign_model::time::{Timestamp, Validity};
use serde::Serialize;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far ahead is looked unless something else is said.
pub const WITHIN: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The most devices that are named; all are counted.
pub const MAX_NAMED: usize = 100;

/// What expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The manufacturer's root.
    Root,
    /// An issuing CA.
    IssuingCa,
    /// The crypto policy in force.
    Policy,
    /// A server of the platform.
    Server,
    /// An operator's certificate.
    Operator,
    /// A service's certificate.
    Service,
    /// A device's operational certificate.
    Device,
}

impl What {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::IssuingCa,
        Self::Policy,
        Self::Server,
        Self::Operator,
        Self::Service,
        Self::Device,
    ];

    /// The word in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::IssuingCa => "issuing-ca",
            Self::Policy => "policy",
            Self::Server => "server",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Device => "device",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn mend(self) -> &'static str {
        match self {
            Self::Root => "plan a new root: devices carry it in label and firmware",
            Self::IssuingCa => "roll it: countersign authority rotate",
            Self::Policy => "sign and publish its successor: countersign policy sign",
            Self::Server => "`serve` renews it: see its log for why it does not",
            Self::Operator => "renew it: countersign authority enrol --profile operator --force",
            Self::Service => "its owner renews it by EST, or: countersign authority enrol --force",
            Self::Device => "it has not renewed by EST: is it away, or turned away?",
        }
    }

    /// Into how many parts its life is cut, the last of which is too late; `None` where only the asked time counts.
    const fn parts(self) -> Option<u32> {
        match self {
            Self::Root | Self::IssuingCa | Self::Policy => None,
            Self::Operator => Some(3),
            Self::Server | Self::Service | Self::Device => Some(6),
        }
    }
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing is to be done.
    Good,
    /// Somebody must act.
    Due,
    /// Too late.
    Expired,
}

/// One thing that expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expiring {
    /// What.
    pub what: What,
    /// Its name: of a subject, of a CA, the version of a policy.
    pub name: String,
    /// When it begins and ends.
    #[serde(skip)]
    pub validity: Validity,
}

impl Expiring {
    /// How it stands, looking so far ahead.
    #[must_use]
    pub fn standing(&self, now: Timestamp, within: Duration) -> Standing {
        let end = self.validity.not_after;
        if end == Validity::FOREVER {
            return Standing::Good;
        }
        if end <= now {
            return Standing::Expired;
        }
        let life = end.since(self.validity.not_before);
        let late = self.what.parts().map_or(within, |parts| within.min(life / parts));
        if end.since(now) < late { Standing::Due } else { Standing::Good }
    }
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What.
    #[serde(flatten)]
    pub expiring: Expiring,
    /// When it ends (RFC 3339); `null` for what never does.
    pub at: Option<String>,
    /// How it stands.
    pub standing: Standing,
}

/// How many devices stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// Renewed in time.
    pub good: u64,
    /// Overdue for renewal.
    pub due: u64,
    /// Expired: they come back by their factory identity.
    pub expired: u64,
}

/// What expires when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// As of when (RFC 3339).
    pub now: String,
    /// How far ahead was looked, in seconds.
    pub within: u64,
    /// Everything but devices, and devices that are due, the soonest first within each kind; at most
    /// [`MAX_NAMED`] devices.
    pub lines: Vec<Line>,
    /// All devices, counted.
    pub devices: Devices,
}

impl Report {
    /// Sorts and judges what there is.
    #[must_use]
    pub fn of(all: Vec<Expiring>, now: Timestamp, within: Duration) -> Self {
        let (mut lines, mut devices, mut named) = (Vec::new(), Devices::default(), 0);
        let mut all = all;
        all.sort_by(|a, b| {
            (a.what, a.validity.not_after, &a.name).cmp(&(b.what, b.validity.not_after, &b.name))
        });
        for expiring in all {
            let standing = expiring.standing(now, within);
            if expiring.what == What::Device {
                match standing {
                    Standing::Good => devices.good += 1,
                    Standing::Due => devices.due += 1,
                    Standing::Expired => devices.expired += 1,
                }
                named += 1;
                if standing == Standing::Good || named > MAX_NAMED {
                    continue;
                }
            }
            let end = expiring.validity.not_after;
            let at = (end != Validity::FOREVER).then(|| end.to_rfc3339());
            lines.push(Line { expiring, at, standing });
        }
        Self { now: now.to_rfc3339(), within: within.as_secs(), lines, devices }
    }

    /// What somebody must do something about.
    pub fn due(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.standing != Standing::Good)
    }
}

/// Tells each thing once when it becomes due, when it expires, and once a day after that.
#[derive(Debug, Default)]
pub struct Alarms(HashMap<(What, String), (Standing, Timestamp)>);

impl Alarms {
    /// What is to be told now.
    //= specs/house.md#house-expiry
    //# An alarm MUST be told when it begins and at most once a day after that.
    pub fn fresh<'a>(&mut self, report: &'a Report, now: Timestamp) -> Vec<&'a Line> {
        // What is well again is forgotten, and told anew if it comes back. Bounded by the report.
        let present: Vec<_> = report.due().map(|line| key(&line.expiring)).collect();
        self.0.retain(|known, _| present.contains(known));
        let due = report.due().filter(|line| {
            let told = self.0.get(&key(&line.expiring)).copied();
            let again =
                told.is_none_or(|(standing, at)| standing != line.standing || now.since(at) >= DAY);
            if again {
                self.0.insert(key(&line.expiring), (line.standing, now));
            }
            again
        });
        due.collect()
    }
}

fn key(expiring: &Expiring) -> (What, String) {
    (expiring.what, expiring.name.clone())
}

#[cfg(test)]
mod tests;
