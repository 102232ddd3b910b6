//! Making a backup, also while `serve` runs.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use countersign_crypto::envelope::{self, EnvelopeError, Recipient, Sealer};
use countersign_crypto::seal::SealKey;
use serde_json::json;

use super::archive::{self, Writer};
use super::{Manifest, PURPOSE, signed_text};
use crate::authorities::LEDGER_KEY;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::{Kind, checkpoint::SignedCheckpoint};

/// The sealing key's name in the data folder and in a backup.
const SEAL_KEY: &str = "seal.key";

/// A backup that is on the disk.
#[derive(Debug, Clone)]
pub struct BackupMade {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its length in octets.
    pub bytes: u64,
}

/// The recipient in a word, or in the first line of the file of that name.
///
/// # Errors
/// [`AuthorityError::Backup`].
pub fn recipient_of(text: &str) -> Result<Recipient, AuthorityError> {
    let named = |error: EnvelopeError| AuthorityError::Backup {
        file: text.into(),
        detail: error.to_string(),
    };
    match text.parse() {
        Ok(recipient) => Ok(recipient),
        Err(error) => match std::fs::read_to_string(text) {
            Ok(file) => file.lines().next().unwrap_or_default().parse().map_err(named),
            Err(_) => Err(named(error)),
        },
    }
}

/// One moment, in memory: small files, and how far the ledger goes.
struct Moment {
    /// What the keys among the files are sealed with.
    seal: Option<SealKey>,
    files: Vec<(String, Vec<u8>)>,
    checkpoint: SignedCheckpoint,
    picture: crate::store::Picture,
}

impl Authority {
    /// Writes a backup of one moment to a file that is not there yet, sealed to these recipients. `configuration` goes in as
    /// `config.toml`, if it is there. That it was made is in the ledger, and in the backup's.
    ///
    /// # Errors
    /// [`AuthorityError::Exists`], [`AuthorityError::Backup`], [`AuthorityError::Io`]; then there is no file.
    //= specs/house.md#house-ledger
    //# What leaves the authority MUST be in the ledger before it leaves.
    pub async fn backup(
        &self,
        to: &Path,
        recipients: &[Recipient],
        configuration: &Path,
    ) -> Result<BackupMade, AuthorityError> {
        if to.exists() {
            return Err(AuthorityError::Exists(to.to_owned()));
        }
        let names: Vec<_> = recipients.iter().map(ToString::to_string).collect();
        self.core.record(Kind::Exported, json!({"what": "backup", "recipients": names})).await?;
        let Moment { seal, files, checkpoint, picture } = self.moment(configuration).await?;
        let (schema, generation) = (picture.schema, picture.generation);
        let (lines, rows) = picture.lines().await?;
        let head = checkpoint.checkpoint().clone();
        let mut manifest = Manifest {
            made_at: self.core.now(),
            ledger_entries: head.size,
            ledger_root: head.root.to_string(),
            schema,
            generation,
            rows,
            token: self.core.config.token().is_some(),
            files: std::collections::BTreeMap::new(),
        };
        let (ledger, place, recipients) =
            (self.core.ledger.clone(), to.to_owned(), recipients.to_vec());
        let to = place.clone();
        let written = tokio::task::spawn_blocking(move || {
            let part = Part::beside(&to)?;
            let sealer = Sealer::new(part.file()?, &recipients, PURPOSE).map_err(io::Error::from);
            let mut writer = Writer::new(io::BufWriter::new(sealer?));
            // All other secrets are sealed under it, and none is stronger.
            if let Some(seal) = &seal {
                seal.reveal_through(envelope::CHANNEL, |key| writer.put(SEAL_KEY, key))?;
            }
            for (name, bytes) in &files {
                writer.put(name, bytes)?;
            }
            writer.put("database.jsonl", lines.as_bytes())?;
            writer.put("authority/ledger.log", &archive::head(ledger.path(), head.size)?)?;
            let key = format!("{}\n", ledger.verifier());
            writer.put("authority/ledger/key", key.as_bytes())?;
            let note = checkpoint.note().to_string();
            writer.put("authority/ledger/checkpoint", note.as_bytes())?;
            manifest.files.clone_from(&writer.files);
            let text = serde_json::to_vec_pretty(&manifest)?;
            writer.put("manifest.json", &text)?;
            let vouched = ledger.sign_note(signed_text(&text)).map_err(io::Error::other)?;
            writer.put("manifest.note", vouched.to_string().as_bytes())?;
            let sealer = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            let mut file = sealer.finish().map_err(io::Error::from)?;
            file.flush()?;
            file.sync_all()?;
            let bytes = file.metadata()?.len();
            part.becomes(&to)?;
            Ok(BackupMade { manifest, bytes })
        });
        let named =
            |error: io::Error| AuthorityError::Backup { file: place, detail: error.to_string() };
        written.await.map_err(|_| AuthorityError::Worker)?.map_err(named)
    }

