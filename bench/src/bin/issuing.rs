//! Certificates a second, with the ledger and a durable database on, beside the machine's own signatures a second and
//! beside `cfssl serve` on the same requests.
//!
//! `issuing FOLDER [COUNT] [GROUP] [postgresql://…]`: COUNT certificates in turns of GROUP, in a new data folder below
//! FOLDER, which should lie on a disk and not in memory. With an address, the database of that name, which must be
//! empty, instead of SQLite. All is measured in one run, and in processor time too: other programs then disturb less.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_authority::store::DatabaseConfig;
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, IssuingCa, Sources};
use countersign_crypto::csr::{self, VerifiedCsr};
use countersign_crypto::signature::{self, KeyHandle, SignatureAlgorithm};
use countersign_model::id::ThingId;
use rustix::time::{ClockId, clock_gettime};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How long bare signatures are made.
const RAW: Duration = Duration::from_secs(2);
/// As many bytes are signed as the to-be-signed part of a certificate has.
const MESSAGE: [u8; 420] = [0x5a; 420];
/// Requests that are sent to the peer at the same time.
const CONNECTIONS: usize = 4;
/// The peer is slower: it gets at most so many.
const PEER_COUNT: usize = 4000;
const PEER_KEPT_COUNT: usize = 500;

/// How many, in how much time of the clock and of the processor.
#[derive(Clone, Copy)]
struct Measured {
    count: usize,
    wall: Duration,
    processor: Duration,
}

impl Measured {
    fn a_second(&self, time: Duration) -> f64 {
        self.count as f64 / time.as_secs_f64().max(1e-9)
    }

