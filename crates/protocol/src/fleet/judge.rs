//! One subject, one candidate, one verdict.

use countersign_crypto::policy::{Alpn, CompiledPolicy, Use};
use countersign_crypto::tls::{ChoiceKind, Choices};
use countersign_model::time::Timestamp;
use serde::Serialize;

use super::record::{Offer, Record};

/// The part of a policy that a fleet is held against.
#[derive(Debug, Clone)]
pub struct Candidate {
    choices: Choices,
    alpn_required: bool,
}

impl Candidate {
    /// What `policy` says about one use.
    #[must_use]
    pub fn of(policy: &CompiledPolicy, use_: Use) -> Self {
        let choices = Choices::of_policy(policy.rules(use_));
        let alpn_required =
            policy.policy().uses.get(&use_).is_some_and(|tls| tls.alpn == Alpn::Required);
        Self { choices, alpn_required }
    }

    fn has(&self, kind: ChoiceKind, name: &str) -> bool {
        self.choices.codes(kind).iter().any(|code| kind.name(*code) == name)
    }
}

/// What a channel is made of, as far as the subject and the policy choose it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Channel {
    /// The cipher suite.
    pub suite: String,
    /// The key agreement group.
    pub group: String,
}

/// What a verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// What the subject offered.
    Offered,
    /// Only what came of handshakes: the subject may be able to do more, and whether it lacks a signature scheme or ALPN is
    /// not known.
    Negotiated,
}

/// What a handshake would fail for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LackKind {
    /// No suite in common.
    Suites,
    /// No group in common.
    Groups,
    /// No signature scheme in common.
    Signatures,
    /// The candidate requires an application protocol, and none was offered.
    Alpn,
}

impl LackKind {
    /// The word in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suites => "suites",
            Self::Groups => "groups",
            Self::Signatures => "signatures",
            Self::Alpn => "alpn",
        }
    }
}

impl From<ChoiceKind> for LackKind {
    fn from(kind: ChoiceKind) -> Self {
        match kind {
            ChoiceKind::Suites => Self::Suites,
            ChoiceKind::Groups => Self::Groups,
            ChoiceKind::Signatures => Self::Signatures,
        }
    }
}

/// One list without anything in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// Which list.
    pub kind: LackKind,
    /// What the subject has.
    pub offers: Vec<String>,
    /// What the candidate has.
    pub policy: Vec<String>,
}

/// What of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Its public key.
    Key,
    /// Its issuer's signature.
    Signature,
}

/// An algorithm in the subject's certificate that the candidate no longer allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Where it stands.
    pub part: Part,
    /// Which it is.
    pub algorithm: String,
    /// What the candidate has.
    pub policy: Vec<String>,
}

/// What the candidate would do to one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// No handshake could succeed.
    Stranded {
        /// Every list without anything in common.
        why: Vec<Lack>,
    },
    /// A handshake would fail for the certificate alone: the subject is stranded unless it gets a new one first.
    MustReissue {
        /// What is wrong with it.
        retired: Vec<Retired>,
        /// Its last instant.
        #[serde(serialize_with = "super::record::rfc3339")]
        not_after: Timestamp,
    },
    /// It would connect, though not with what it negotiates now.
    LosesPreferred {
        /// What it negotiates now.
        now: Channel,
        /// What it would negotiate.
        then: Channel,
    },
    /// It would connect, and what it negotiates now stays allowed.
    Unaffected {
        /// What it negotiates now.
        now: Channel,
        /// What it would negotiate: something else only where the candidate has more, or leaves a choice.
        then: Channel,
    },
    /// It is too long ago that it was seen: it may have become another since.
    NotSeen {
        /// What would become of it if it came back as it was.
        as_it_was: Option<Box<Self>>,
    },
    /// It is registered and was never at the gateway.
    NeverSeen,
}

impl Verdict {
    /// Worse is greater; for the several programs of one service.
    const fn weight(&self) -> u8 {
        match self {
            Self::Unaffected { .. } => 0,
            Self::LosesPreferred { .. } => 1,
            Self::MustReissue { .. } => 2,
            Self::Stranded { .. } => 3,
            Self::NotSeen { .. } | Self::NeverSeen => 4,
        }
    }
}

//= specs/house.md#house-policy
//# What a policy would do to a fleet MUST be judged from what each subject was seen to offer, and
//# from what it negotiated only where no offer is known.
/// Judges one record. Whoever was last seen before `seen_since` is not known.
pub(super) fn judge(
    record: &Record,
    candidate: &Candidate,
    seen_since: Timestamp,
) -> (Basis, Verdict) {
    let basis = if record.offers.is_empty() { Basis::Negotiated } else { Basis::Offered };
    if record.last_seen < seen_since {
        let as_it_was = judge_since(record, candidate, Timestamp(0)).map(Box::new);
        return (basis, Verdict::NotSeen { as_it_was });
    }
    let verdict = judge_since(record, candidate, seen_since);
    (basis, verdict.unwrap_or(Verdict::NotSeen { as_it_was: None }))
}

