//! Every TCP and UDP port of an address.
//!
//! A port is open when it accepts two connections, one after the other (TCP), or answers a datagram
//! (UDP). Whatever is neither clearly open nor clearly closed is counted as unclear, never as closed.

use crate::evidence::TransportScan;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a connection may take before the port counts as unclear.
const TCP_LIMIT: Duration = Duration::from_millis(1000);

/// How long a datagram's answer, or the ICMP error that means closed, may take; three datagrams are sent.
const UDP_LIMIT: Duration = Duration::from_millis(150);

/// Most probes in flight: beyond this a scan of loopback gains nothing.
const MAX_IN_FLIGHT: usize = 512;

/// Fewest probes in flight, however few descriptors are left.
const MIN_IN_FLIGHT: usize = 8;

/// Descriptors left alone: for the runtime, files and whatever else the process does meanwhile.
const RESERVE: usize = 96;

/// How often a local error (no descriptor, no free source port) is waited out.
const LOCAL_RETRIES: u32 = 20;

/// Tries every TCP port of an address. `progress` hears the number of ports done, about every thousand.
pub async fn tcp(target: IpAddr, progress: impl Fn(u32)) -> TransportScan {
    sweep(target, progress, tcp_port).await
}

/// Tries every UDP port of an address. Over a network most hosts limit the ICMP errors that tell
/// "closed": expect a long list of unclear ports there. On loopback the result is complete.
pub async fn udp(target: IpAddr, progress: impl Fn(u32)) -> TransportScan {
    sweep(target, progress, udp_port).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortState {
    Open,
    Closed,
    Unclear,
}

async fn sweep<F>(
    target: IpAddr,
    progress: impl Fn(u32),
    probe: impl Fn(SocketAddr) -> F + Clone + Send + 'static,
) -> TransportScan
where
    F: Future<Output = PortState> + Send,
{
    let mut result = TransportScan::default();
    let next = Arc::new(AtomicU32::new(1));
    let (tell, mut heard) = tokio::sync::mpsc::channel::<(u16, PortState)>(1024);
    let mut workers = JoinSet::new();
    for _ in 0..in_flight() {
        let (next, tell, probe) = (next.clone(), tell.clone(), probe.clone());
        workers.spawn(async move {
            while let Ok(port) = u16::try_from(next.fetch_add(1, Ordering::Relaxed)) {
                let state = probe(SocketAddr::new(target, port)).await;
                if tell.send((port, state)).await.is_err() {
                    break;
                }
                // A refused connection on loopback never waits; other tasks must get their turn.
                tokio::task::yield_now().await;
            }
        });
    }
    drop(tell);
    while let Some((port, state)) = heard.recv().await {
        result.tried += 1;
        match state {
            PortState::Open => {
                result.open.insert(port);
            }
            PortState::Closed => {}
            PortState::Unclear => {
                result.unclear_count += 1;
                if result.unclear.len() < TransportScan::MAX_UNCLEAR {
                    result.unclear.insert(port);
                }
            }
        }
        if result.tried.is_multiple_of(1024) || result.tried == 65_535 {
            progress(result.tried);
        }
    }
    result
}

async fn tcp_port(address: SocketAddr) -> PortState {
    match connect_once(address).await {
        PortState::Open => connect_once(address).await,
        other => other,
    }
}

async fn connect_once(address: SocketAddr) -> PortState {
    for attempt in 0..LOCAL_RETRIES {
        match timeout(TCP_LIMIT, TcpStream::connect(address)).await {
            Err(_) => return PortState::Unclear,
            Ok(Ok(stream)) => {
                return if is_self_connected(&stream) {
                    PortState::Closed
                } else {
                    PortState::Open
                };
            }
            Ok(Err(error)) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => {
                    return PortState::Closed;
                }
                _ if is_local(&error) => pause(attempt).await,
                _ => return PortState::Unclear,
            },
        }
    }
    PortState::Unclear
}

