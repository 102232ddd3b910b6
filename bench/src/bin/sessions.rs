//! How long it takes from the order to revoke until the device's socket is closed, with many sessions live.
//!
//! Both ends are real: `countersign serve` on one side, `countersign authority revoke` as a process of its own for each
//! order, and here one TLS connection and one MQTT session a device. The clock starts before the process does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_crypto::certificate::{
    Certificate, CertificateChain, IdentityKind, certificates_from_pem,
};
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{SecureChannel, TlsClient, TlsIdentity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: sessions COUNTERSIGN_BINARY DATA_FOLDER CERTIFICATES_FOLDER GATEWAY_ADDRESS DEVICES REVOCATIONS
  certificates as `authority enrol --profile device --prefix plug- --count DEVICES --out CERTIFICATES_FOLDER` writes them";

/// Handshakes at once: enough to keep both sides busy.
const AT_ONCE: usize = 32;
/// The gateway bounds connections from one address; these come from several of the loopback network.
const PER_ADDRESS: usize = 4000;

struct Live {
    name: String,
    closed: oneshot::Receiver<Instant>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [binary, data, certificates, gateway, devices, revocations] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let (devices, revocations): (usize, usize) = (devices.parse()?, revocations.parse()?);
    let gateway: SocketAddr = gateway.parse()?;
    let began = Instant::now();
    let mut live = connect_all(Path::new(certificates), gateway, devices).await?;
    println!("{} sessions live after {:.1} s", live.len(), began.elapsed().as_secs_f64());

    let (mut waits, mut after) = (Vec::with_capacity(revocations), Vec::with_capacity(revocations));
    let step = (live.len() / revocations.max(1)).max(1);
    let chosen: Vec<Live> =
        (0..revocations).rev().map(|turn| live.swap_remove(turn * step)).collect();
    for one in chosen {
        let start = Instant::now();
        let status = tokio::process::Command::new(binary)
            .args(["authority", "revoke", "--data", data, "--name", &one.name])
            .stdout(std::process::Stdio::null())
            .status()
            .await?;
        if !status.success() {
            return Err(format!("revoke {}: {status}", one.name).into());
        }
        let returned = Instant::now();
        let closed = tokio::time::timeout(Duration::from_secs(30), one.closed).await;
        let closed = closed.map_err(|_| format!("{}: still open after 30 s", one.name))??;
        waits.push(closed.duration_since(start));
        after.push(closed.saturating_duration_since(returned));
    }
    let closed = |one: &mut Live| one.closed.try_recv().is_ok();
    let lost = live.iter_mut().map(closed).filter(|lost| *lost).count();
    println!("{} of {devices} revoked; {lost} others were closed", waits.len());
    tell("from before the command to the closed socket", waits);
    tell("from the command's end to the closed socket", after);
    Ok(())
}

fn tell(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).round() as usize].as_millis();
    let (half, most) = (at(0.5), at(1.0));
    println!("{what}: p50 {half} ms, p90 {} ms, p99 {} ms, most {most} ms", at(0.9), at(0.99));
}

async fn connect_all(
    folder: &Path,
    gateway: SocketAddr,
    devices: usize,
) -> Result<Vec<Live>, Failed> {
    let roots = certificates_from_pem(&std::fs::read(folder.join("roots.pem"))?)?;
    let mut names: Vec<String> = std::fs::read_dir(folder)?
        .filter_map(|entry| {
            Some(entry.ok()?.file_name().to_str()?.strip_suffix(".crt")?.to_owned())
        })
        .collect();
    names.sort_unstable();
    names.truncate(devices);
    if names.len() < devices {
        return Err(format!(
            "{}: {} certificates, {devices} are needed",
            folder.display(),
            names.len()
        )
        .into());
    }
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let connected = Arc::new(AtomicUsize::new(0));
    let with = Arc::new(With {
        folder: folder.to_owned(),
        roots,
        policy: CompiledPolicy::built_in(),
        gateway,
    });
    let mut tasks = Vec::with_capacity(devices);
    for (index, name) in names.into_iter().enumerate() {
        let (turns, connected) = (turns.clone(), connected.clone());
        let with = with.clone();
        tasks.push(tokio::spawn(async move {
            let turn = turns.acquire_owned().await?;
            let channel = connect(&with, &name, index).await?;
            drop(turn);
            if (connected.fetch_add(1, Ordering::Relaxed) + 1) % 1000 == 0 {
                eprintln!("{} connected", connected.load(Ordering::Relaxed));
            }
            let (told, closed) = oneshot::channel();
            tokio::spawn(wait_for_the_end(channel, told));
            Ok::<_, Failed>(Live { name, closed })
        }));
    }
    let mut live = Vec::with_capacity(devices);
    for task in tasks {
        live.push(task.await??);
    }
    Ok(live)
}

/// What every connection needs.
struct With {
    folder: PathBuf,
    roots: Vec<Certificate>,
    policy: CompiledPolicy,
    gateway: SocketAddr,
}

async fn connect(
    with: &With,
    name: &str,
    index: usize,
) -> Result<SecureChannel<TcpStream>, Failed> {
    let read = |ending: &str| std::fs::read(with.folder.join(format!("{name}.{ending}")));
    let chain = CertificateChain::from_pem(&read("crt")?)?;
    let identity = TlsIdentity::new(chain, key_from_pem(&read("key")?)?)?;
    let kinds = [IdentityKind::Server];
    let client = TlsClient::new(
        &with.policy,
        Use::DeviceUplink,
        Some(&identity),
        &with.roots,
        &kinds,
        "mqtt",
    )?;
    let socket = TcpSocket::new_v4()?;
    let host = 2 + u8::try_from(index / PER_ADDRESS)?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0))?;
    let mut channel = client.connect("localhost", socket.connect(with.gateway).await?).await?;
    channel.write_all(&connect_packet(name)).await?;
    channel.flush().await?;
    let mut answer = [0; 4];
    channel.read_exact(&mut answer).await?;
    if answer[0] != 0x20 || answer[3] != 0 {
        return Err(format!("{name}: CONNACK {answer:02x?}").into());
    }
    Ok(channel)
}

/// MQTT 3.1.1 CONNECT: clean session, an hour's keep-alive, this client identifier.
fn connect_packet(client: &str) -> Vec<u8> {
    let mut packet = vec![0x10, u8::try_from(12 + client.len()).expect("short names"), 0, 4];
    packet.extend_from_slice(b"MQTT\x04\x02\x0e\x10\0");
    packet.push(u8::try_from(client.len()).expect("short names"));
    packet.extend_from_slice(client.as_bytes());
    packet
}

async fn wait_for_the_end(mut channel: SecureChannel<TcpStream>, told: oneshot::Sender<Instant>) {
    let mut bytes = [0; 256];
    while matches!(channel.read(&mut bytes).await, Ok(count) if count > 0) {}
    let _ = told.send(Instant::now());
}
