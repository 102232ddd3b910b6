//! What can be reached and by whom: listeners, affordances, authentication mechanisms, services.

use super::communication::Guarantee;
use super::scope::{State, Status};
use super::words::{RowId, Twin};
use crate::role::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A port on which the device listens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Unique among the listeners.
    pub id: RowId,
    /// The address, when the device binds only one; otherwise every address of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Port number, 1 to 65535.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What it is for.
    pub purpose: String,
    /// In which states it is open; closed in all others.
    pub states: Vec<State>,
    /// How peers authenticate (table 1). Empty: not at all.
    #[serde(default)]
    pub authentication: Vec<RowId>,
    /// The secure communication mechanism used there (table 11). None: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<RowId>,
    /// The logical interface that this port realises (table 28).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<RowId>,
    /// ALPN protocols that it admits; empty when it does not negotiate any.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// Whether a client that offers no ALPN is refused.
    #[serde(default)]
    pub alpn_required: bool,
    /// The name that a client expects in the certificate; the address when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Set for a network service protocol that the device relies on and whose configuration cannot be
    /// guaranteed (ARP, DHCP, DNS, ICMP, NTP, mDNS): the reason. Such a listener is excluded from 5.5-5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_service: Option<String>,
}

/// Transport of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP over TLS.
    #[default]
    Https,
    /// HTTP in clear.
    Http,
    /// MQTT over TLS.
    Mqtts,
    /// MQTT in clear.
    Mqtt,
    /// Another protocol directly over TLS, by name.
    Tls(String),
    /// CoAP with DTLS.
    Coaps,
    /// CoAP in clear or with OSCORE.
    Coap,
    /// Multicast DNS.
    Mdns,
    /// Anything else, by name.
    Other(String),
}

impl Protocol {
    /// Whether a TLS server answers there.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Https | Self::Mqtts | Self::Tls(_))
    }
}

/// One operation of one property, action or event on the local API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affordance {
    /// Its name in the Thing Description.
    pub name: String,
    /// Property, action or event.
    pub kind: AffordanceKind,
    /// The W3C WoT operation.
    pub operation: Operation,
    /// The listener that serves it.
    pub listener: RowId,
    /// HTTP method.
    pub method: Method,
    /// Absolute path, for example `/properties/power`.
    pub path: String,
    /// Who may.
    pub access: Access,
    /// Whether it changes security-relevant configuration.
    #[serde(default)]
    pub security_relevant: bool,
    /// The states in which it is served.
    pub states: Vec<State>,
    /// The functionality that it belongs to (table 13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<RowId>,
    /// A valid input for writing or invoking; `null` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<serde_json::Value>,
}

/// Property, action or event (W3C WoT Thing Description 1.1, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AffordanceKind {
    /// A state that can be read, perhaps written.
    Property,
    /// A function that can be invoked.
    Action,
    /// A notification that can be subscribed to.
    Event,
}

/// What is done with an affordance (W3C WoT Thing Description 1.1, `op`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Read a property.
    ReadProperty,
    /// Write a property.
    WriteProperty,
    /// Be told of a property's changes.
    ObserveProperty,
    /// Invoke an action.
    InvokeAction,
    /// Be told of events.
    SubscribeEvent,
}

impl Operation {
    /// Whether it can change the device.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::WriteProperty | Self::InvokeAction)
    }
}

/// HTTP method of an affordance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET
    Get,
    /// PUT
    Put,
    /// POST
    Post,
    /// DELETE
    Delete,
}

impl Method {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may use an affordance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Anybody, without authentication: open data.
    Nosec,
    /// Somebody of the home with at least the role viewer.
    Viewer,
    /// At least member.
    Member,
    /// Owner only.
    Owner,
}

impl Access {
    /// The least role that may; none for open data.
    #[must_use]
    pub const fn least_role(self) -> Option<Role> {
        match self {
            Self::Nosec => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Member => Some(Role::Member),
            Self::Owner => Some(Role::Owner),
        }
    }
}

impl From<Option<Role>> for Access {
    fn from(role: Option<Role>) -> Self {
        match role {
            None => Self::Nosec,
            Some(Role::Viewer) => Self::Viewer,
            Some(Role::Member) => Self::Member,
            Some(Role::Owner) => Self::Owner,
        }
    }
}

/// A row of table 1-AuthMech.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthMech {
    /// ID
    pub id: RowId,
    /// Description, with the authorisation process.
    pub description: Twin<ForWhom>,
    /// Authentication Factor
    pub authentication_factor: String,
    /// Password Generation Mechanism; empty when there is no password.
    #[serde(default)]
    pub password_generation: String,
    /// Security Guarantees
    pub security_guarantees: Twin<BTreeSet<Guarantee>>,
    /// Cryptographic Details
    pub cryptographic_details: Twin<AuthMeans>,
    /// Brute Force Prevention; typed: how many wrong attempts are allowed, where that is counted.
    pub brute_force_prevention: Twin<Option<u32>>,
}

/// Whom a mechanism authenticates and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForWhom {
    /// User-to-machine; otherwise machine-to-machine.
    pub user_to_machine: bool,
    /// Directly addressable from a network interface.
    pub network_addressable: bool,
    /// Tells subjects apart, rather than knowing one shared secret.
    pub distinguishes_subjects: bool,
    /// Rejects invalid identities and factors.
    pub rejects_invalid: bool,
    /// Grants each authenticated subject only its rights.
    pub authorises_per_subject: bool,
}

/// By which means a mechanism authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthMeans {
    /// The kind.
    pub kind: AuthKind,
    /// The secure communication mechanism that carries it (table 11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<RowId>,
}

/// Kinds of authentication.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthKind {
    /// A client certificate in TLS.
    #[default]
    ClientCertificate,
    /// A password-authenticated key exchange, for example SPAKE2+.
    Pake,
    /// A pre-shared key.
    PreSharedKey,
    /// A password sent inside a secure channel.
    Password,
    /// A bearer token.
    BearerToken,
    /// Anything else, by name.
    Other(String),
}

/// A row of table 13-SoftServ: a functionality of the device's software.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftServ {
    /// ID
    pub id: RowId,
    /// Description
    pub description: Twin<ServiceFacts>,
    /// Status
    pub status: Status,
    /// Justification for being enabled.
    pub justification: String,
    /// Allows Configuration
    pub allows_configuration: Twin<Configuration>,
    /// Authentication Mechanism (table 1)
    #[serde(default)]
    pub authentication: Vec<RowId>,
}

/// Where and when a functionality is reachable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFacts {
    /// Reachable over a network interface.
    pub network: bool,
    /// In which states.
    pub states: Vec<State>,
    /// Why it is an excepted network service protocol (ARP, DHCP, DNS, ICMP, NTP); none if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_service: Option<String>,
}

/// What a functionality lets a peer configure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Configuration {
    /// Nothing.
    #[default]
    None,
    /// Something without relevance to security.
    Ordinary,
    /// Something relevant to security: permissions, keys, networks, policies.
    SecurityRelevant,
}
