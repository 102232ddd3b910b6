//! Whether the authority stays as fast when it has issued much: look-ups, OCSP, revocation lists and issuing with 10^4,
//! 10^5 and 10^6 certificates in the database, always as many of them revoked.
//!
//! `million FOLDER [N …]`: a new data folder below FOLDER, on a disk with 2 GiB to spare for each million. The first
//! thousand certificates are issued and half of them revoked; the others are written straight into SQLite, each with the
//! bytes of one that was issued, under a name, key and serial of its own. Times are the processor's, of this process. Each
//! start is a process of its own (`million --open DATA`), so that its memory is of nothing else: one after the database was
//! written by somebody else, so that it is checked, and one after an orderly end.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_authority::registration::Reason;
use countersign_authority::revocation::Target;
use countersign_authority::status::{Form, Scope};
use countersign_authority::subject::Subject;
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, IssuingCa, Sources};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::csr;
use countersign_crypto::digest::sha256;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::KeyHandle;
use countersign_crypto::tls::{Clock, SystemClock};
use countersign_model::time::Timestamp;
use der::Encode as _;
use rustix::time::{ClockId, clock_gettime};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How many are issued before, and how many of them are revoked.
const ISSUED: usize = 1000;
const REVOKED: usize = 500;
/// How often each look-up is done.
const LOOKUPS: usize = 1000;
/// How often each list is made.
const LISTS: u64 = 5;
/// How many are issued at each size.
const MORE: usize = 1024;
/// Rows that are written in one transaction.
const ROWS: usize = 50_000;

