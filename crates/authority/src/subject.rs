//! Who a certificate is for, and for what.

use countersign_crypto::certificate::{IdentityKind, IdentityName, InvalidName};
use countersign_model::id::{InvalidId, OperatorName, ServiceName, ThingId};

/// Somebody or something that may hold certificates of this authority.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A device.
    Thing(ThingId),
    /// A maker's backend or integration.
    Service(ServiceName),
    /// Somebody who operates the authority.
    Operator(OperatorName),
    /// A server of the platform: gateway, EST, admin.
    Server(ServiceName),
}

impl Subject {
    /// The word for its kind in database, ledger and answers.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Thing(_) => "thing",
            Self::Service(_) => "service",
            Self::Operator(_) => "operator",
            Self::Server(_) => "server",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Thing(id) => id.as_str(),
            Self::Service(name) | Self::Server(name) => name.as_str(),
            Self::Operator(name) => name.as_str(),
        }
    }

    /// The subject of that kind and name; `None` for an unknown kind.
    ///
    /// # Errors
    /// [`InvalidId`] for something that is no name.
    pub fn from_parts(kind: &str, name: &str) -> Result<Option<Self>, InvalidId> {
        Ok(Some(match kind {
            "thing" => Self::Thing(name.parse()?),
            "service" => Self::Service(name.parse()?),
            "operator" => Self::Operator(name.parse()?),
            "server" => Self::Server(name.parse()?),
            _ => return Ok(None),
        }))
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind(), self.name())
    }
}

/// `kind:name`, as [`Subject`] prints itself; a bare name is a thing's.
impl std::str::FromStr for Subject {
    type Err = InvalidSubject;
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let (kind, name) = text.split_once(':').unwrap_or(("thing", text));
        Self::from_parts(kind, name)
            .map_err(|error| InvalidSubject(format!("{text:?}: {error}")))?
            .ok_or_else(|| {
                InvalidSubject(format!(
                    "{kind:?} is no kind of subject: use thing, service, operator or server"
                ))
            })
    }
}

/// A text that names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSubject(String);

/// What a certificate is for; decides issuer, names, key usages and life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The factory identity of a thing (IEEE 802.1AR IDevID).
    FactoryIdentity,
    /// The operational identity of a thing (LDevID).
    Operation,
    /// A service at the gateway.
    Service,
    /// An operator at the admin interface.
    Operator,
    /// A TLS server of the platform.
    Server,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 5] =
        [Self::FactoryIdentity, Self::Operation, Self::Service, Self::Operator, Self::Server];

    /// The word in database and ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FactoryIdentity => "idevid",
            Self::Operation => "ldevid",
            Self::Service => "service",
            Self::Operator => "operator",
            Self::Server => "server",
        }
    }

    /// The kind of identity in the certificate's subjectAltName.
    #[must_use]
    pub const fn identity(self) -> IdentityKind {
        match self {
            Self::FactoryIdentity => IdentityKind::IdevId,
            Self::Operation => IdentityKind::Thing,
            Self::Service => IdentityKind::Service,
            Self::Operator => IdentityKind::Operator,
            Self::Server => IdentityKind::Server,
        }
    }

    /// The identity name of `subject` in this role.
    ///
    /// # Errors
    /// [`InvalidName`]; subjects have valid names, so this is a fault in this program.
    pub fn identity_name(self, subject: &Subject) -> Result<IdentityName, InvalidName> {
        IdentityName::new(self.identity(), subject.name())
    }

    /// Whether certificates of this purpose are for subjects of that kind.
    #[must_use]
    pub const fn fits(self, subject: &Subject) -> bool {
        matches!(
            (self, subject),
            (Self::FactoryIdentity | Self::Operation, Subject::Thing(_))
                | (Self::Service, Subject::Service(_))
                | (Self::Operator, Subject::Operator(_))
                | (Self::Server, Subject::Server(_))
        )
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
