//! Whether the root may sign: a pure function of custody, request, approvals and time.

use countersign_model::time::Timestamp;

use super::approval::Approval;
use super::custody::Custody;
use super::request::{Act, ActKind, RootRequest};

/// That the root may sign these things, and nothing else. Only [`judge`] and [`without_custodians`] make one.
#[derive(Debug, Clone)]
pub struct RootPermit {
    by: Vec<String>,
    signs: Vec<Act>,
    shares: Vec<(u8, Approval)>,
    request: Option<String>,
}

impl RootPermit {
    /// Who approved; empty where the plan names no custodians.
    #[must_use]
    pub fn by(&self) -> &[String] {
        &self.by
    }

    /// SHA-256 of the request, hexadecimal.
    #[must_use]
    pub fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// What may be signed under that label.
    ///
    /// # Errors
    /// [`NotApproved::NotAsked`].
    pub fn act(&self, what: ActKind, label: &str) -> Result<&Act, NotApproved> {
        let found = self.signs.iter().find(|act| act.what == what && act.label == label);
        found.ok_or_else(|| NotApproved::NotAsked(label.to_owned()))
    }

    /// Approvals with their custodians' places.
    pub(super) fn shares(&self) -> &[(u8, Approval)] {
        &self.shares
    }
}

/// The permit for these acts where the plan names no custodians.
///
/// # Errors
/// [`NotApproved::TooFew`] where it does.
pub fn without_custodians(custody: &Custody, signs: Vec<Act>) -> Result<RootPermit, NotApproved> {
    if custody.is_held() {
        return Err(NotApproved::TooFew { have: 0, need: custody.needed() });
    }
    Ok(RootPermit { by: Vec::new(), signs, shares: Vec::new(), request: None })
}

/// Judges the approvals of a request. One bad approval refuses all: somebody must look what it is.
///
/// # Errors
/// [`NotApproved`] with who and why.
//= specs/house.md#house-custody
//# The root MUST NOT sign without the approvals of as many different custodians as the plan says.
//= specs/house.md#house-custody
//# An approval MUST count for one request, until that request expires, and for no other.
pub fn judge(
    custody: &Custody,
    root_spki_der: &[u8],
    request: &RootRequest,
    approvals: &[Vec<u8>],
    now: Timestamp,
) -> Result<RootPermit, NotApproved> {
    // 1. A request for this root, under this custody, in its time.
    if request.root_spki_der() != root_spki_der {
        return Err(NotApproved::OtherRoot);
    }
    if request.custody() != custody.digest() {
        return Err(NotApproved::OtherCustody);
    }
    if now > request.expires_at() {
        return Err(NotApproved::Expired(request.expires_at()));
    }
    // 2. Each approval by one of them, over this request, once.
    let digest = hex::encode(request.digest());
    let mut shares: Vec<(u8, Approval)> = Vec::new();
    for (at, document) in approvals.iter().enumerate() {
        let mut places = (0_u8..).zip(custody.custodians());
        let found = places
            .find_map(|(place, one)| Approval::verify(document, one).map(|read| (place, read)));
        let (place, approval) = found.ok_or(NotApproved::Unknown(at + 1))?;
        if approval.request_sha256 != digest {
            return Err(NotApproved::OtherRequest(approval.name));
        }
        if shares.iter().any(|(known, _)| *known == place) {
            return Err(NotApproved::Twice(approval.name));
        }
        shares.push((place, approval));
    }
    // 3. Enough of them.
    if shares.len() < custody.needed() || !custody.is_held() {
        return Err(NotApproved::TooFew { have: shares.len(), need: custody.needed().max(1) });
    }
    let by = shares.iter().map(|(_, approval)| approval.name.clone()).collect();
    Ok(RootPermit { by, signs: request.acts().to_vec(), shares, request: Some(digest) })
}

/// Why the root does not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// Not enough people.
    #[error(
        "the root is used by its custodians: {have} of the {need} approvals that are needed are there"
    )]
    TooFew {
        /// How many.
        have: usize,
        /// How many there must be.
        need: usize,
    },
    /// The same person again.
    #[error("{0} approved twice: each custodian counts once")]
    Twice(String),
    /// Nobody's.
    #[error("approval {0} is by no custodian of the plan, or was changed")]
    Unknown(usize),
    /// For something else.
    #[error("{0} approved another request than this one")]
    OtherRequest(String),
    /// Too late.
    #[error("the request expired {}: make a new one", .0.to_rfc3339())]
    Expired(Timestamp),
    /// For another root.
    #[error("the request is for another root than the one of this folder")]
    OtherRoot,
    /// Under another custody.
    #[error(
        "the request names other custodians, or another number of them, than the plan of this folder"
    )]
    OtherCustody,
    /// Something that nobody asked for.
    #[error("{0:?} is not among the things that the request asks for")]
    NotAsked(String),
}