    /// Database, ledger and keys of one moment: while nobody else can issue.
    async fn moment(&self, configuration: &Path) -> Result<Moment, AuthorityError> {
        let turn = self.core.store.exclusive().await?;
        let picture = self.core.store.picture().await?;
        let checkpoint = self.ledger_checkpoint().await?;
        let layout = self.core.layout.clone();
        let data = layout.authority();
        let data = data.parent().unwrap_or(Path::new("")).to_owned();
        let configuration = configuration.to_owned();
        let gathered = tokio::task::spawn_blocking(move || gather(&data, &configuration));
        let files = gathered.await.map_err(|_| AuthorityError::Worker)?;
        drop(turn);
        let files = files.map_err(AuthorityError::io(self.core.layout.authority()))?;
        let path = self.core.layout.seal_key();
        let seal = path.exists().then(|| SealKey::load(&path)).transpose()?;
        Ok(Moment { seal, files, checkpoint, picture })
    }
}

/// The small files: keys, certificates, policies, configuration.
fn gather(data: &Path, configuration: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = ["roots.pem", "device-roots.pem"].map(PathBuf::from).to_vec();
    for folder in ["authority", "policy", "gateway/policy"] {
        names.extend(archive::walk(data, &data.join(folder))?);
    }
    let mut files = Vec::new();
    for name in names.iter().filter_map(|name| name.to_str()).filter(|name| belongs(name)) {
        match std::fs::read(data.join(name)) {
            Ok(bytes) => files.push((name.to_owned(), bytes)),
            // Destroyed a moment ago, or never made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match std::fs::read(configuration) {
        Ok(bytes) => files.push(("config.toml".to_owned(), bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(files)
}

/// Whether a file of the data folder goes into a backup as it is. Requests for the root's use do not: the restored ledger has
/// another key, so nobody can go on with them there, and the keys to which custodians answer are to be gone once they are used.
//= specs/house.md#house-backup
//# The key that signs the ledger's checkpoints MUST NOT be in a backup.
fn belongs(name: &str) -> bool {
    let database = name.starts_with("authority/authority.db");
    let ledger = name == "authority/ledger.log" || name.starts_with("authority/ledger/");
    let its_key = name.starts_with("authority/ledger-key/")
        || name == format!("authority/keys/{LEDGER_KEY}.key");
    let passing = name.ends_with(".lock") || name.contains(".tmp");
    let request = name.starts_with("authority/root/")
        && (name.ends_with(".reply") || name.ends_with(".request"));
    !(database || ledger || its_key || passing || request)
}

/// The file while it is written; gone if it does not become whole.
struct Part(PathBuf);

impl Part {
    fn beside(to: &Path) -> io::Result<Self> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = to.with_file_name(name);
        // What a kill left there is of no use to anybody.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self(path)),
        }
    }

    fn file(&self) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let private = countersign_crypto::file::PRIVATE;
        File::options().write(true).create_new(true).mode(private).open(&self.0)
    }

    fn becomes(&self, to: &Path) -> io::Result<()> {
        // Never over a file that came there in the meantime.
        std::fs::hard_link(&self.0, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
