//! How soon a device answers its owner while others flood it, and how much memory it takes.
//!
//! `floods HOME THING PID [SECONDS [ROUNDS]]`: a home of `countersign control`, a device of it that runs on loopback as the
//! process PID, how long each flood lasts, and how often all of them come. `eve` must be a person of the home without a role
//! at the device: she is made if missing. Nobody who floods comes from the owner's address: what is used up there is the owner's.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_controller::{Home, Session};
use countersign_model::id::{PersonName, ThingId};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

type Failed = Box<dyn std::error::Error>;

/// Pause between two of the owner's requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Addresses that each flooding task comes from.
const ADDRESSES: u64 = 16;
/// Tasks that flood at once.
const TASKS: u8 = 4;

#[derive(Debug, Clone, Copy)]
enum Flood {
    None,
    /// Connections that say nothing, as many as stay open.
    Connections,
    /// A handshake, a byte at a time.
    Slow,
    /// Bytes that are no TLS.
    Rubbish,
    /// Handshakes to their end, and nothing after them, by somebody of the home without a role.
    Handshakes,
    /// Requests that are none: broken JSON, unknown names, wrong methods; from the same.
    Malformed,
    /// Bodies of a megabyte, from the same.
    Oversized,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, thing, pid, rest @ ..] = arguments.as_slice() else {
        return Err("usage: floods HOME THING PID [SECONDS [ROUNDS]]".into());
    };
    let seconds = rest.first().map_or(Ok(10), |text| text.parse())?;
    let rounds = rest.get(1).map_or(Ok(1), |text| text.parse::<usize>())?;
    let (thing, pid): (ThingId, u32) = (thing.parse()?, pid.parse()?);
    let home: &'static Home = Box::leak(Box::new(Home::open(Path::new(home))?));
    let eve: PersonName = "eve".parse()?;
    if !home.persons().contains(&eve) {
        home.issue_person(eve.clone())?;
    }
    let address = home.thing(&thing)?.address;
    println!(
        "{:<12} {:>7} {:>9} {:>9} {:>9} {:>9}  memory now, own, peak",
        "flood", "answers", "median", "p99", "slowest", "connect"
    );
    let round = [
        Flood::None,
        Flood::Connections,
        Flood::Slow,
        Flood::Rubbish,
        Flood::Handshakes,
        Flood::Malformed,
        Flood::Oversized,
    ];
    for flood in round.repeat(rounds).into_iter().chain([Flood::None]) {
        let mut tasks = JoinSet::new();
        for task in 1..=TASKS {
            let (thing, eve) = (thing.clone(), eve.clone());
            tasks.spawn(async move {
                match flood {
                    Flood::None => {}
                    Flood::Handshakes | Flood::Malformed | Flood::Oversized => {
                        let Ok(listener) = TcpListener::bind("127.0.0.1:0").await else { return };
                        let Ok(via) = listener.local_addr() else { return };
                        tokio::select! {
                            () = relay(listener, address, task) => {}
                            () = pour(home, thing, eve, via, flood) => {}
                        }
                    }
                    _ => knock(address, task, flood).await,
                }
            });
        }
        measure(home, &thing, pid, flood, Duration::from_secs(seconds)).await?;
        tasks.shutdown().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn measure(
    home: &Home,
    thing: &ThingId,
    pid: u32,
    flood: Flood,
    lasts: Duration,
) -> Result<(), Failed> {
    let end = Instant::now() + lasts;
    let (mut times, mut connects, mut resident) = (Vec::new(), Vec::new(), (0, 0));
    let mut session: Option<Session> = None;
    while Instant::now() < end {
        // Every tenth request comes over a connection of its own.
        if times.len() % 10 == 0 {
            session = None;
        }
        let begun = Instant::now();
        let mut open = match session.take() {
            Some(open) => open,
            None => {
                let open = home.session(home.owner(), thing, None).await?;
                connects.push(begun.elapsed());
                open
            }
        };
        let begun = Instant::now();
        open.get("relay").await?;
        times.push(begun.elapsed());
        session = Some(open);
        resident = resident.max((memory(pid, "VmRSS")?, memory(pid, "RssAnon")?));
        tokio::time::sleep(PAUSE).await;
    }
    times.sort();
    connects.sort();
    let at = |times: &[Duration], part: usize| {
        let index = (times.len() * part / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!(
        "{:<12} {:>7} {:>6.1} ms {:>6.1} ms {:>6.1} ms {:>6.1} ms  {} KiB, {} KiB, {} KiB",
        format!("{flood:?}"),
        times.len(),
        at(&times, 50),
        at(&times, 99),
        at(&times, 100),
        at(&connects, 50),
        resident.0,
        resident.1,
        memory(pid, "VmHWM")?,
    );
    Ok(())
}

/// A line of /proc/PID/status, in KiB.
fn memory(pid: u32, which: &str) -> Result<u64, Failed> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let text = line.ok_or("no such line in /proc")?.trim().trim_end_matches(" kB");
    Ok(text.parse()?)
}

/// Connections from many addresses, for ever.
async fn knock(device: SocketAddr, task: u8, flood: Flood) {
    let mut held: VecDeque<TcpStream> = VecDeque::new();
    for turn in 0_u64.. {
        let Some(mut stream) = connect(device, task, turn).await else { continue };
        let bytes: &[u8] = match flood {
            Flood::Rubbish => &[0x55; 4096],
            // A record of a handshake, announced and never finished.
            Flood::Slow => &[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb],
            _ => &[],
        };
        let _ = stream.write_all(bytes).await;
        held.push_back(stream);
        if matches!(flood, Flood::Slow) {
            for stream in &mut held {
                let _ = stream.try_write(&[0]);
            }
        }
        if held.len() > 100 {
            held.pop_front();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn connect(device: SocketAddr, task: u8, turn: u64) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    let last = u8::try_from(1 + turn % ADDRESSES).unwrap_or(1);
    socket.bind(SocketAddr::from(([127, 72, task, last], 0))).ok()?;
    let connecting = socket.connect(device);
    tokio::time::timeout(Duration::from_secs(1), connecting).await.ok()?.ok()
}

/// Passes connections on to the device from addresses of their own, for ever.
async fn relay(listener: TcpListener, device: SocketAddr, task: u8) {
    let mut passing = JoinSet::new();
    for turn in 0_u64.. {
        let Ok((mut near, _)) = listener.accept().await else { continue };
        passing.spawn(async move {
            let Some(mut far) = connect(device, task, turn).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        while passing.try_join_next().is_some() {}
    }
}

/// Requests of a person who has no role here, as fast as they are refused.
async fn pour(home: &Home, thing: ThingId, eve: PersonName, via: SocketAddr, flood: Flood) {
    let huge = vec![b'1'; 1 << 20];
    loop {
        let Ok(mut session) = home.session(&eve, &thing, Some(via)).await else { continue };
        if matches!(flood, Flood::Handshakes) {
            continue;
        }
        for turn in 0_u64.. {
            let (method, path, body): (_, _, &[u8]) = match (flood, turn % 4) {
                (Flood::Oversized, _) => ("PUT", "/properties/relay", &huge),
                (_, 0) => ("PUT", "/properties/relay", b"{"),
                (_, 1) => ("GET", "/properties/nothing", b""),
                (_, 2) => ("BREW", "/", b""),
                _ => ("POST", "/actions/%00%ff", b"[[[["),
            };
            if session.request(method, path, Some(body)).await.is_err() {
                break;
            }
        }
    }
}