/// The machine's clock, set forward: a list is made anew when the one before is some hours old.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().ok_or("usage: million FOLDER [N …]")?;
    if first == "--open" {
        return start(&PathBuf::from(arguments.next().ok_or("usage: million --open DATA")?)).await;
    }
    let folder = PathBuf::from(first);
    let mut sizes = arguments.map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000, 1_000_000];
    }
    let data = folder.join("million");
    std::fs::create_dir(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let clock = Arc::new(SetClock::default());
    let open = || async {
        let sources = Sources { clock: clock.clone(), random: Box::new(SystemRandom) };
        Authority::open(&data, AuthorityConfig::default(), sources).await
    };

    let authority = open().await?;
    authority.ceremony(&CeremonyPlan::example(), |_| ControlFlow::Continue(())).await?;
    let first = issue(&authority, "first", ISSUED).await?;
    for one in &first[..REVOKED] {
        authority.revoke(&Target::Serial(one.serial_hex()), Reason::KeyCompromise).await?;
    }
    let sample = first.last().ok_or("nothing was issued")?.clone();
    let database = authority.layout().database();
    authority.close().await;
    drop(authority);

    println!(
        "{REVOKED} revoked; microseconds of processor time each, for lists milliseconds and bytes"
    );
    println!(
        "{:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}  list, delta, shard; starts: s, MiB",
        "count", "serial", "subject", "ocsp", "registry", "issue", "list", "delta", "shard"
    );
    for size in sizes {
        let serials = fill(&database, &sample, size).await?;
        let starts = [started(&data)?, started(&data)?].join("; ");
        let authority = open().await?;
        row(&authority, &clock, size, &serials, &starts).await?;
        authority.close().await;
    }
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

/// Opens, says what that took and how much memory it has, and ends in order.
async fn start(data: &std::path::Path) -> Result<(), Failed> {
    let spent = processor_time();
    let authority = Authority::open(data, AuthorityConfig::default(), Sources::system()).await?;
    let took = processor_time() - spent;
    println!("{:.2} {}", took.as_secs_f64(), resident()?);
    authority.close().await;
    Ok(())
}

/// The same in a process of its own.
fn started(data: &std::path::Path) -> Result<String, Failed> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args([std::ffi::OsStr::new("--open"), data.as_os_str()])
        .output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

async fn row(
    authority: &Authority,
    clock: &SetClock,
    size: usize,
    serials: &[(String, String)],
    starts: &str,
) -> Result<(), Failed> {
    let spent = processor_time();
    for (serial, _) in serials {
        authority.certificate(serial).await?.ok_or("a certificate is not found")?;
    }
    let by_serial = micros(processor_time() - spent, serials.len());

    let spent = processor_time();
    for (_, name) in serials {
        let target = Target::Subject(Subject::Thing(name.parse()?));
        if authority.count(&target, Reason::KeyCompromise).await?.certificates != 1 {
            return Err("a subject has another number of certificates".into());
        }
    }
    let by_subject = micros(processor_time() - spent, serials.len());

    let ca = authority.authorities()?.certificate(IssuingCa::Operation).clone();
    let requests: Vec<_> = serials.iter().map(|(serial, _)| ocsp_request(&ca, serial)).collect();
    let spent = processor_time();
    for request in requests {
        // A failure has five octets, and no signature (RFC 6960 section 4.2.1).
        if authority.ocsp(&request?).await.len() <= 5 {
            return Err("OCSP gave no answer".into());
        }
    }
    let ocsp = micros(processor_time() - spent, serials.len());

    let registry = authority.registry();
    let spent = processor_time();
    for (serial, name) in serials {
        let known = registry.subject(&Subject::Thing(name.parse()?)).is_some();
        if !known || registry.revoked(serial).is_some() {
            return Err("the registry does not know a subject".into());
        }
    }
    let in_memory = micros(processor_time() - spent, serials.len());

    let spent = processor_time();
    issue(authority, &format!("at-{size}"), MORE).await?;
    let issuing = micros(processor_time() - spent, MORE);

    let mut lists = Vec::new();
    for (shard, form) in [(None, Form::Complete), (None, Form::Delta), (Some(7), Form::Complete)] {
        let scope = Scope { issuer: "ldevid-ca".to_owned(), shard, form };
        let (mut bytes, mut time) = (0, Duration::ZERO);
        for _ in 0..LISTS {
            clock.0.fetch_add(7 * 3600 * 1000, Ordering::SeqCst);
            let spent = processor_time();
            bytes = authority.crl(&scope).await?.der().len();
            time += processor_time() - spent;
        }
        lists.push((time.as_secs_f64() * 1e3 / LISTS as f64, bytes));
    }
    println!(
        "{size:>9} {by_serial:>8.0} {by_subject:>8.0} {ocsp:>8.0} {in_memory:>8.1} {issuing:>8.0} {:>9.2} {:>9.2} {:>9.2}  {}, {}, {} bytes; {starts}",
        lists[0].0, lists[1].0, lists[2].0, lists[0].1, lists[1].1, lists[2].1,
    );
    Ok(())
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.cast_unsigned(), u32::try_from(spent.tv_nsec).unwrap_or_default())
}

/// Memory of this process, MiB.
fn resident() -> Result<u64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.ok_or("no such line in /proc")?.trim().trim_end_matches(" kB");
    Ok(text.parse::<u64>()? / 1024)
}

/// Issues for real, in turns of 256.
async fn issue(
    authority: &Authority,
    prefix: &str,
    count: usize,
) -> Result<Vec<Certificate>, Failed> {
    let mut made = Vec::with_capacity(count);
    for first in (0..count).step_by(256) {
        let mut group = Vec::new();
        for number in first..(first + 256).min(count) {
            let name = format!("{prefix}-{number:07}");
            let algorithm =
                authority.authorities()?.certificate(IssuingCa::Operation).key_algorithm();
            let key = KeyHandle::ephemeral(algorithm.ok_or("an issuing CA of another kind")?)?;
            group.push((name.parse()?, csr::verify(&csr::request(&key, &name)?)?));
        }
        for answer in authority.enrol_requests(group).await? {
            made.push(answer?.chain.leaf().clone());
        }
    }
    Ok(made)
}

