//! A backup becomes a data folder: beside its place first, verified there, and put in place as a whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_crypto::certificate::{Certificate, certificates_from_pem};
use countersign_crypto::envelope::{EnvelopeError, Opener, RecipientKey};
use countersign_crypto::file;
use countersign_model::time::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::carried::{carry_out, had, take_over};
use super::compare::{Told, compare};
use super::{Held, Manifest, PURPOSE, archive, signed_text};
use crate::authority::{Authority, Layout, Sources};
use crate::config::AuthorityConfig;
use crate::error::AuthorityError;
use crate::ledger::note::{Note, VerifierKey};
use crate::ledger::offline::{Beside, audit_lines};
use crate::ledger::{Kind, checkpoint::SignedCheckpoint};
use crate::store::{Place, Store};

/// What the restorer knows from elsewhere, and the backup must agree with.
#[derive(Debug, Clone, Default)]
pub struct Pinned {
    /// The manufacturer's root, PEM: `roots.pem` of any device or client, or `device-roots.pem` where one was withdrawn since.
    pub roots: Option<PathBuf>,
    /// The key of the ledger's checkpoints, as strangers and witnesses hold it.
    pub ledger_key: Option<PathBuf>,
}

/// A backup that was opened and holds, not yet in place.
pub struct Restoring {
    stage: Stage,
    data: PathBuf,
    manifest: Manifest,
    former: VerifierKey,
    told: Told,
    /// The roots that the restorer brought, with their file.
    roots: Option<(PathBuf, Vec<Certificate>)>,
    /// Entries of the old ledger that are newer than the backup.
    later: u64,
    old_checkpoint: Option<u64>,
}

/// What was restored.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// When the backup was made.
    pub made_at: Timestamp,
    /// How long ago.
    pub age: Duration,
    /// Entries that the ledger of the backup had.
    pub entries: u64,
    /// Entries of the old ledger after those, taken over.
    pub later: u64,
    /// How many entries the old ledger's own checkpoint covers; `None` where there was none beside it: then nothing tells whether
    /// its end was cut off.
    pub old_checkpoint: Option<u64>,
    /// Certificates that the ledger tells of and the database does not know.
    pub unknown: u64,
    /// Revocations that the ledger told of and the database did not have.
    pub revocations: usize,
    /// Orders to revoke many that the ledger told of after the backup: given again and carried out.
    pub orders: usize,
    /// What does not fit: the database has it and the ledger does not, or the ledger took an issuing CA out of use and it still issues.
    pub findings: Vec<String>,
    /// SHA-256 of the root's certificate, hexadecimal.
    pub root_sha256: String,
    /// Under which key the ledger was verified before.
    pub former_ledger_key: String,
    /// Under which it is from now on.
    pub ledger_key: String,
}

impl Restoring {
    /// Opens a backup into a folder beside `data`, which must be empty or not there. `ledger` is the old authority's, where
    /// it is at hand: it must have grown out of the backup's.
    ///
    /// # Errors
    /// [`AuthorityError::Backup`] names what is wrong with the file; then nothing was written.
    //= specs/house.md#house-backup
    //# A backup that was changed, cut short or sealed to another key MUST be refused by name.
    pub fn open(
        backup: &Path,
        key: &RecipientKey,
        data: &Path,
        pinned: &Pinned,
        ledger: Option<&Path>,
    ) -> Result<Self, AuthorityError> {
        // 1. The place is free.
        if fs::read_dir(data).is_ok_and(|mut there| there.next().is_some()) || data.is_file() {
            let detail = "is not empty: a backup is restored into a new folder only".to_owned();
            return Err(AuthorityError::Backup { file: data.to_owned(), detail });
        }
        // 2. Every octet is what was sealed, before anything of it is looked at.
        let named = |error: EnvelopeError| refused(backup, error);
        let open = || -> Result<_, EnvelopeError> {
            let file = io::BufReader::new(File::open(backup)?);
            Opener::new(file, key, PURPOSE)
        };
        open().and_then(Opener::finish).map_err(named)?;
        // 3. The files, beside the place.
        let stage = Stage::beside(data).map_err(AuthorityError::io(data))?;
        let mut opener = open().map_err(named)?;
        let unpacked = archive::unpack(&mut opener, &stage.0);
        let mut files = unpacked.map_err(|error| refused(backup, error))?;
        // 4. What they say of themselves, signed by the ledger's key.
        let former = Beside::new(&Layout::new(&stage.0).ledger()).key()?;
        let former = former.ok_or_else(|| refused(backup, "holds no ledger key"))?;
        let manifest =
            manifest(&stage.0, &mut files, &former).map_err(|what| refused(backup, what))?;
        let roots = pinned.agree(&stage.0, &former)?;
        // 5. The ledger, and the old authority's in its place.
        let told = Told::to_backup_of(manifest.ledger_entries);
        let mut restoring = Self {
            stage,
            data: data.to_owned(),
            manifest,
            former,
            told,
            roots,
            later: 0,
            old_checkpoint: None,
        };
        restoring.read_ledger(backup, ledger)?;
        Ok(restoring)
    }

