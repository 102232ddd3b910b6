//! What is known about one subject.

use countersign_crypto::tls::Offered;
use countersign_model::time::Timestamp;
use serde::{Serialize, Serializer};

/// What connects to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// A device: one program, which updates replace.
    Thing,
    /// A service: possibly several programs with one certificate.
    Service,
}

impl SubjectKind {
    /// The kind of a subject written as `thing:NAME` or `service:NAME`.
    #[must_use]
    pub fn of_subject(subject: &str) -> Option<Self> {
        match subject.split_once(':')? {
            ("thing", _) => Some(Self::Thing),
            ("service", _) => Some(Self::Service),
            _ => None,
        }
    }
}

/// A kind of channel that was negotiated, by registered names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Negotiated {
    /// The protocol version.
    pub version: String,
    /// The cipher suite.
    pub suite: String,
    /// The key agreement group.
    pub group: String,
    /// When it was last used.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// One kind of offer that a subject has made, and what came of it the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// What was offered.
    #[serde(flatten)]
    pub offered: Offered,
    /// The suite that was agreed on.
    pub suite: String,
    /// The group that was agreed on.
    pub group: String,
    /// When it was first made.
    #[serde(serialize_with = "rfc3339")]
    pub first: Timestamp,
    /// When it was last made.
    #[serde(serialize_with = "rfc3339")]
    pub last: Timestamp,
}

/// The certificate that was shown last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// Its key's algorithm, by scheme name; `None` when the product does not use such keys.
    pub key: Option<String>,
    /// The algorithm of its issuer's signature, by scheme name; `None` as above.
    pub signature: Option<String>,
    /// Its last instant.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: Timestamp,
}

/// What the gateway keeps about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// `thing:NAME` or `service:NAME`.
    pub subject: String,
    /// When it first connected, as far as the records reach.
    #[serde(serialize_with = "rfc3339")]
    pub first_seen: Timestamp,
    /// When it last connected.
    #[serde(serialize_with = "rfc3339")]
    pub last_seen: Timestamp,
    /// The certificate that it showed last; `None` in records from before these were kept.
    pub certificate: Option<Certificate>,
    /// The version of the crypto policy that it last said it holds, if it ever did.
    pub policy_version: Option<u64>,
    /// SHA-256 of the newest root that it last said it trusts, hexadecimal, if it ever did.
    pub root: Option<String>,
    /// The place from which on it last said that it trusts roots, if it ever did: 0 before any was withdrawn, `None` where its software
    /// knows of no withdrawals.
    pub root_floor: Option<u64>,
    /// Every kind of channel that it used.
    pub negotiated: Vec<Negotiated>,
    /// Its kinds of offer, the one made last first; empty in records from before these were kept.
    pub offers: Vec<Offer>,
}

impl Record {
    /// The offers that count. A service may be several programs, so each of its offers within the time looked at does. A
    /// device is one program: an offer that was not made again after another one had appeared belongs to its past.
    pub(super) fn live_offers(&self, seen_since: Timestamp) -> Vec<&Offer> {
        let recent = self.offers.iter().filter(|offer| offer.last >= seen_since);
        if SubjectKind::of_subject(&self.subject) == Some(SubjectKind::Service) {
            return recent.collect();
        }
        recent.filter(|one| !self.offers.iter().any(|later| later.first > one.last)).collect()
    }
}

/// A subject that the authority knows and that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// `thing:NAME` or `service:NAME`.
    pub subject: String,
    /// Whether it may connect now; one that may not is stranded already, by somebody's decision.
    pub admitted: bool,
}

/// Instants in reports are for people and documents: RFC 3339.
pub(super) fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}