/// Brings the database to so many certificates; serials and names of some of them, from everywhere.
async fn fill(
    database: &std::path::Path,
    sample: &Certificate,
    size: usize,
) -> Result<Vec<(String, String)>, Failed> {
    let options = SqliteConnectOptions::new().filename(database).pragma("cache_size", "-500000");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM certificates) AS there, (SELECT value FROM counters WHERE name = 'generation') AS changed",
    );
    let row = row.fetch_one(&mut connection).await?;
    let (there, mut changed): (i64, i64) = (row.get("there"), row.get("changed"));
    let mut left = i64::try_from(size)? - there;
    while left > 0 {
        let rows = left.min(i64::try_from(ROWS)?);
        let mut turn = connection.begin().await?;
        // Numbers, and a key for each of them.
        sqlx::query(
            "CREATE TEMP TABLE filling AS WITH RECURSIVE n (n) AS
                (SELECT $1 + 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1 + $2)
             SELECT n, printf('fill-%08d', n) AS name, printf('%02x', 1 + abs(random() % 255)) || lower(hex(randomblob(15))) AS serial,
                lower(hex(randomblob(32))) AS spki FROM n",
        )
        .bind(changed)
        .bind(rows)
        .execute(&mut *turn)
        .await?;
        sqlx::query(
            "INSERT INTO subjects (kind, name, folded, state, grants, created_at, changed)
             SELECT 'thing', name, name, 'active', '[]', 0, n FROM filling",
        )
        .execute(&mut *turn)
        .await?;
        sqlx::query(
            "INSERT INTO subject_keys (spki_sha256, kind, name, purpose, changed)
             SELECT spki, 'thing', name, 'ldevid', n FROM filling",
        )
        .execute(&mut *turn)
        .await?;
        sqlx::query(
            "INSERT INTO certificates (serial, kind, name, purpose, issuer, not_before, not_after, der, spki_sha256,
                request_sha256, key_label, status, issued_at, changed)
             SELECT f.serial, 'thing', f.name, c.purpose, c.issuer, c.not_before, c.not_after, c.der, f.spki,
                c.request_sha256, '', 'active', c.issued_at, f.n
             FROM filling f JOIN certificates c ON c.serial = $1",
        )
        .bind(sample.serial_hex())
        .execute(&mut *turn)
        .await?;
        sqlx::query("UPDATE counters SET value = value + $1 WHERE name = 'generation'")
            .bind(rows)
            .execute(&mut *turn)
            .await?;
        sqlx::query("DROP TABLE filling").execute(&mut *turn).await?;
        turn.commit().await?;
        (left, changed) = (left - rows, changed + rows);
    }
    let rows = sqlx::query(
        "SELECT serial, name FROM certificates WHERE name LIKE 'fill-%' AND changed % $1 = 0 LIMIT $2",
    )
    .bind((i64::try_from(size)? / i64::try_from(LOOKUPS)?).max(1))
    .bind(i64::try_from(LOOKUPS)?)
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    Ok(rows.iter().map(|row| (row.get("serial"), row.get("name"))).collect())
}

/// A request about one certificate (RFC 6960 section 4.1.1), without a nonce.
fn ocsp_request(issuer: &Certificate, serial: &str) -> Result<Vec<u8>, Failed> {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
        let long: &[u8] = if length >= 0x80 { &[0x81] } else { &[] };
        [&[tag], long, &[length], content].concat()
    };
    let tbs = issuer.x509().tbs_certificate();
    let name = sha256(&tbs.subject().to_der()?);
    let key = tbs.subject_public_key_info().subject_public_key.as_bytes().ok_or("no key")?;
    let sha256_oid = tlv(6, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]);
    let octets: Vec<u8> = (0..serial.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&serial[at..at + 2], 16))
        .collect::<Result<_, _>>()?;
    let sign: &[u8] = if octets.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    let id = [
        tlv(0x30, &sha256_oid),
        tlv(4, &name),
        tlv(4, &sha256(key)),
        tlv(2, &[sign, &octets].concat()),
    ];
    let mut request = tlv(0x30, &id.concat());
    for _ in 0..4 {
        request = tlv(0x30, &request);
    }
    Ok(request)
}
