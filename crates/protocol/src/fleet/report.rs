//! The whole fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_model::time::Timestamp;
use serde::{Serialize, Serializer};

use super::judge::{Basis, Candidate, Channel, Verdict, judge};
use super::record::{Certificate, Record, Registration, SubjectKind, rfc3339};

/// A verdict without its reasons, in the order in which people want to hear them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// No handshake could succeed.
    Stranded,
    /// Stranded unless it gets a new certificate first.
    MustReissue,
    /// It connects with something else.
    LosesPreferred,
    /// Not seen for too long.
    NotSeen,
    /// Registered and never seen.
    NeverSeen,
    /// It stays as it is.
    Unaffected,
}

impl Verdict {
    /// Its class.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Stranded { .. } => Class::Stranded,
            Self::MustReissue { .. } => Class::MustReissue,
            Self::LosesPreferred { .. } => Class::LosesPreferred,
            Self::Unaffected { .. } => Class::Unaffected,
            Self::NotSeen { .. } => Class::NotSeen,
            Self::NeverSeen => Class::NeverSeen,
        }
    }
}

/// One subject with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// `thing:NAME` or `service:NAME`.
    pub subject: String,
    /// What would become of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What that rests on; `None` when it was never seen.
    pub basis: Option<Basis>,
    /// When it was last seen.
    #[serde(serialize_with = "perhaps_rfc3339")]
    pub last_seen: Option<Timestamp>,
    /// The policy version that it holds, if it ever said so: such a subject may learn to do what it does not offer now.
    pub policy_version: Option<u64>,
    /// Its certificate.
    pub certificate: Option<Certificate>,
}

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Devices that were judged.
    pub devices: usize,
    /// Services that were judged.
    pub services: usize,
    /// Registered, but not admitted now (suspended, retired, not enrolled): not judged.
    pub not_admitted: usize,
    /// [`Class::Stranded`].
    pub stranded: usize,
    /// [`Class::MustReissue`].
    pub must_reissue: usize,
    /// [`Class::LosesPreferred`].
    pub loses_preferred: usize,
    /// [`Class::Unaffected`].
    pub unaffected: usize,
    /// [`Class::NotSeen`].
    pub not_seen: usize,
    /// Of these, those that would be stranded if they came back as they were.
    pub not_seen_stranded: usize,
    /// [`Class::NeverSeen`].
    pub never_seen: usize,
    /// Judged by finished handshakes alone.
    pub by_negotiation_only: usize,
}

/// A change of channel that several subjects would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// What they negotiate now.
    pub now: Channel,
    /// What they would negotiate.
    pub then: Channel,
    /// How many.
    pub count: usize,
}

/// What a candidate would do to a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// How many of each.
    pub counts: Counts,
    /// The changes of channel, the most frequent first.
    pub moves: Vec<Move>,
    /// Every subject, the worst class first, then by name.
    pub subjects: Vec<Judged>,
}

/// Judges everybody who was seen or is registered. `not_seen_for`: whoever was not seen for that long is not known.
#[must_use]
pub fn dry_run(
    records: &[Record],
    registered: &[Registration],
    candidate: &Candidate,
    now: Timestamp,
    not_seen_for: Duration,
) -> DryRun {
    let window = u64::try_from(not_seen_for.as_millis()).unwrap_or(u64::MAX);
    let seen_since = Timestamp(now.0.saturating_sub(window));
    let barred: BTreeSet<&str> =
        registered.iter().filter(|one| !one.admitted).map(|one| one.subject.as_str()).collect();
    let seen: BTreeSet<&str> = records.iter().map(|record| record.subject.as_str()).collect();
    let judged =
        records.iter().filter(|record| !barred.contains(record.subject.as_str())).map(|record| {
            let (basis, verdict) = judge(record, candidate, seen_since);
            Judged {
                subject: record.subject.clone(),
                verdict,
                basis: Some(basis),
                last_seen: Some(record.last_seen),
                policy_version: record.policy_version,
                certificate: record.certificate.clone(),
            }
        });
    let unseen = registered
        .iter()
        .filter(|one| one.admitted && !seen.contains(one.subject.as_str()))
        .map(|one| Judged {
            subject: one.subject.clone(),
            verdict: Verdict::NeverSeen,
            basis: None,
            last_seen: None,
            policy_version: None,
            certificate: None,
        });
    let mut subjects: Vec<Judged> = judged.chain(unseen).collect();
    subjects.sort_by(|a, b| (a.verdict.class(), &a.subject).cmp(&(b.verdict.class(), &b.subject)));
    let counts = Counts { not_admitted: barred.len(), ..count(&subjects) };
    DryRun { counts, moves: moves(&subjects), subjects }
}

fn count(subjects: &[Judged]) -> Counts {
    let mut counts = Counts::default();
    for one in subjects {
        match SubjectKind::of_subject(&one.subject) {
            Some(SubjectKind::Service) => counts.services += 1,
            _ => counts.devices += 1,
        }
        counts.by_negotiation_only += usize::from(one.basis == Some(Basis::Negotiated));
        match &one.verdict {
            Verdict::Stranded { .. } => counts.stranded += 1,
            Verdict::MustReissue { .. } => counts.must_reissue += 1,
            Verdict::LosesPreferred { .. } => counts.loses_preferred += 1,
            Verdict::Unaffected { .. } => counts.unaffected += 1,
            Verdict::NeverSeen => counts.never_seen += 1,
            Verdict::NotSeen { as_it_was } => {
                counts.not_seen += 1;
                let stranded = matches!(as_it_was.as_deref(), Some(Verdict::Stranded { .. }));
                counts.not_seen_stranded += usize::from(stranded);
            }
        }
    }
    counts
}

fn moves(subjects: &[Judged]) -> Vec<Move> {
    let mut counted: BTreeMap<(&Channel, &Channel), usize> = BTreeMap::new();
    for one in subjects {
        if let Verdict::LosesPreferred { now, then } | Verdict::Unaffected { now, then } =
            &one.verdict
            && now != then
        {
            *counted.entry((now, then)).or_default() += 1;
        }
    }
    let mut moves: Vec<Move> = counted
        .into_iter()
        .map(|((now, then), count)| Move { now: now.clone(), then: then.clone(), count })
        .collect();
    moves.sort_by_key(|one| std::cmp::Reverse(one.count));
    moves
}

fn perhaps_rfc3339<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}