    fn row(&self, what: &str, raw: &Self) {
        println!(
            "{what:<34} {:>8} {:>10.0} {:>10.0} {:>9.1} us {:>8.2}",
            self.count,
            self.a_second(self.wall),
            self.a_second(self.processor),
            self.processor.as_secs_f64() * 1e6 / self.count as f64,
            self.a_second(self.processor) / raw.a_second(raw.processor),
        );
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: issuing FOLDER [COUNT] [GROUP] [postgresql://USER@HOST/EMPTY_DATABASE]";
    let folder = PathBuf::from(arguments.next().ok_or(usage)?);
    let count: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let group: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let database = arguments.next();

    let data = folder.join("issuing");
    std::fs::create_dir(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let mut config = AuthorityConfig::default();
    if let Some(url) = &database {
        config = config.with_database(DatabaseConfig::new(url.clone(), None)?);
    }
    let authority = Authority::open(&data, config, Sources::system()).await?;
    authority.ceremony(&CeremonyPlan::example(), |_| ControlFlow::Continue(())).await?;
    let ca = authority.authorities()?.certificate(IssuingCa::Operation).clone();
    let algorithm = ca.key_algorithm().ok_or("an issuing CA of another kind")?;

    println!("{algorithm}, {} cores, {count} certificates in turns of {group}", cores());
    let (requests, fresh) =
        (requests(0..count, algorithm)?, requests(count..2 * count, algorithm)?);
    println!(
        "{:<34} {:>8} {:>10} {:>10} {:>12} {:>8}",
        "", "count", "a second", "a core's s", "processor", "of raw"
    );
    let raw = bare(algorithm)?;
    raw.row("bare signatures", &raw);
    verifying(algorithm)?.row("bare verifications", &raw);
    let read = reading(&requests)?;
    read.row("requests read and verified", &raw);
    let verified = requests.iter().map(|(thing, der)| Ok((thing.clone(), csr::verify(der)?)));
    let verified = verified.collect::<Result<Vec<_>, Failed>>()?;
    let issued = issuing(&authority, verified, group).await?;
    let durable = if database.is_some() { "PostgreSQL" } else { "SQLite" };
    issued.row(&format!("issued, ledger and {durable}"), &raw);
    let whole = reading_and_issuing(&authority, fresh, group).await?;
    whole.row("the same with the requests' reading", &raw);
    authority.close().await;
    for (what, kept) in
        [("cfssl serve with its SQLite", true), ("cfssl serve, nothing kept", false)]
    {
        let Some(peer) = cfssl(&folder.join("cfssl"), &requests, algorithm, kept).await? else {
            println!("cfssl is not installed (Debian: golang-cfssl): no comparison with it");
            break;
        };
        peer.row(what, &raw);
        println!(
            "  ours, with the requests' reading, to this: {:.1} by processor time, {:.1} by the clock",
            whole.a_second(whole.processor) / peer.a_second(peer.processor),
            whole.a_second(whole.wall) / peer.a_second(peer.wall),
        );
    }
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.cast_unsigned(), u32::try_from(spent.tv_nsec).unwrap_or_default())
}

/// Names and requests, each with a key of its own, DER.
fn requests(
    numbers: Range<usize>,
    of: SignatureAlgorithm,
) -> Result<Vec<(ThingId, Vec<u8>)>, Failed> {
    numbers
        .map(|number| {
            let name = format!("plug-{number:07}");
            let der = csr::request(&KeyHandle::ephemeral(of)?, &name)?;
            Ok((name.parse()?, der))
        })
        .collect()
}

/// Signatures on every core, by the same provider, in memory.
fn bare(algorithm: SignatureAlgorithm) -> Result<Measured, Failed> {
    let key = KeyHandle::ephemeral(algorithm)?;
    on_every_core(|| key.sign(&MESSAGE).is_ok())
}

fn verifying(algorithm: SignatureAlgorithm) -> Result<Measured, Failed> {
    let key = KeyHandle::ephemeral(algorithm)?;
    let signature = key.sign(&MESSAGE)?;
    on_every_core(|| signature::verify(algorithm, key.spki_der(), &MESSAGE, &signature).is_ok())
}

fn on_every_core(work: impl Fn() -> bool + Sync) -> Result<Measured, Failed> {
    let (began, spent) = (Instant::now(), processor_time());
    let count = std::thread::scope(|scope| {
        let one = || {
            let mut count = 0;
            while began.elapsed() < RAW {
                count += usize::from(work());
            }
            count
        };
        let running: Vec<_> = (0..cores()).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|one| one.join().unwrap_or_default()).sum()
    });
    let (wall, processor) = (began.elapsed(), processor_time() - spent);
    Ok(Measured { count, wall, processor })
}

/// What a peer does with a request before it signs: on one core here.
fn reading(requests: &[(ThingId, Vec<u8>)]) -> Result<Measured, Failed> {
    let (began, spent) = (Instant::now(), processor_time());
    for (_, der) in requests {
        csr::verify(der)?;
    }
    let (wall, processor) = (began.elapsed(), processor_time() - spent);
    Ok(Measured { count: requests.len(), wall, processor })
}

async fn issuing(
    authority: &Authority,
    verified: Vec<(ThingId, VerifiedCsr)>,
    group: usize,
) -> Result<Measured, Failed> {
    let (began, spent) = (Instant::now(), processor_time());
    for group in verified.chunks(group) {
        issue(authority, group.to_vec()).await?;
    }
    let (wall, processor) = (began.elapsed(), processor_time() - spent);
    Ok(Measured { count: verified.len(), wall, processor })
}

/// One thread reads and verifies requests, at most two groups ahead, while those before are issued: as the handlers of EST do
/// beside the turn that is going on.
async fn reading_and_issuing(
    authority: &Authority,
    requests: Vec<(ThingId, Vec<u8>)>,
    group: usize,
) -> Result<Measured, Failed> {
    let count = requests.len();
    let (began, spent) = (Instant::now(), processor_time());
    let (read, mut groups) = mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || {
        for group in requests.chunks(group) {
            let group = group.iter().map(|(thing, der)| Ok((thing.clone(), csr::verify(der)?)));
            if read.blocking_send(group.collect::<Result<Vec<_>, Failed>>()?).is_err() {
                break;
            }
        }
        Ok::<_, Failed>(())
    });
    while let Some(group) = groups.recv().await {
        issue(authority, group).await?;
    }
    reading.await??;
    let (wall, processor) = (began.elapsed(), processor_time() - spent);
    Ok(Measured { count, wall, processor })
}

/// One turn; that each of them was made is looked at.
async fn issue(authority: &Authority, group: Vec<(ThingId, VerifiedCsr)>) -> Result<(), Failed> {
    for answer in authority.enrol_requests(group).await? {
        if !answer?.fresh {
            return Err("a certificate was given again".into());
        }
    }
    Ok(())
}

