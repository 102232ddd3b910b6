//! A batch being made, chunk by chunk, in an order that a kill at any instant cannot spoil:
//!
//! ```text
//!  reserve   quota and serial, in the database       │ of the next chunk, on every core,
//!  make      setup code, verifier, key               │ while this one goes on:
//!  job       sealed, on the disk: from here on a serial's code and key are decided
//!  issue     the nine steps, the whole chunk in one turn
//!  package   SERIAL.factory, sealed
//! ```
//!
//! A repeated run finds what stands: the code and key in the job, the certificate in the database. It makes what is
//! missing and nothing twice.

mod finish;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use countersign_crypto::csr;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::keystore::{Keystore, KeystoreError, Token};
use countersign_crypto::pake::{self, PakeParams};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{SignatureAlgorithm, generate_pkcs8};
use countersign_model::factory::{ENDING, PolicyKeys};
use countersign_model::id::ThingId;
use countersign_model::label::SetupCode;
use serde_json::json;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::batch::{Batch, KeySource};
use super::items::ItemState;
use super::job::{Job, JobRecord};
use super::requests::Requests;
use super::stations::known;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::every_core::shared_out;
use crate::ledger::Kind;
use crate::store::{BatchRecord, ItemRecord, Turn};
use crate::subject::{Purpose, Subject};

/// Serials that share a turn, and with it the waits for the disk: some 1.5 s of Argon2id on two cores, so that progress
/// is seen, and a kill costs no more than that.
const CHUNK: usize = 64;
/// What stands in the name of a sealed file that is still being written.
const UNFINISHED: &str = ".factory.";
/// Most derivations at the same time; each takes the memory that its class says.
const MAX_WORKERS: usize = 8;

/// What a run did.
#[derive(Debug, Default, Clone)]
pub struct BatchReport {
    /// Serials of the batch.
    pub total: u64,
    /// Identities made in this run.
    pub made: u64,
    /// Files of identities that an earlier run had issued.
    pub completed: u64,
    /// Those that stood already.
    pub already: u64,
    /// Serials whose device has not asked yet.
    pub waiting: Vec<String>,
    /// Serials, files or lines that were refused, and why.
    pub refused: Vec<(String, String)>,
    /// What is left of the station's quota.
    pub station_left: u64,
    /// What is left of the batch's quota.
    pub batch_left: u64,
}

impl Authority {
    /// Makes the identities of a batch, or carries on; `progress` hears how many of all are done. With `dry_run` it
    /// looks and changes nothing.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] for a batch that cannot be made, [`AuthorityError::Busy`] while another process
    /// makes it, and whatever the machine refuses. What one serial is refused for stands in the report instead.
    pub async fn provision_batch(
        &self,
        batch: &Batch,
        requests: Requests,
        dry_run: bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BatchReport, AuthorityError> {
        self.core.authorities()?;
        let total = batch.serials().len() as u64;
        let mut report =
            BatchReport { total, refused: requests.refused.clone(), ..BatchReport::default() };
        if dry_run {
            let mut run = Run::prepare(self, batch, requests, None, &mut report).await?;
            run.look(&mut report).await?;
            run.left(&mut report).await?;
            return Ok(report);
        }
        begin(self, batch).await?;
        let outer = SealKey::load(&self.core.layout.seal_key())?;
        // From here on nobody else works on this batch: what is looked up now stays so.
        let job = Job::open(&job_folder(self, batch.name()), &outer)?;
        let mut run = Run::prepare(self, batch, requests, Some(job), &mut report).await?;
        run.open_out()?;
        let mut done = report.already;
        progress(done, total);
        let chunks: Vec<Vec<ThingId>> = run.todo.chunks(CHUNK).map(<[_]>::to_vec).collect();
        let mut chunks = chunks.into_iter();
        let mut making = run.start(chunks.next(), &mut report).await?;
        while let Some((serials, task)) = making {
            let made = task.await.map_err(|_| AuthorityError::Worker)??;
            making = run.start(chunks.next(), &mut report).await?;
            let count = serials.len() as u64;
            run.finish(serials, made, &mut report).await?;
            done += count;
            progress(done, total);
        }
        progress(total, total);
        run.left(&mut report).await?;
        Ok(report)
    }
}

/// What is being made ahead: the serials of a chunk, and the records that are new.
type Making = (Vec<ThingId>, JoinHandle<Result<Vec<JobRecord>, AuthorityError>>);

/// What was drawn for a serial, before the work on it.
struct Drawn {
    thing: ThingId,
    entropy: Zeroizing<[u8; SetupCode::ENTROPY_BYTES]>,
    params: PakeParams,
}

impl Drawn {
    /// The derivation takes the memory and time that the parameters say; with an algorithm, a key is made too.
    fn make(self, key: Option<SignatureAlgorithm>) -> Result<JobRecord, AuthorityError> {
        let code = SetupCode::from_entropy(*self.entropy);
        let secret = pake::derive(&code, &self.thing, &self.params)
            .map_err(|error| AuthorityError::Factory(error.to_string()))?;
        let key = key.map(generate_pkcs8).transpose()?;
        Ok(JobRecord::new(self.thing, self.entropy, self.params, secret.record(), key))
    }
}

struct Run<'a> {
    authority: &'a Authority,
    batch: &'a Batch,
    requests: Requests,
    /// What the database says of each serial of the batch.
    items: HashMap<String, ItemRecord>,
    todo: Vec<ThingId>,
    job: Option<Job>,
    transport: Option<SealKey>,
    token: Option<Keystore>,
    policy: PolicyKeys,
    algorithm: SignatureAlgorithm,
}