    /// Where the files are until they are in place: its configuration, if it has one, is `config.toml` there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.stage.0
    }

    fn read_ledger(&mut self, backup: &Path, later: Option<&Path>) -> Result<(), AuthorityError> {
        let log = Layout::new(&self.stage.0).ledger();
        let [signed, _] = Beside::new(&log).checkpoints(&self.former)?;
        let signed = signed.ok_or_else(|| refused(backup, "holds no checkpoint"))?;
        let head = signed.checkpoint().clone();
        let same = head.size == self.manifest.ledger_entries
            && head.root.to_string() == self.manifest.ledger_root;
        if !same {
            return Err(refused(
                backup,
                "the checkpoint in it is another than that it was made at",
            ));
        }
        let told = &mut self.told;
        let Some(later) = later else {
            audit_lines(&log, vec![head], false, |entry| told.take(&entry))?;
            return Ok(());
        };
        // The old one must be a continuation, and all that it signed must be there.
        let newest = Beside::new(later).checkpoints(&self.former)?.into_iter().flatten();
        let mut marks: Vec<_> =
            newest.map(|one: SignedCheckpoint| one.checkpoint().clone()).collect();
        self.old_checkpoint = marks.iter().map(|mark| mark.size).max();
        let size = head.size;
        marks.push(head);
        let (audited, torn) = audit_lines(later, marks, true, |entry| told.take(&entry))?;
        let entries = audited.frontier.size();
        let lines = archive::head(later, entries).map_err(AuthorityError::io(later))?;
        debug_assert!(torn == 0 || lines.ends_with(b"\n"));
        file::write_atomic(&log, &whole(lines), file::PRIVATE).map_err(AuthorityError::io(&log))?;
        self.later = entries.saturating_sub(size);
        Ok(())
    }

    /// Makes the database, compares it with the ledger, gives the ledger its new key, and puts the folder in its place.
    ///
    /// # Errors
    /// [`AuthorityError`]; then nothing is in place.
    pub async fn finish(
        self,
        config: AuthorityConfig,
        sources: Sources,
    ) -> Result<Restored, AuthorityError> {
        let layout = Layout::new(&self.stage.0);
        // 1. The database.
        let lines_file = self.stage.0.join("database.jsonl");
        let lines = fs::read_to_string(&lines_file).map_err(AuthorityError::io(&lines_file))?;
        let place = Place::of(&layout.database(), config.database());
        let store = Store::from_lines(place.clone(), self.manifest.schema, &lines).await?;
        fs::remove_file(&lines_file).map_err(AuthorityError::io(&lines_file))?;
        let restored = self.finish_with(store, config, sources).await;
        if restored.is_err() {
            place.discard().await;
        }
        restored
    }

    async fn finish_with(
        self,
        store: Store,
        config: AuthorityConfig,
        sources: Sources,
    ) -> Result<Restored, AuthorityError> {
        let layout = Layout::new(&self.stage.0);
        // 2. Against the ledger; what that revoked stays revoked.
        let mut compared = compare(&self.told, &had(&store, &self.told).await?);
        take_over(&store, &compared, &self.told.orders, sources.clock.now()).await?;
        let revocations = compared.revocations.len() + compared.superseded.len();
        store.close().await;
        //= specs/house.md#house-backup
        //# A restored authority MUST NOT sign checkpoints under the key of the ledger before.
        // 3. The former key and its last checkpoint stand aside: the next start makes a new key.
        let beside = layout.ledger().with_extension("");
        for name in ["key", "checkpoint"] {
            let (from, to) = (beside.join(name), beside.join(format!("former-{name}")));
            fs::rename(&from, &to).map_err(AuthorityError::io(&from))?;
        }
        // 4. It opens, its keys are those of its certificates, and it says what it is.
        let made_at = self.manifest.made_at;
        let age = sources.clock.now().since(made_at);
        let authority = Authority::open(&self.stage.0, config, sources).await?;
        self.under_pinned(&authority)?;
        let root_sha256 = hex::encode(authority.authorities()?.root().fingerprint());
        let (former, key) = (self.former.to_string(), authority.ledger_key().to_string());
        let body = json!({
            "backup_made_at": made_at.to_rfc3339(), "entries": self.manifest.ledger_entries,
            "later_entries": self.later, "revocations": revocations, "orders": self.told.orders.len(),
            "unknown_certificates": compared.unknown, "findings": compared.findings.len(),
            "former_key": former, "key": key,
        });
        authority.core.record(Kind::Restored, body).await?;
        compared.findings.extend(carry_out(&authority).await?);
        authority.close().await;
        drop(authority);
        // 5. In place, as a whole.
        self.stage.becomes(&self.data).map_err(AuthorityError::io(&self.data))?;
        Ok(Restored {
            made_at,
            age,
            entries: self.manifest.ledger_entries,
            later: self.later,
            old_checkpoint: self.old_checkpoint,
            unknown: compared.unknown,
            revocations,
            orders: self.told.orders.len(),
            findings: compared.findings,
            root_sha256,
            former_ledger_key: former,
            ledger_key: key,
        })
    }

    /// Whether the roots that will be in use are those that the restorer brought: `roots.pem` only says so.
    fn under_pinned(&self, authority: &Authority) -> Result<(), AuthorityError> {
        let Some((file, pinned)) = &self.roots else { return Ok(()) };
        let used = authority.authorities()?.roots();
        match used.iter().all(|root| pinned.contains(root)) {
            true => Ok(()),
            false => Err(refused(file, "the backup is of an authority with another root")),
        }
    }
}

