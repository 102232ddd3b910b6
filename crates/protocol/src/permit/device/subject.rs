//! Who asks.

use countersign_model::id::{PersonName, ServiceName};
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use std::fmt;

/// Somebody whom the channel has told us about.
///
/// Each authenticated subject carries until when it may be believed: the end of its certificate or of its grant, whichever
/// comes first. A connection that outlives that instant is a stranger's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Nobody that we know: no certificate, or one whose holder is not on the access list.
    Anonymous,
    /// A person of the home, by a certificate of the home.
    Person {
        /// The name in the certificate.
        name: PersonName,
        /// The role on the access list.
        role: Role,
        /// The last instant of belief.
        until: Timestamp,
    },
    /// A service, by the gateway's word on a stamped command.
    Service {
        /// The name in its certificate, which the gateway saw.
        name: ServiceName,
        /// What services may do at this device.
        role: Role,
        /// The last instant of belief.
        until: Timestamp,
    },
    /// The gateway itself, to which telemetry goes.
    Gateway {
        /// The last instant of belief.
        until: Timestamp,
    },
}

impl Subject {
    /// The role at `now`; `None` for strangers and for those who are believed no more.
    #[must_use]
    pub fn role(&self, now: Timestamp) -> Option<Role> {
        let (role, until) = match self {
            Self::Anonymous => return None,
            Self::Person { role, until, .. } | Self::Service { role, until, .. } => (*role, *until),
            Self::Gateway { until } => (Role::Viewer, *until),
        };
        (now <= until).then_some(role)
    }

    /// The name, for permits, receipts and the device's own record.
    #[must_use]
    pub fn name(&self) -> SubjectName {
        match self {
            Self::Anonymous => SubjectName::Anonymous,
            Self::Person { name, .. } => SubjectName::Person(name.clone()),
            Self::Service { name, .. } => SubjectName::Service(name.clone()),
            Self::Gateway { .. } => SubjectName::Gateway,
        }
    }
}

/// A subject's name without its rights.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// A stranger.
    Anonymous,
    /// A person of the home.
    Person(PersonName),
    /// A service.
    Service(ServiceName),
    /// The gateway.
    Gateway,
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Gateway => f.write_str("gateway"),
        }
    }
}