impl<'a> Run<'a> {
    /// Looks at what stands and finds what is to be done.
    async fn prepare(
        authority: &'a Authority,
        batch: &'a Batch,
        requests: Requests,
        job: Option<Job>,
        report: &mut BatchReport,
    ) -> Result<Run<'a>, AuthorityError> {
        let policy = PolicyKeys {
            maker: authority.maker()?,
            spki_der: authority.policy_verification_key()?,
            second_spki_der: authority.second_policy_verification_key().await?,
        };
        let token = match batch.keys() {
            KeySource::Token(config) => {
                Some(Keystore::in_token(Token::open(config).map_err(KeystoreError::from)?))
            }
            _ => None,
        };
        let items = authority.core.store.items(batch.name()).await?;
        let mut run = Run {
            authority,
            batch,
            requests,
            items: items.into_iter().map(|item| (item.serial.clone(), item)).collect(),
            todo: Vec::new(),
            job,
            transport: None,
            token,
            policy,
            algorithm: authority.key_algorithm(Purpose::FactoryIdentity)?,
        };
        run.sort(report);
        Ok(run)
    }

    /// What of the batch is to be done, and what cannot be.
    fn sort(&mut self, report: &mut BatchReport) {
        let there = files(self.batch.out());
        let mine: HashSet<&str> = self.batch.serials().iter().map(ThingId::as_str).collect();
        for serial in self.requests.found.keys().filter(|serial| !mine.contains(serial.as_str())) {
            let why = "asks for an identity, and is no serial of this batch".to_owned();
            report.refused.push((serial.clone(), why));
        }
        report.refused.sort();
        let asks = matches!(self.batch.keys(), KeySource::Device(_));
        for serial in self.batch.serials() {
            let name = serial.as_str();
            let file = there.contains(&file_name(serial));
            let request = self.requests.found.get(name);
            match self.items.get(name).map(|item| (item.state, &item.spki_sha256)) {
                Some((ItemState::Issued, spki)) => match request.map(|der| csr::verify(der)) {
                    Some(Err(error)) => report.refused.push((name.to_owned(), error.to_string())),
                    Some(Ok(asked)) if hex::encode(sha256(asked.spki_der())) != *spki => {
                        let why = "has an identity already, and asks for another key".to_owned();
                        report.refused.push((name.to_owned(), why));
                    }
                    _ if file => report.already += 1,
                    _ => self.todo.push(serial.clone()),
                },
                Some((ItemState::Shipped | ItemState::Scrapped, _)) => report.already += 1,
                _ if asks && request.is_none() => report.waiting.push(name.to_owned()),
                _ => self.todo.push(serial.clone()),
            }
        }
    }

    fn open_out(&mut self) -> Result<(), AuthorityError> {
        let out = self.batch.out();
        file::private_folder(out).map_err(AuthorityError::io(out))?;
        // What a kill left half-written. Nobody else writes here: the job is locked.
        for name in
            files(out).iter().filter(|name| name.contains(UNFINISHED) && name.ends_with(".tmp"))
        {
            let path = out.join(name);
            std::fs::remove_file(&path).map_err(AuthorityError::io(&path))?;
        }
        let random: &mut dyn Random = &mut SystemRandom;
        self.transport = Some(SealKey::load_or_create(&out.join("transport.key"), random)?);
        Ok(())
    }

    /// Reserves a chunk and begins to make what is not in the job yet, on every core.
    async fn start(
        &mut self,
        chunk: Option<Vec<ThingId>>,
        report: &mut BatchReport,
    ) -> Result<Option<Making>, AuthorityError> {
        let Some(chunk) = chunk else { return Ok(None) };
        let serials = self.reserve(chunk, report).await?;
        let job = self.job.as_ref().ok_or(AuthorityError::Worker)?;
        // What is issued had a code: it gets no other, also when that was destroyed.
        let new = |serial: &&ThingId| job.get(serial).is_none() && !self.is_issued(serial);
        let missing: Vec<ThingId> = serials.iter().filter(new).cloned().collect();
        let (class, algorithm) = (self.batch.class(), self.algorithm);
        let make_key = matches!(self.batch.keys(), KeySource::Station);
        let mut drawn = Vec::with_capacity(missing.len());
        for thing in missing {
            drawn.push(self.authority.core.with_random(|random| {
                let entropy = Zeroizing::new(random.array::<{ SetupCode::ENTROPY_BYTES }>());
                class.params(random).map(|params| Drawn { thing, entropy, params })
            }));
        }
        let drawn = drawn.into_iter().collect::<Result<Vec<_>, _>>();
        let drawn = drawn.map_err(|error| AuthorityError::Factory(error.to_string()))?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let task = tokio::task::spawn_blocking(move || {
            let make = |one: Drawn| one.make(make_key.then_some(algorithm));
            shared_out(drawn, workers, &make)?.into_iter().collect()
        });
        Ok(Some((serials, task)))
    }

    /// Takes the quotas' places; what has none is refused.
    //= specs/house.md#house-factory
    //# A station MUST NOT take more identities than its quota, whatever is killed, repeated or done at the same time.
    async fn reserve(
        &mut self,
        chunk: Vec<ThingId>,
        report: &mut BatchReport,
    ) -> Result<Vec<ThingId>, AuthorityError> {
        let batch = self.batch;
        let mut turn = self.authority.core.store.exclusive().await?;
        let station = known(turn.station(batch.station()).await?, batch.station())?;
        let mut by_station = turn.used_by_station(&station.name).await?;
        let mut by_batch = turn.used_by_batch(batch.name()).await?;
        let mut reserved = Vec::with_capacity(chunk.len());
        for thing in chunk {
            let found = turn.item(thing.as_str()).await?;
            let taken = found.as_ref().is_some_and(|item| item.state != ItemState::Refused);
            let judged = match found {
                Some(item) if taken && item.batch != batch.name() => {
                    Err(format!("belongs to batch {}", item.batch))
                }
                Some(_) if taken => Ok(()),
                _ if is_known(&mut turn, &thing).await? => {
                    Err("is known already: an identity is for life".to_owned())
                }
                _ if !station.open => Err(format!("station {} is closed", station.name)),
                _ if by_station >= station.quota => Err(format!(
                    "the quota of station {} is used up ({})",
                    station.name, station.quota
                )),
                _ if by_batch >= batch.quota() => {
                    Err(format!("the quota of the batch is used up ({})", batch.quota()))
                }
                _ => Ok(()),
            };
            match judged {
                Err(why) => report.refused.push((thing.as_str().to_owned(), why)),
                Ok(()) => {
                    if !taken {
                        turn.put_item(&self.item(&thing, ItemState::Reserved, "")).await?;
                        (by_station, by_batch) = (by_station + 1, by_batch + 1);
                    }
                    reserved.push(thing);
                }
            }
        }
        turn.commit().await?;
        Ok(reserved)
    }

    fn is_issued(&self, thing: &ThingId) -> bool {
        self.items.get(thing.as_str()).is_some_and(|item| item.state == ItemState::Issued)
    }

    fn item(&self, thing: &ThingId, state: ItemState, note: &str) -> ItemRecord {
        ItemRecord {
            serial: thing.as_str().to_owned(),
            batch: self.batch.name().to_owned(),
            station: self.batch.station().to_owned(),
            state,
            spki_sha256: String::new(),
            verifier_sha256: String::new(),
            note: note.to_owned(),
        }
    }

    /// What a run would do to each serial that is left.
    async fn look(&mut self, report: &mut BatchReport) -> Result<(), AuthorityError> {
        let todo = self.todo.clone();
        let mut turn = self.authority.core.store.exclusive().await?;
        for thing in todo {
            let found = turn.item(thing.as_str()).await?;
            match found {
                Some(item)
                    if item.batch != self.batch.name() && item.state != ItemState::Refused =>
                {
                    let why = format!("belongs to batch {}", item.batch);
                    report.refused.push((thing.as_str().to_owned(), why));
                }
                Some(item) if item.state == ItemState::Issued => report.completed += 1,
                None if is_known(&mut turn, &thing).await? => {
                    let why = "is known already: an identity is for life".to_owned();
                    report.refused.push((thing.as_str().to_owned(), why));
                }
                _ => report.made += 1,
            }
        }
        Ok(())
    }

    async fn left(&self, report: &mut BatchReport) -> Result<(), AuthorityError> {
        let mut turn = self.authority.core.store.exclusive().await?;
        let station = known(turn.station(self.batch.station()).await?, self.batch.station())?;
        let used = turn.used_by_station(&station.name).await?;
        report.station_left = station.quota.saturating_sub(used);
        let used = turn.used_by_batch(self.batch.name()).await?;
        report.batch_left = self.batch.quota().saturating_sub(used);
        Ok(())
    }
}

