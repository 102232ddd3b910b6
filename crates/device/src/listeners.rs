//! No listener without an entry in the description: the agent looks at its own open sockets, and at those of the
//! programs that it has started.
//!
//! The kernel's tables (`/proc/self/net/*`, proc(5)) say which sockets take what strangers send; `/proc/PID/fd` says
//! which of them are ours. Whatever is not declared is a fault of this build or of the product around it, and ends the
//! agent. TCP, UDP, UDP-Lite, raw and ping sockets are looked at, of IPv4 and IPv6, and packet sockets.

mod tables;

use countersign_model::thing::{NetworkProtocol, NetworkService};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use tables::{each, packet_row, row, table};

/// Most programs below the agent that are looked at: four run at once, each with some of its own. More are an error,
/// since a look that stops half-way has seen nothing.
const MAX_PROGRAMS: usize = 512;

/// What a socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite (RFC 3828).
    UdpLite,
    /// A protocol over IP itself; the port is the protocol's number.
    Raw,
    /// ICMP echo; the port is the identifier.
    Icmp,
    /// Whole frames of the link; the port is the EtherType.
    Packet,
}

impl Transport {
    const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Raw => "raw",
            Self::Icmp => "icmp",
            Self::Packet => "packet",
        }
    }
}

/// One socket of this process, or of a program below it, that takes what strangers send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenListener {
    /// What it takes.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// The program's name, where it is not this process's own socket.
    pub program: Option<String>,
}

impl fmt::Display for OpenListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport.word(), self.address)?;
        match &self.program {
            Some(program) => write!(f, " of the program {program:?}"),
            None => Ok(()),
        }
    }
}

/// What the device has declared.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    listeners: BTreeSet<SocketAddr>,
    udp_ports: BTreeSet<u16>,
    services: BTreeSet<NetworkProtocol>,
}

impl Declared {
    /// Starts from the network services of the Thing Description: the named exceptions of EN 303 645, 5.5-5.
    #[must_use]
    pub fn new(services: &[NetworkService]) -> Self {
        let services = services.iter().map(|service| service.protocol).collect();
        Self { services, ..Self::default() }
    }

    /// Declares a TCP listener.
    pub fn tcp(&mut self, address: SocketAddr) {
        self.listeners.insert(address);
    }

    /// Declares the port on which the device announces itself.
    pub fn announced_on(&mut self, port: u16) {
        self.udp_ports.insert(port);
    }

    //= specs/house.md#house-gate
    //# A listener without an entry in the device's description MUST be an error at start-up.
    /// What is open and not declared.
    #[must_use]
    pub fn undeclared(&self, open: &[OpenListener]) -> Vec<OpenListener> {
        open.iter().filter(|listener| !self.has(listener)).cloned().collect()
    }

    fn has(&self, listener: &OpenListener) -> bool {
        let port = listener.address.port();
        let declared = |protocol| self.services.contains(&protocol);
        match listener.transport {
            Transport::Tcp => self.listeners.contains(&listener.address),
            Transport::Udp => {
                self.udp_ports.contains(&port)
                    || self.services.iter().any(|service| service.udp_ports().contains(&port))
            }
            Transport::Icmp => declared(NetworkProtocol::Icmp),
            Transport::Raw => ICMP.contains(&port) && declared(NetworkProtocol::Icmp),
            // Clients of DHCP and of address resolution need whole frames: they run before there is an address.
            Transport::Packet => declared(NetworkProtocol::Dhcp) || declared(NetworkProtocol::Arp),
            Transport::UdpLite => false,
        }
    }
}

/// The protocol numbers of ICMP and ICMPv6.
const ICMP: [u16; 2] = [1, 58];
/// TCP_LISTEN of the kernel.
const LISTEN: u8 = 0x0A;
/// TCP_CLOSE, which a datagram socket without a fixed peer shows: it takes datagrams from everybody.
const UNCONNECTED: u8 = 0x07;

