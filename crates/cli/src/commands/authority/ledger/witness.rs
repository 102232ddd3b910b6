//! The witness: its key in a file, the last checkpoints that it saw in another.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_authority::ledger::note::{SignatureType, VerifierKey};
use countersign_authority::ledger::witness::{Growth, MAX_REQUEST, Seen};
use countersign_crypto::file;
use countersign_crypto::note_key::{NoteKey, SEED_LEN};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::tls::{Clock as _, SystemClock};

use super::quorum::read_key;
use super::{source, written};
use crate::console::say;
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct WitnessArgs {
    /// The witness's private key, as `witness-key` writes it.
    #[arg(long)]
    key: PathBuf,
    /// The ledger's public key: a file, or the key itself.
    #[arg(long, alias = "log-key", value_name = "KEY")]
    ledger_key: String,
    /// What this witness saw last, kept from one time to the next.
    #[arg(long)]
    state: PathBuf,
    /// The checkpoint, alone or behind its consistency proof.
    #[arg(long)]
    checkpoint: PathBuf,
    /// Where the cosigned checkpoint goes; left out: standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What stands before a private key in its file: the form of golang.org/x/mod/sumdb/note.
const PRIVATE: &str = "PRIVATE+KEY+";
/// The type byte of a cosigning key.
const COSIGNS: u8 = 0x04;

pub(super) fn run(arguments: &WitnessArgs) -> Ended {
    let (witness, with) = private_key(&arguments.key)?;
    let log = read_key(&arguments.ledger_key)?;
    let offered = source::bounded(&arguments.checkpoint, MAX_REQUEST)?;
    // 1. One at a time: what was seen is read, judged and replaced in one turn.
    let lock = arguments.state.with_extension("lock");
    let lock = File::create(&lock).at(&lock)?;
    lock.lock().at(&arguments.state)?;
    let mut seen = read_state(&arguments.state)?;
    let last = seen.last(&log).at(&arguments.state)?;
    // 2. Does it continue what was seen?
    let at = &arguments.checkpoint;
    let not = |error: &dyn std::fmt::Display| Failure::found(format!("{}: {error}", at.display()));
    let growth = Growth::parse(&offered).map_err(|error| not(&error))?;
    let grown = growth.verify(last.as_ref(), &log).map_err(|error| not(&error))?;
    // 3. On the disk before anybody gets it.
    seen.remember(&grown);
    let text = serde_json::to_vec_pretty(&seen)?;
    file::write_keeping_previous(&arguments.state, &text, file::PRIVATE).at(&arguments.state)?;
    let cosigned = grown.cosign(&witness, &with, SystemClock.now().as_secs())?;
    written(arguments.out.as_deref(), &cosigned.note().to_string())
}

fn read_state(path: &Path) -> Ended<Seen> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).named(format_args!(
            "{}: restore it from {0}.prev; without it a rewritten history would be cosigned",
            path.display()
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Seen::default()),
        Err(error) => Err(error).at(path),
    }
}

pub(super) fn make_key(name: &str, out: &Path) -> Ended {
    let seed = NoteKey::fresh_seed(&mut SystemRandom);
    let with = NoteKey::from_seed(&seed)?;
    let key = VerifierKey::new(name, SignatureType::Cosignature, &with).named("--name")?;
    let line = seed.expose(|seed| {
        let seed = STANDARD.encode([&[COSIGNS], seed].concat());
        format!("{PRIVATE}{name}+{:08x}+{seed}\n", key.id())
    });
    let line = Secret::new(line.into_bytes(), Strength(128));
    line.expose(|line| file::create_new(out, line, file::PRIVATE)).at(out)?;
    let public = out.with_extension("pub");
    file::write_atomic(&public, format!("{key}\n").as_bytes(), file::PUBLIC).at(&public)?;
    say(&format!("{}  the private key", out.display()));
    say(&format!("{}  the public key: {key}", public.display()));
    Ok(())
}

fn private_key(path: &Path) -> Ended<(VerifierKey, NoteKey)> {
    let line = Secret::new(source::bounded(path, 4096)?, Strength(128));
    line.expose(|line| {
        let line = std::str::from_utf8(line).ok()?.trim_end().strip_prefix(PRIVATE)?;
        let mut parts = line.splitn(3, '+');
        let (name, id, seed) = (parts.next()?, parts.next()?, parts.next()?);
        let mut bytes = STANDARD.decode(seed).ok()?;
        if bytes.len() != 1 + SEED_LEN || bytes.remove(0) != COSIGNS {
            return None;
        }
        let with = NoteKey::from_seed(&Secret::new(bytes, Strength(128))).ok()?;
        let key = VerifierKey::new(name, SignatureType::Cosignature, &with).ok()?;
        (id == format!("{:08x}", key.id())).then_some((key, with))
    })
    .ok_or_else(|| {
        Failure::environment(format!(
            "{}: is no private key of a witness: `countersign authority ledger witness-key` makes one",
            path.display()
        ))
    })
}