/// On loopback the system may pick the target port as the source port: then a socket has met itself.
fn is_self_connected(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
}

async fn udp_port(address: SocketAddr) -> PortState {
    for attempt in 0..LOCAL_RETRIES {
        match udp_once(address).await {
            Ok(state) => return state,
            Err(error) if is_local(&error) => pause(attempt).await,
            Err(_) => return PortState::Unclear,
        }
    }
    PortState::Unclear
}

async fn udp_once(address: SocketAddr) -> std::io::Result<PortState> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    if socket.local_addr()? == address {
        return Ok(PortState::Closed);
    }
    let mut byte = [0; 1];
    for _ in 0..3 {
        match socket.send(b"\0").await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Ok(PortState::Closed);
            }
            Err(error) => return Err(error),
        }
        match timeout(UDP_LIMIT, socket.recv(&mut byte)).await {
            Ok(Ok(_)) => return Ok(PortState::Open),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                return Ok(PortState::Closed);
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(PortState::Unclear)
}

/// EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL, EADDRINUSE, EAGAIN: about us, not about the port.
fn is_local(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 99 | 98 | 11))
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(10 * u64::from(attempt + 1))).await;
}

/// As many as the descriptors that are left allow.
fn in_flight() -> usize {
    let limit = std::fs::read_to_string("/proc/self/limits")
        .ok()
        .and_then(|text| soft_limit(&text))
        .unwrap_or(256);
    let used = std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
    (limit.saturating_sub(used + RESERVE)).clamp(MIN_IN_FLIGHT, MAX_IN_FLIGHT)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

/// Ports that are open, or unclear, before a device is started at an address: the baseline.
///
/// Take it before the start; give it to the assessment, which excludes those ports with that reason.
#[must_use]
pub fn baseline(scan: &TransportScan) -> BTreeSet<u16> {
    scan.open.union(&scan.unclear).copied().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_scan_finds_what_listens_and_nothing_else() {
        let target: IpAddr = "127.77.3.9".parse().unwrap();
        let mut expected = BTreeSet::new();
        let mut held = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind((target, 0)).await.unwrap();
            expected.insert(listener.local_addr().unwrap().port());
            held.push(listener);
        }
        let last = std::sync::Mutex::new(0);
        let found = tcp(target, |done| *last.lock().unwrap() = done).await;
        assert!(expected.is_subset(&found.open), "{expected:?} in {found:?}");
        assert_eq!((found.tried, *last.lock().unwrap()), (65_535, 65_535));
        assert!(found.is_complete(), "{found:?}");
        // Another program on all addresses may show too; none of ours remains once the listeners are gone.
        drop(held);
        let after = tcp(target, |_| {}).await;
        assert!(expected.is_disjoint(&after.open), "{after:?}");
    }

    #[tokio::test]
    async fn a_udp_port_is_open_only_when_it_answers() {
        let answering = UdpSocket::bind("127.77.3.10:0").await.unwrap();
        let address = answering.local_addr().unwrap();
        let mute = UdpSocket::bind("127.77.3.10:0").await.unwrap();
        let echo = tokio::spawn(async move {
            let mut byte = [0; 8];
            let (count, from) = answering.recv_from(&mut byte).await.unwrap();
            answering.send_to(&byte[..count], from).await.unwrap();
        });
        assert_eq!(udp_port(address).await, PortState::Open);
        echo.await.unwrap();
        assert_eq!(udp_port(mute.local_addr().unwrap()).await, PortState::Unclear);
        assert_eq!(udp_port(address).await, PortState::Closed);
    }

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("nothing"), None);
    }

    #[test]
    fn baseline_ports_are_not_the_devices() {
        let scan = TransportScan {
            open: BTreeSet::from([22, 8443]),
            baseline: Some(BTreeSet::from([22])),
            ..TransportScan::default()
        };
        assert_eq!(scan.of_device().collect::<Vec<_>>(), [8443]);
    }
}
