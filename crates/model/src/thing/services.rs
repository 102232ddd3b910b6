//! Network service protocols: what a device must listen to without authentication, and says so.

use std::fmt;

/// A protocol that a device relies on and whose peers it cannot authenticate (EN 303 645, 5.5-5: the named exceptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkProtocol {
    /// Address resolution, with IPv6's neighbour discovery.
    Arp,
    /// Address and router configuration.
    Dhcp,
    /// Names.
    Dns,
    /// Echo and errors.
    Icmp,
    /// Time.
    Ntp,
    /// Discovery in the home.
    Mdns,
}

impl NetworkProtocol {
    /// Every protocol that may be declared.
    pub const ALL: [Self; 6] =
        [Self::Arp, Self::Dhcp, Self::Dns, Self::Icmp, Self::Ntp, Self::Mdns];

    /// The word in descriptions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arp => "ARP",
            Self::Dhcp => "DHCP",
            Self::Dns => "DNS",
            Self::Icmp => "ICMP",
            Self::Ntp => "NTP",
            Self::Mdns => "mDNS",
        }
    }

    /// The UDP ports at which a device that declares it may be found listening.
    #[must_use]
    pub const fn udp_ports(self) -> &'static [u16] {
        match self {
            Self::Dhcp => &[68, 546],
            Self::Mdns => &[5353],
            Self::Ntp => &[123],
            Self::Arp | Self::Dns | Self::Icmp => &[],
        }
    }
}

impl fmt::Display for NetworkProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//= specs/en-303-645.md#5.5-5
//# Network service protocols that the device relies on and whose configuration it cannot guarantee MUST be declared as exceptions.
/// One declared exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkService {
    /// Which.
    pub protocol: NetworkProtocol,
    /// Why the device needs it, for the test lab.
    pub reason: String,
}