/// The kernel's tables, and the state in which a socket there takes what strangers send.
const TABLES: [(&str, Transport, u8); 10] = [
    ("tcp", Transport::Tcp, LISTEN),
    ("tcp6", Transport::Tcp, LISTEN),
    ("udp", Transport::Udp, UNCONNECTED),
    ("udp6", Transport::Udp, UNCONNECTED),
    ("udplite", Transport::UdpLite, UNCONNECTED),
    ("udplite6", Transport::UdpLite, UNCONNECTED),
    ("raw", Transport::Raw, UNCONNECTED),
    ("raw6", Transport::Raw, UNCONNECTED),
    ("icmp", Transport::Icmp, UNCONNECTED),
    ("icmp6", Transport::Icmp, UNCONNECTED),
];

/// The listening sockets of this process and of the programs below it.
///
/// # Errors
/// When `/proc` cannot be read: a device that cannot look must not claim that nothing is there.
pub fn open_listeners() -> io::Result<Vec<OpenListener>> {
    let owners = owners()?;
    let mut found = Vec::new();
    let mut note = |transport, address, inode: u64| {
        if let Some(program) = owners.get(&inode) {
            found.push(OpenListener { transport, address, program: program.clone() });
        }
    };
    for (file, transport, state) in TABLES {
        let Some(table) = table(file)? else { continue };
        each(table, row, |row| {
            if row.state == state {
                note(transport, row.local, row.inode);
            }
        })?;
    }
    if let Some(table) = table("packet")? {
        each(table, packet_row, |(ether_type, inode)| {
            note(Transport::Packet, SocketAddr::from(([0, 0, 0, 0], ether_type)), inode);
        })?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Where strangers reach TCP port `port` of this machine, whoever listens there. Loopback is no such place.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn reachable(port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for file in ["tcp", "tcp6"] {
        let Some(table) = table(file)? else { continue };
        each(table, row, |row| {
            let open = row.state == LISTEN && row.local.port() == port;
            // A socket of both families shows an IPv4 address as one of IPv6.
            if open && !row.local.ip().to_canonical().is_loopback() {
                found.push(row.local);
            }
        })?;
    }
    Ok(found)
}

/// Every socket of ours: its number, and the program where it is not this process.
fn owners() -> io::Result<BTreeMap<u64, Option<String>>> {
    let parents = parents()?;
    let mut owners = BTreeMap::new();
    let mut programs = vec![std::process::id()];
    let mut seen = 0;
    while let Some(id) = programs.pop() {
        seen += 1;
        if seen > MAX_PROGRAMS {
            return Err(io::Error::other(format!(
                "more than {MAX_PROGRAMS} programs run below it"
            )));
        }
        let ours = id == std::process::id();
        // A program that has ended meanwhile has no sockets any more; what it left to others is found there.
        let inodes = match socket_inodes(id) {
            Ok(inodes) => inodes,
            Err(error) if ours => return Err(error),
            Err(_) => continue,
        };
        let name = (!ours).then(|| program_name(id));
        for inode in inodes {
            owners.entry(inode).or_insert_with(|| name.clone());
        }
        programs
            .extend(parents.iter().filter(|(_, parent)| *parent == id).map(|(child, _)| *child));
    }
    Ok(owners)
}

fn program_name(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// Every process with its parent. Not every kernel lists the children of one.
fn parents() -> io::Result<Vec<(u32, u32)>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // `id (name) state parent …`; a name may hold anything, brackets too.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let parent = after_name.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        parents.extend(parent.map(|parent| (id, parent)));
    }
    Ok(parents)
}

fn socket_inodes(id: u32) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{id}/fd"))? {
        // A descriptor that was closed meanwhile is no socket of ours any more.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode: Option<u64> = target
            .to_str()
            .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn listener(transport: Transport, address: &str) -> OpenListener {
        OpenListener { transport, address: address.parse().unwrap(), program: None }
    }

    fn declared(protocols: &[NetworkProtocol]) -> Declared {
        let service = |protocol: &NetworkProtocol| NetworkService {
            protocol: *protocol,
            reason: "a reason".to_owned(),
        };
        Declared::new(&protocols.iter().map(service).collect::<Vec<_>>())
    }

    //= specs/en-303-645.md#5.5-5
    //= type=test
    #[test]
    fn every_listener_of_ours_is_seen_and_must_be_declared() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(tcp) = std::net::TcpListener::bind((host, 0)) else {
                assert_eq!(host, "::1", "only IPv6 may be missing here");
                continue;
            };
            let udp = std::net::UdpSocket::bind((host, 0)).unwrap();
            let expected = [
                listener(Transport::Tcp, &tcp.local_addr().unwrap().to_string()),
                listener(Transport::Udp, &udp.local_addr().unwrap().to_string()),
            ];
            let open = open_listeners().unwrap();
            assert!(expected.iter().all(|listener| open.contains(listener)), "{open:?}");
            let mut declared = Declared::default();
            assert_eq!(declared.undeclared(&expected), expected);
            declared.tcp(expected[0].address);
            assert_eq!(declared.undeclared(&expected), expected[1..]);
            drop((tcp, udp));
            assert!(!open_listeners().unwrap().contains(&expected[0]));
        }
    }

    //= specs/house.md#house-bindings
    //= type=test
    //# A product behind the gate that can be reached beside it MUST stop the device.
    #[test]
    fn a_port_is_reachable_where_it_is_not_on_loopback() {
        let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        assert_eq!(reachable(port(&open)).unwrap(), [open.local_addr().unwrap()]);
        assert_eq!(reachable(port(&inside)).unwrap(), []);
        // Where there is IPv6 at all.
        if let Ok(inside) = std::net::TcpListener::bind("[::ffff:127.0.0.1]:0") {
            assert_eq!(reachable(port(&inside)).unwrap(), []);
        }
    }

    #[test]
    fn a_connected_socket_takes_nothing_from_strangers() {
        let [one, other] = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(other.local_addr().unwrap()).unwrap();
        let open: Vec<_> = open_listeners().unwrap().into_iter().map(|one| one.address).collect();
        assert!(!open.contains(&one.local_addr().unwrap()));
        assert!(open.contains(&other.local_addr().unwrap()));
    }

    #[test]
    fn the_programs_below_are_looked_at_and_named() {
        // A socket that only the program holds: its standard input.
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let socket = std::os::fd::OwnedFd::from(udp);
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(socket)).spawn().unwrap();
        let found = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let open = open_listeners().unwrap();
            open.into_iter().find(|one| one.address == address && one.program.is_some())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let shown = found.unwrap().to_string();
        assert!(shown.starts_with(&format!("udp {address} of the program")), "{shown}");
    }

    //= specs/en-303-645.md#5.5-5
    //= type=test
    //# Network service protocols that the device relies on and whose configuration it cannot guarantee MUST be declared as exceptions.
    #[test]
    fn declared_network_services_open_their_ports_only() {
        use NetworkProtocol::{Dhcp, Icmp, Mdns};
        for (services, transport, address, admitted) in [
            (&[Dhcp][..], Transport::Udp, "0.0.0.0:68", true),
            (&[Dhcp], Transport::Udp, "[::]:546", true),
            (&[Dhcp], Transport::Udp, "0.0.0.0:69", false),
            (&[Dhcp], Transport::Tcp, "0.0.0.0:68", false),
            (&[Mdns], Transport::Udp, "[::]:5353", true),
            (&[], Transport::Udp, "[::]:5353", false),
            (&[Icmp], Transport::Raw, "[::]:58", true),
            (&[Icmp], Transport::Raw, "0.0.0.0:255", false),
            (&[Icmp], Transport::Icmp, "0.0.0.0:7", true),
            (&[], Transport::Icmp, "0.0.0.0:7", false),
            (&[Dhcp], Transport::Packet, "0.0.0.0:2048", true),
            (&[Icmp], Transport::Packet, "0.0.0.0:2048", false),
            (&NetworkProtocol::ALL, Transport::UdpLite, "0.0.0.0:68", false),
        ] {
            let open = [listener(transport, address)];
            let undeclared = declared(services).undeclared(&open);
            assert_eq!(undeclared.is_empty(), admitted, "{services:?} {}", open[0]);
        }
    }

    #[test]
    fn where_the_device_announces_itself_one_more_port_is_open() {
        let mut declared = declared(&[]);
        declared.announced_on(15_353);
        let open = |transport, port| {
            let here = listener(transport, &format!("0.0.0.0:{port}"));
            declared.undeclared(&[here]).is_empty()
        };
        assert!(open(Transport::Udp, 15_353));
        assert!(!open(Transport::Udp, 5_353) && !open(Transport::Tcp, 15_353));
    }
}
