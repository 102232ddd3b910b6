//! A subject's states and what may happen in each. The whole table stands in a snapshot.
//!
//! The rule about coming back: a revoked subject is *suspended*, and nothing that it holds, its factory identity
//! included, gets it a certificate. An operator *re-instates* it; then it may enrol anew, once more by its factory
//! identity. What was revoked stays revoked: the new certificate is another one. A *retired* subject never comes back.

/// What a subject may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Known, with a factory identity, and not enrolled yet.
    Manufactured,
    /// Enrolled.
    Active,
    /// Revoked: refused until re-instated.
    Suspended,
    /// May enrol again; holds nothing that counts yet.
    Reinstated,
    /// Out of use for ever.
    Retired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Manufactured, Self::Active, Self::Suspended, Self::Reinstated, Self::Retired];

    /// The word in database, ledger and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manufactured => "manufactured",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Reinstated => "reinstated",
            Self::Retired => "retired",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What happens to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The factory makes its factory identity.
    Manufacture,
    /// It asks for an operational certificate by its factory identity.
    EnrolByFactoryIdentity,
    /// It asks for a new certificate by its current one.
    RenewByCurrent,
    /// The operator at the authority's machine asks for it.
    EnrolLocally,
    /// It is revoked, but not for ever.
    Suspend,
    /// It is taken out of use.
    Retire,
    /// An operator lets it enrol again.
    Reinstate,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 7] = [
        Self::Manufacture,
        Self::EnrolByFactoryIdentity,
        Self::RenewByCurrent,
        Self::EnrolLocally,
        Self::Suspend,
        Self::Retire,
        Self::Reinstate,
    ];
}

/// The state after `event`; `None` stands for a subject that nobody knows.
///
/// # Errors
/// [`Refusal`] where the event is not admitted.
pub fn after(state: Option<State>, event: Event) -> Result<State, Refusal> {
    use Event as E;
    use State as S;
    match (state, event) {
        (None, E::Manufacture) => Ok(S::Manufactured),
        (None, E::EnrolLocally) => Ok(S::Active),
        (None, _) => Err(Refusal::Unknown),

        (Some(S::Retired), E::Retire) => Ok(S::Retired),
        (Some(S::Retired), _) => Err(Refusal::Retired),
        (Some(_), E::Retire) => Ok(S::Retired),
        (Some(_), E::Suspend) => Ok(S::Suspended),

        (Some(S::Suspended | S::Reinstated), E::Reinstate) => Ok(S::Reinstated),
        (Some(S::Suspended), _) => Err(Refusal::Suspended),
        (Some(_), E::Reinstate) => Err(Refusal::NotSuspended),

        (Some(_), E::Manufacture) => Err(Refusal::AlreadyManufactured),
        (Some(S::Manufactured | S::Reinstated), E::RenewByCurrent) => Err(Refusal::NotEnrolled),
        (Some(S::Active), E::RenewByCurrent) => Ok(S::Active),
        (Some(_), E::EnrolByFactoryIdentity | E::EnrolLocally) => Ok(S::Active),
    }
}

/// Why a certificate counts no more (names after RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Not said.
    Unspecified,
    /// The private key may be known to others.
    KeyCompromise,
    /// The issuing CA's private key may be known to others.
    CaCompromise,
    /// The subject belongs to somebody else now: sold, handed over, renamed.
    AffiliationChanged,
    /// Replaced by another certificate.
    Superseded,
    /// Withheld for a time: lost, under investigation, in transit.
    Suspended,
    /// The subject may no longer do what the certificate is for.
    PrivilegeWithdrawn,
    /// Out of use for ever: scrapped, sold for parts, service shut down.
    CessationOfOperation,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::Suspended,
        Self::PrivilegeWithdrawn,
        Self::CessationOfOperation,
    ];

    /// The word in database, ledger and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::Suspended => "suspended",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::CessationOfOperation => "cessation-of-operation",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Its number in CRLs and OCSP answers (RFC 5280 section 5.3.1). `None` where none fits, or the standard asks to leave
    /// it out: certificateHold would promise that the same certificate may come back, and here none ever does.
    #[must_use]
    pub const fn code(self) -> Option<u8> {
        match self {
            Self::Unspecified | Self::Suspended => None,
            Self::KeyCompromise => Some(1),
            Self::CaCompromise => Some(2),
            Self::AffiliationChanged => Some(3),
            Self::Superseded => Some(4),
            Self::CessationOfOperation => Some(5),
            Self::PrivilegeWithdrawn => Some(9),
        }
    }

    /// What it does to the subject.
    #[must_use]
    pub const fn event(self) -> Event {
        match self {
            Self::CessationOfOperation => Event::Retire,
            _ => Event::Suspend,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no reason: use unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, suspended, privilege-withdrawn or cessation-of-operation"
)]
pub struct UnknownReason(String);