/// `cfssl serve` with a CA of the same algorithm on the same requests, with and without a database of what it issued; it
/// has no ledger. `None` where it is not installed.
async fn cfssl(
    folder: &Path,
    requests: &[(ThingId, Vec<u8>)],
    algorithm: SignatureAlgorithm,
    kept: bool,
) -> Result<Option<Measured>, Failed> {
    if Command::new("cfssl").arg("version").stdout(Stdio::null()).status().await.is_err() {
        return Ok(None);
    }
    std::fs::create_dir_all(folder)?;
    let request =
        format!(r#"{{"CN":"Peer CA","key":{{"algo":"ecdsa","size":{}}}}}"#, algorithm.key_bits());
    std::fs::write(folder.join("ca.json"), request)?;
    let made = Command::new("cfssl")
        .current_dir(folder)
        .args(["gencert", "-initca", "ca.json"])
        .stderr(Stdio::null())
        .output()
        .await?;
    for (field, file) in [("cert", "ca.pem"), ("key", "ca-key.pem")] {
        std::fs::write(folder.join(file), string_of(&made.stdout, field)?)?;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut database: &[&str] = &[];
    if kept {
        certificates(&folder.join("certificates.db")).await?;
        let config = r#"{"driver":"sqlite3","data_source":"certificates.db"}"#;
        std::fs::write(folder.join("database.json"), config)?;
        database = &["-db-config", "database.json"];
    }
    let mut peer = Command::new("cfssl")
        .current_dir(folder)
        .args(["serve", "-address", "127.0.0.1", "-port", &port.to_string()])
        .args(["-ca", "ca.pem", "-ca-key", "ca-key.pem", "-loglevel", "5"])
        .args(database)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let bodies: Vec<String> = requests
        .iter()
        .take(if kept { PEER_KEPT_COUNT } else { PEER_COUNT })
        .map(|(_, der)| format!(r#"{{"certificate_request":"{}"}}"#, pem(der)))
        .collect();
    let bodies = Arc::new(bodies);
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (began, spent) = (Instant::now(), processor_time_of(&peer)?);
    let mut tasks = Vec::new();
    for first in 0..CONNECTIONS {
        let bodies = bodies.clone();
        tasks.push(tokio::spawn(async move {
            let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
            for body in bodies.iter().skip(first).step_by(CONNECTIONS) {
                ask(&mut connection, body).await?;
            }
            Ok::<_, Failed>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let (wall, processor) = (began.elapsed(), processor_time_of(&peer)? - spent);
    peer.kill().await?;
    std::fs::remove_dir_all(folder)?;
    Ok(Some(Measured { count: bodies.len(), wall, processor }))
}

/// The one table that the peer writes (its certdb/sqlite/migrations/001_CreateCertificates.sql).
async fn certificates(path: &Path) -> Result<(), Failed> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query(
        "CREATE TABLE certificates (
            serial_number BLOB NOT NULL, authority_key_identifier BLOB NOT NULL, ca_label BLOB, status BLOB NOT NULL,
            reason INT, expiry TIMESTAMP, revoked_at TIMESTAMP, pem BLOB NOT NULL,
            PRIMARY KEY (serial_number, authority_key_identifier))",
    )
    .execute(&mut connection)
    .await?;
    Ok(connection.close().await?)
}

async fn ask(connection: &mut BufReader<TcpStream>, body: &str) -> Result<(), Failed> {
    let head = format!(
        "POST /api/v1/cfssl/sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    let (mut line, mut length, mut first) = (String::new(), 0, true);
    loop {
        line.clear();
        connection.read_line(&mut line).await?;
        if std::mem::take(&mut first) && !line.contains(" 200 ") {
            return Err(format!("cfssl answered {line}").into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).await?;
    if string_of(&answer, "certificate")?.starts_with("-----BEGIN CERTIFICATE") {
        Ok(())
    } else {
        Err("cfssl gave no certificate".into())
    }
}

/// A PEM request as it stands in JSON.
fn pem(der: &[u8]) -> String {
    let text = der::pem::encode_string("CERTIFICATE REQUEST", der::pem::LineEnding::LF, der);
    text.expect("a short request").replace('\n', "\\n")
}

/// A field with PEM in it, out of JSON.
fn string_of(json: &[u8], field: &str) -> Result<String, Failed> {
    let text = std::str::from_utf8(json)?;
    let value =
        text.split_once(&format!("\"{field}\":\"")).and_then(|(_, rest)| rest.split_once('"'));
    let (value, _) = value.ok_or_else(|| format!("no {field} in {text}"))?;
    Ok(value.replace("\\n", "\n"))
}

/// User and system time of a child, from /proc/PID/stat: fields 14 and 15, in hundredths of a second.
fn processor_time_of(child: &Child) -> Result<Duration, Failed> {
    let pid = child.id().ok_or("the peer has ended")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no such line in /proc")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
