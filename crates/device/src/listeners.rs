//! No listener without an entry in the description: the agent looks at its own open sockets.
//!
//! The kernel's tables (`/proc/self/net/*`, proc(5)) say which sockets listen; `/proc/self/fd` says which of them
//! are ours. Whatever is not declared is a fault of this build or of the product around it, and ends the agent.

use countersign_model::thing::NetworkService;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One socket of this process that takes what strangers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenListener {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

impl fmt::Display for OpenListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport} {}", self.address)
    }
}

/// What the device has declared.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    listeners: BTreeSet<OpenListener>,
    udp_ports: BTreeSet<u16>,
}

impl Declared {
    /// Starts from the network services of the Thing Description: the named exceptions of EN 303 645, 5.5-5.
    #[must_use]
    pub fn new(services: &[NetworkService]) -> Self {
        let ports = services.iter().flat_map(|service| service.protocol.udp_ports());
        Self { listeners: BTreeSet::new(), udp_ports: ports.copied().collect() }
    }

    /// Declares a TCP listener.
    pub fn tcp(&mut self, address: SocketAddr) {
        self.listeners.insert(OpenListener { transport: Transport::Tcp, address });
    }

    //= specs/house.md#house-gate
    //# A listener without an entry in the device's description MUST be an error at start-up.
    /// What is open and not declared.
    #[must_use]
    pub fn undeclared(&self, open: &[OpenListener]) -> Vec<OpenListener> {
        let declared = |listener: &&OpenListener| {
            self.listeners.contains(listener)
                || (listener.transport == Transport::Udp
                    && self.udp_ports.contains(&listener.address.port()))
        };
        open.iter().filter(|listener| !declared(listener)).copied().collect()
    }
}

/// The listening sockets of this process.
///
/// # Errors
/// When `/proc` cannot be read: a device that cannot look must not claim that nothing is there.
pub fn open_listeners() -> io::Result<Vec<OpenListener>> {
    let ours = socket_inodes()?;
    let mut found = Vec::new();
    for (file, transport, state) in [
        ("/proc/self/net/tcp", Transport::Tcp, LISTEN),
        ("/proc/self/net/tcp6", Transport::Tcp, LISTEN),
        ("/proc/self/net/udp", Transport::Udp, UNCONNECTED),
        ("/proc/self/net/udp6", Transport::Udp, UNCONNECTED),
    ] {
        match fs::read_to_string(file) {
            Ok(table) => found.extend(
                rows(&table)
                    .filter(|row| row.state == state && ours.contains(&row.inode))
                    .map(|row| OpenListener { transport, address: row.local }),
            ),
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// TCP_LISTEN of the kernel.
const LISTEN: u8 = 0x0A;
/// TCP_CLOSE, which a UDP socket without a fixed peer shows: it takes datagrams from everybody.
const UNCONNECTED: u8 = 0x07;

fn socket_inodes() -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // A descriptor that was closed meanwhile is no socket of ours any more.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode: Option<u64> = target
            .to_str()
            .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

struct Row {
    local: SocketAddr,
    state: u8,
    inode: u64,
}

fn rows(table: &str) -> impl Iterator<Item = Row> {
    table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        Some(Row {
            local: address(columns.get(1)?)?,
            state: u8::from_str_radix(columns.get(3)?, 16).ok()?,
            inode: columns.get(9)?.parse().ok()?,
        })
    })
}

/// `0100007F:1F90`: the address in words of the machine's byte order, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let mut words = Vec::new();
    for index in (0..host.len()).step_by(8) {
        words.push(u32::from_str_radix(host.get(index..index + 8)?, 16).ok()?);
    }
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [_, _, _, _] => {
            let mut bytes = [0; 16];
            for (chunk, word) in bytes.chunks_exact_mut(4).zip(&words) {
                chunk.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_model::thing::NetworkProtocol;

    //= specs/en-303-645.md#5.5-5
    //= type=test
    #[test]
    fn every_listener_of_ours_is_seen_and_must_be_declared() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let open = open_listeners().unwrap();
        let expected = [
            OpenListener { transport: Transport::Tcp, address: tcp.local_addr().unwrap() },
            OpenListener { transport: Transport::Udp, address: udp.local_addr().unwrap() },
        ];
        assert!(expected.iter().all(|listener| open.contains(listener)), "{open:?}");
        let mut declared = Declared::default();
        assert_eq!(declared.undeclared(&expected), expected);
        declared.tcp(expected[0].address);
        assert_eq!(declared.undeclared(&expected), expected[1..]);
        drop((tcp, udp));
        assert!(!open_listeners().unwrap().contains(&expected[0]));
    }

    //= specs/en-303-645.md#5.5-5
    //= type=test
    //# Network service protocols that the device relies on and whose configuration it cannot guarantee MUST be declared as exceptions.
    #[test]
    fn declared_network_services_open_their_ports_only() {
        let service =
            NetworkService { protocol: NetworkProtocol::Dhcp, reason: "an address".to_owned() };
        let declared = Declared::new(&[service]);
        let udp = |port| OpenListener {
            transport: Transport::Udp,
            address: SocketAddr::from(([0, 0, 0, 0], port)),
        };
        assert_eq!(declared.undeclared(&[udp(68), udp(69)]), [udp(69)]);
    }

    #[test]
    fn the_kernels_addresses_are_read() {
        let v4 = address("0100007F:1F90").unwrap();
        assert!(v4 == "127.0.0.1:8080".parse().unwrap() || cfg!(target_endian = "big"));
        let v6 = address("00000000000000000000000001000000:0016").unwrap();
        assert!(v6 == "[::1]:22".parse().unwrap() || cfg!(target_endian = "big"));
        assert!(address("zz").is_none() && address("01:01").is_none());
    }
}