/// A torn last line is left out; one that only lacks its end gets it.
fn whole(mut lines: Vec<u8>) -> Vec<u8> {
    if !lines.is_empty() && !lines.ends_with(b"\n") {
        lines.push(b'\n');
    }
    lines
}

/// The manifest, believed after its signature, with every file as it says.
fn manifest(
    folder: &Path,
    files: &mut std::collections::BTreeMap<String, Held>,
    key: &VerifierKey,
) -> Result<Manifest, String> {
    let read = |name: &str| {
        fs::read(folder.join(name)).map_err(|error| format!("holds no {name}: {error}"))
    };
    let (text, note) = (read("manifest.json")?, read("manifest.note")?);
    let note = Note::parse(&note).map_err(|error| format!("its signature: {error}"))?;
    let vouched = note.signed_by(key).map_err(|error| format!("its signature: {error}"))?;
    if !vouched || note.text() != signed_text(&text) {
        return Err("its contents were not signed by the ledger's key in it".to_owned());
    }
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| format!("is of another version of this program: {error}"))?;
    for name in ["manifest.json", "manifest.note"] {
        files.remove(name);
        let _ = fs::remove_file(folder.join(name));
    }
    match manifest.files == *files {
        true => Ok(manifest),
        false => Err("the files in it are not those that it lists".to_owned()),
    }
}

impl Pinned {
    /// Refuses a backup of another authority; the roots that were brought, with their file.
    fn agree(
        &self,
        folder: &Path,
        key: &VerifierKey,
    ) -> Result<Option<(PathBuf, Vec<Certificate>)>, AuthorityError> {
        if let Some(path) = &self.ledger_key {
            let text = fs::read_to_string(path).map_err(AuthorityError::io(path))?;
            if text.trim() != key.to_string() {
                return Err(refused(path, "the backup is of an authority with another ledger key"));
            }
        }
        let Some(path) = &self.roots else { return Ok(None) };
        let roots = |path: &Path| -> Result<_, AuthorityError> {
            let pem = fs::read(path).map_err(AuthorityError::io(path))?;
            certificates_from_pem(&pem).map_err(|error| refused(path, error))
        };
        let (ours, theirs) = (roots(path)?, roots(&folder.join("roots.pem"))?);
        if theirs.is_empty() || !theirs.iter().all(|root| ours.contains(root)) {
            return Err(refused(path, "the backup is of an authority with another root"));
        }
        Ok(Some((path.clone(), ours)))
    }
}

fn refused(file: &Path, what: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Backup { file: file.to_owned(), detail: what.to_string() }
}

/// The folder while it is made; gone if it does not become one.
struct Stage(PathBuf);

impl Stage {
    fn beside(data: &Path) -> io::Result<Self> {
        let mut name = data.file_name().unwrap_or_default().to_owned();
        name.push(".restoring");
        let path = data.with_file_name(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // What a kill left there counts for nothing.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let stage = Self(path);
        file::private_folder(&stage.0)?;
        Ok(stage)
    }

    fn becomes(&self, data: &Path) -> io::Result<()> {
        fs::rename(&self.0, data)?;
        let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