impl std::str::FromStr for Reason {
    type Err = UnknownReason;
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::from_word(text).ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// Why there is no permit. The text is for the one who asked and says the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody knows the subject.
    #[error(
        "this authority does not know the subject: have it made in the factory, or enrolled by an operator, first"
    )]
    Unknown,
    /// It is revoked.
    #[error("the subject is suspended: an operator must re-instate it first")]
    Suspended,
    /// It is out of use.
    #[error("the subject is retired and gets no certificate any more")]
    Retired,
    /// It was never revoked.
    #[error("the subject is not suspended: there is nothing to re-instate")]
    NotSuspended,
    /// It has a factory identity.
    #[error("the subject has a factory identity already: give the new one another serial")]
    AlreadyManufactured,
    /// It has no current certificate.
    #[error("the subject has no current certificate to renew by: enrol by the factory identity")]
    NotEnrolled,
    /// The certificate that should speak for it is not one that was issued for it.
    #[error("the certificate shown does not speak for this subject")]
    UnknownCertificate,
    /// The certificate that should speak for it counts no more.
    #[error("the certificate shown is revoked or expired")]
    Revoked,
    /// The purpose is for other subjects.
    #[error("certificates of this purpose are not for such subjects")]
    Purpose,
    /// A thing's name with upper case.
    #[error(
        "{0:?} has upper-case letters: a serial that goes on a label is lower case, because QR codes do not keep case"
    )]
    UpperCase(String),
    /// A name that differs from another's only in case.
    #[error("{name:?} differs from the known {other:?} only in case: choose another name")]
    Lookalike {
        /// The name asked for.
        name: String,
        /// The name that is known.
        other: String,
    },
    /// The key is somebody else's, or has another purpose.
    #[error("this public key is in use already: make a new key and ask again")]
    DuplicateKey,
    /// The key's certificate was revoked.
    #[error("a certificate of this public key was revoked: make a new key and ask again")]
    RevokedKey,
    /// The key is known to be bad.
    #[error("this public key is not to be used ({0}): make a new key and ask again")]
    BadKey(&'static str),
    /// The certificate that should speak for it was replaced, and its successor is in use.
    #[error("the certificate shown was replaced by another one that is in use already")]
    Superseded,
    /// The enrolment code is wrong, used, too old, or for somebody else.
    #[error("the enrolment code does not admit this")]
    Code,
    /// The request names somebody else.
    #[error("the request's subject is {0:?}, which is not the one whose certificate was shown")]
    OtherSubject(String),
    /// The request asks for names that the profile does not give.
    #[error(
        "the request asks for a name that such certificates do not carry: leave subjectAltName out"
    )]
    OtherNames,
    /// The key is of a kind that the policy in force does not allow for new certificates.
    #[error(
        "the policy in force allows no new certificate for a key of {found}: make a key for {allowed}, as csrattrs says, and ask again"
    )]
    KeyAlgorithm {
        /// What the key would sign with.
        found: &'static str,
        /// What is allowed.
        allowed: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as people read it. A changed line here is a changed rule.
    #[test]
    fn every_transition_is_as_reviewed() {
        let mut table = String::new();
        let states = std::iter::once(None).chain(State::ALL.map(Some));
        for state in states {
            let name = state.map_or("(unknown)", State::as_str);
            for event in Event::ALL {
                let outcome = match after(state, event) {
                    Ok(next) => next.as_str().to_owned(),
                    Err(refusal) => format!("refused: {refusal:?}"),
                };
                table.push_str(&format!("{name:13} {:23} {outcome}\n", format!("{event:?}")));
            }
        }
        insta::assert_snapshot!(table);
    }

    /// The rule in one sentence: from *suspended*, no way leads to *active* that does not pass *reinstated*.
    #[test]
    fn nothing_leads_from_suspended_to_active_but_an_operator() {
        for event in Event::ALL {
            let next = after(Some(State::Suspended), event);
            assert_ne!(next, Ok(State::Active), "{event:?}");
            assert_ne!(after(Some(State::Retired), event), Ok(State::Active), "{event:?}");
        }
        assert_eq!(after(Some(State::Suspended), Event::Reinstate), Ok(State::Reinstated));
        let enrolled = after(Some(State::Reinstated), Event::EnrolByFactoryIdentity);
        assert_eq!(enrolled, Ok(State::Active));
    }
}