/// Registers the batch, or checks that it is the one that began.
async fn begin(authority: &Authority, batch: &Batch) -> Result<(), AuthorityError> {
    let core = &authority.core;
    let wrong = |detail: String| AuthorityError::Configuration {
        file: format!("batch {}", batch.name()),
        detail,
    };
    let mut turn = core.store.exclusive().await?;
    let station = known(turn.station(batch.station()).await?, batch.station())?;
    if !station.open {
        return Err(wrong(format!("station {} is closed", station.name)));
    }
    let before = turn.factory_batch(batch.name()).await?;
    if before.as_ref().is_some_and(|before| before.plan != batch.plan()) {
        return Err(wrong(
            "began with other serials, product, station, key source or pairing class: give the changed one another name".to_owned(),
        ));
    }
    if before.as_ref().is_none_or(|before| before.quota != batch.quota()) {
        let new = || BatchRecord {
            name: batch.name().to_owned(),
            station: station.name,
            product: batch.product().to_owned(),
            quota: 0,
            plan: batch.plan(),
            authorisation: String::new(),
            records: 0,
            head: String::new(),
            created_at: core.now(),
        };
        let record = BatchRecord { quota: batch.quota(), ..before.unwrap_or_else(new) };
        let body = json!({
            "batch": record.name, "station": record.station, "product": record.product,
            "quota": record.quota, "serials": batch.serials().len(), "keys": batch.keys().as_str(),
        });
        core.record(Kind::Batch, body).await?;
        turn.put_factory_batch(&record).await?;
        turn.commit().await?;
    }
    Ok(())
}

async fn is_known(turn: &mut Turn, thing: &ThingId) -> Result<bool, AuthorityError> {
    Ok(turn.subject(&Subject::Thing(thing.clone())).await?.is_some())
}

/// Where a batch's job lies.
pub(super) fn job_folder(authority: &Authority, batch: &str) -> PathBuf {
    authority.core.layout.authority().join("factory").join(batch)
}

fn file_name(thing: &ThingId) -> String {
    format!("{thing}.{ENDING}")
}

/// The names of the files that are there.
fn files(folder: &Path) -> HashSet<String> {
    let Ok(listed) = std::fs::read_dir(folder) else { return HashSet::new() };
    listed.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