/// The worst over the offers that count; `None` when nothing at all is known.
fn judge_since(record: &Record, candidate: &Candidate, since: Timestamp) -> Option<Verdict> {
    let channels = if record.offers.is_empty() {
        negotiated(record, candidate).into_iter().collect()
    } else {
        let offers = record.live_offers(since);
        offers.into_iter().map(|offer| offered(offer, candidate)).collect::<Vec<_>>()
    };
    // The first of equals is the one of the newest offer.
    let worst = channels
        .into_iter()
        .reduce(|worst, next| if next.weight() > worst.weight() { next } else { worst })?;
    match worst {
        stranded @ Verdict::Stranded { .. } => Some(stranded),
        passable => Some(certificate(record, candidate).unwrap_or(passable)),
    }
}

/// What a handshake after this offer would come to. The server takes the policy's order of suites and groups.
fn offered(offer: &Offer, candidate: &Candidate) -> Verdict {
    let (theirs, ours) = (&offer.offered.choices, &candidate.choices);
    let mut why: Vec<Lack> = ChoiceKind::ALL
        .into_iter()
        .filter(|kind| ours.first_in_common(theirs, *kind).is_none())
        .map(|kind| Lack {
            kind: kind.into(),
            offers: theirs.names(kind),
            policy: ours.names(kind),
        })
        .collect();
    if candidate.alpn_required && !offer.offered.alpn {
        let policy = vec!["required".to_owned()];
        why.push(Lack { kind: LackKind::Alpn, offers: Vec::new(), policy });
    }
    let first = |kind: ChoiceKind| ours.first_in_common(theirs, kind).map(|code| kind.name(code));
    match (first(ChoiceKind::Suites), first(ChoiceKind::Groups)) {
        (Some(suite), Some(group)) if why.is_empty() => {
            let now = Channel { suite: offer.suite.clone(), group: offer.group.clone() };
            connects(now, Channel { suite, group }, candidate)
        }
        _ => Verdict::Stranded { why },
    }
}

/// The same from finished handshakes alone, the newest first.
fn negotiated(record: &Record, candidate: &Candidate) -> Option<Verdict> {
    let mut known: Vec<_> = record.negotiated.iter().collect();
    known.sort_by_key(|one| std::cmp::Reverse(one.at));
    let newest = known.first()?;
    let lists = [
        (ChoiceKind::Suites, known.iter().map(|one| &one.suite).collect::<Vec<_>>()),
        (ChoiceKind::Groups, known.iter().map(|one| &one.group).collect()),
    ];
    let (mut why, mut then) = (Vec::new(), Vec::new());
    for (kind, names) in lists {
        match names.iter().find(|name| candidate.has(kind, name)) {
            Some(name) => then.push((*name).clone()),
            None => {
                let mut offers: Vec<String> = names.into_iter().cloned().collect();
                offers.sort();
                offers.dedup();
                let policy = candidate.choices.names(kind);
                why.push(Lack { kind: kind.into(), offers, policy });
            }
        }
    }
    let now = Channel { suite: newest.suite.clone(), group: newest.group.clone() };
    Some(match <[String; 2]>::try_from(then) {
        Ok([suite, group]) => connects(now, Channel { suite, group }, candidate),
        Err(_) => Verdict::Stranded { why },
    })
}

fn connects(now: Channel, then: Channel, candidate: &Candidate) -> Verdict {
    let kept = candidate.has(ChoiceKind::Suites, &now.suite)
        && candidate.has(ChoiceKind::Groups, &now.group);
    if kept { Verdict::Unaffected { now, then } } else { Verdict::LosesPreferred { now, then } }
}

/// Whether the certificate, which the gateway verifies by the policy's signature schemes, would pass.
fn certificate(record: &Record, candidate: &Candidate) -> Option<Verdict> {
    let certificate = record.certificate.as_ref()?;
    let parts = [(Part::Key, &certificate.key), (Part::Signature, &certificate.signature)];
    let retired: Vec<Retired> = parts
        .into_iter()
        .filter_map(|(part, algorithm)| Some((part, algorithm.as_ref()?)))
        .filter(|(_, algorithm)| !candidate.has(ChoiceKind::Signatures, algorithm))
        .map(|(part, algorithm)| Retired {
            part,
            algorithm: algorithm.clone(),
            policy: candidate.choices.names(ChoiceKind::Signatures),
        })
        .collect();
    let not_after = certificate.not_after;
    (!retired.is_empty()).then_some(Verdict::MustReissue { retired, not_after })
}
