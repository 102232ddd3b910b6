//! `countersign authority ledger`: what a stranger verifies with nothing but files, and what the authority hands out.

pub(super) mod quorum;
mod source;
mod witness;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_authority::ExportForm;
use countersign_authority::ledger::checkpoint::SignedCheckpoint;
use countersign_authority::ledger::merkle::Hash;
use countersign_authority::ledger::offline::read_checkpoint;
use countersign_authority::ledger::receipt::{MAX_RECEIPT, Receipt};
use countersign_authority::ledger::witness::{Growth, MAX_REQUEST};
use serde_json::{Value, json};

use self::quorum::{QuorumArgs, keys, read_key};
use self::source::{Source, SourceArgs};
use super::open;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Verify every entry, offline: of a data folder, of exported JSON Lines or of tiles; exit code 1 names what is wrong.
    #[command(
        after_help = "Examples:\n  countersign authority ledger verify --data ./data\n  countersign authority ledger verify --jsonl ledger.jsonl --checkpoint checkpoint --ledger-key ledger.key\n  countersign authority ledger verify --tiles ./tiles --ledger-key ledger.key --older last-year.checkpoint \\\n      --witness w1.pub --witness w2.pub --quorum 2"
    )]
    Verify {
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        quorum: QuorumArgs,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Prove that an entry is in the ledger, or that a newer checkpoint continues an older one.
    #[command(
        after_help = "Examples:\n  countersign authority ledger prove --data ./data --entry 12 --out entry-12.tlog-proof\n  countersign authority ledger prove --tiles ./tiles --ledger-key ledger.key --entry 12\n  countersign authority ledger prove --data ./data --consistency 120 --out growth\n  countersign authority ledger prove --data ./data --consistency old.checkpoint new.checkpoint"
    )]
    Prove {
        #[command(flatten)]
        source: SourceArgs,
        /// The entry's number, from 0.
        #[arg(long, required_unless_present = "consistency")]
        entry: Option<u64>,
        /// The older and the newer checkpoint; the older may be a size, the newer is the newest when left out.
        #[arg(long, num_args = 1..=2, value_names = ["OLD", "NEW"], conflicts_with = "entry")]
        consistency: Vec<String>,
        /// Where the proof goes; left out: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Verify a proof without the ledger; exit code 1 says why it proves nothing.
    #[command(
        after_help = "Examples:\n  countersign authority ledger check-proof entry-12.tlog-proof --checkpoint checkpoint --ledger-key ledger.key\n  countersign authority ledger check-proof growth --checkpoint old.checkpoint --ledger-key ledger.key"
    )]
    CheckProof {
        /// The proof: of an entry, or of consistency.
        proof: PathBuf,
        /// The checkpoint that you hold; left out, the one in the proof counts.
        #[arg(long)]
        checkpoint: Option<PathBuf>,
        /// The ledger's public key: a file, or the key itself.
        #[arg(long = "ledger-key", alias = "key", value_name = "KEY")]
        key: String,
        #[command(flatten)]
        quorum: QuorumArgs,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the newest checkpoint, signed; or take over the cosignatures of witnesses.
    #[command(
        after_help = "Examples:\n  countersign authority ledger checkpoint --data ./data --out checkpoint\n  countersign authority ledger checkpoint --data ./data --add-cosignature cosigned --witness w1.pub\n  countersign authority ledger checkpoint --data ./data --cosigned"
    )]
    Checkpoint {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// A checkpoint that witnesses cosigned.
        #[arg(long, requires = "witnesses")]
        add_cosignature: Option<PathBuf>,
        /// Whose cosignatures are taken: a public key, as a file or itself; may stand several times.
        #[arg(long = "witness", value_name = "KEY")]
        witnesses: Vec<String>,
        /// The last checkpoint that was cosigned, instead of the newest.
        #[arg(long, conflicts_with = "add_cosignature")]
        cosigned: bool,
        /// Where the checkpoint goes; left out: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Cosign a checkpoint as a witness, if it continues the last one that you saw.
    #[command(
        after_help = "Examples:\n  countersign authority ledger witness --key w1.key --ledger-key ledger.key --state w1.state \\\n      --checkpoint growth --out cosigned\n\nThe first time a checkpoint alone is enough; later the proof of `ledger prove --consistency` comes with it."
    )]
    Witness(witness::WitnessArgs),
    /// Make a witness's key.
    #[command(
        after_help = "Example:\n  countersign authority ledger witness-key --name witness.example/w1 --out w1.key"
    )]
    WitnessKey {
        /// The witness's name: an address without scheme, no spaces.
        #[arg(long)]
        name: String,
        /// Where the private key goes; the public one goes beside it, with the ending `pub`.
        #[arg(long)]
        out: PathBuf,
    },
    /// Write the ledger for others, as JSON Lines or as tiles; that this was done is its last entry.
    #[command(
        after_help = "Examples:\n  countersign authority ledger export --data ./data --jsonl ledger.jsonl\n  countersign authority ledger export --data ./data --tiles ./tiles"
    )]
    Export {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// A file of JSON Lines; its checkpoint goes beside it, with the ending `checkpoint`, the key with `key`.
        #[arg(long, required_unless_present = "tiles")]
        jsonl: Option<PathBuf>,
        /// A folder of tiles with checkpoint and key in it (C2SP tlog-tiles).
        #[arg(long, conflicts_with = "jsonl")]
        tiles: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print every entry as JSON Lines.
    #[command(after_help = "Example:\n  countersign authority ledger show --data ./data")]
    Show {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
    },
}

pub(crate) async fn run(command: LedgerCommand) -> Ended {
    match command {
        LedgerCommand::Verify { source, quorum, json } => verify(&source, &quorum)
            .map(|found| told(&found, json))
            .or_else(|bad| refused(bad, json)),
        LedgerCommand::Prove { source, entry, consistency, out } => {
            let source = source.resolve()?;
            let proof = match entry {
                Some(entry) => prove_entry(&source, entry)?,
                None => prove_growth(&source, &consistency)?,
            };
            written(out.as_deref(), &proof)
        }
        LedgerCommand::CheckProof { proof, checkpoint, key, quorum, json } => {
            check_proof(&proof, checkpoint.as_deref(), &key, &quorum)
                .map(|found| told(&found, json))
                .or_else(|bad| refused(bad, json))
        }
        LedgerCommand::Checkpoint { data, add_cosignature, witnesses, cosigned, out, json } => {
            checkpoint(&data, add_cosignature, &witnesses, cosigned, out, json).await
        }
        LedgerCommand::Witness(arguments) => witness::run(&arguments),
        LedgerCommand::WitnessKey { name, out } => witness::make_key(&name, &out),
        LedgerCommand::Export { data, jsonl, tiles, json } => {
            export(&data, jsonl.as_deref(), tiles.as_deref(), json).await
        }
        LedgerCommand::Show { data } => {
            for entry in open(&data).await?.ledger_entries().await? {
                say(&serde_json::to_string(&entry)?);
            }
            Ok(())
        }
    }
}

/// What a check found, for people and for machines.
struct Found {
    text: String,
    json: Value,
}

fn told(found: &Found, as_json: bool) {
    if as_json { print_json(&found.json) } else { say(&found.text) }
}

fn refused(failure: Failure, as_json: bool) -> Ended {
    if !as_json || failure.code != crate::failure::FOUND {
        return Err(failure);
    }
    print_json(&json!({ "ok": false, "error": failure.text }));
    Err(Failure::found(""))
}

fn verify(source: &SourceArgs, quorum: &QuorumArgs) -> Ended<Found> {
    let source = source.resolve()?;
    let read = source.read()?;
    let cosigned = source.cosigned();
    let witnesses = quorum.check(cosigned)?;
    let entries = read.audited.frontier.size();
    let (head, root) =
        (Hash(read.audited.chain).to_string(), read.audited.frontier.root().to_string());
    let mut text = format!("{entries} entries hold; root {root}");
    match source.key() {
        Some(key) => {
            text += &format!(
                "\nthe first {} are vouched for by a checkpoint of {}",
                read.audited.agreed,
                key.name()
            )
        }
        None => {
            text += "\nno checkpoint vouches for them: this folder is from before there were any"
        }
    }
    for one in witnesses.as_array().into_iter().flatten() {
        let size = cosigned.map_or(0, |signed| signed.checkpoint().size);
        text += &format!(
            "\nthe first {size} are cosigned by {}",
            one["witness"].as_str().unwrap_or("?")
        );
    }
    if read.torn > 0 {
        text += &format!(
            "\n{} bytes behind them were torn by a kill; the next start sets them aside",
            read.torn
        );
    }
    let json = json!({
        "ok": true, "entries": entries, "head": head, "root": root,
        "checkpoint_entries": read.audited.agreed, "key": source.key().map(ToString::to_string),
        "cosigned_entries": cosigned.map(|signed| signed.checkpoint().size), "witnesses": witnesses,
        "torn_bytes": read.torn,
    });
    Ok(Found { text, json })
}

fn prove_entry(source: &Source, entry: u64) -> Ended<String> {
    let read = source.read()?;
    let signed = source.newest()?;
    let receipt = Receipt::make(&read.leaves, entry, signed).named("--entry")?;
    Ok(receipt.to_string())
}

fn prove_growth(source: &Source, between: &[String]) -> Ended<String> {
    let (old, new) = (between.first().map_or("", String::as_str), between.get(1));
    let key = source.needed_key()?;
    let mut marks = Vec::new();
    let old = match old.parse() {
        Ok(size) => size,
        Err(_) => {
            let signed = read_checkpoint(Path::new(old), key)?;
            marks.push(signed.checkpoint().clone());
            signed.checkpoint().size
        }
    };
    let new = match new {
        Some(path) => read_checkpoint(Path::new(path), key)?,
        None => source.newest()?.clone(),
    };
    marks.push(new.checkpoint().clone());
    let read = source.read_against(marks)?;
    let growth = Growth::make(&read.hashes(), old, &new).named("--consistency")?;
    Ok(growth.to_string())
}

fn check_proof(path: &Path, held: Option<&Path>, key: &str, quorum: &QuorumArgs) -> Ended<Found> {
    let key = read_key(key)?;
    let held = held.map(|path| source::checkpoint(path, &key)).transpose()?;
    let bytes = source::bounded(path, MAX_RECEIPT.max(MAX_REQUEST))?;
    let not =
        |error: &dyn std::fmt::Display| Failure::found(format!("{}: {error}", path.display()));
    if bytes.starts_with(b"old ") {
        let growth = Growth::parse(&bytes).map_err(|error| not(&error))?;
        let before = held.as_ref().map(SignedCheckpoint::checkpoint).ok_or_else(|| {
            Failure::environment(
                "--checkpoint: the proof leads on from an older checkpoint, which is missing: add --checkpoint FILE, the one that you hold",
            )
        })?;
        let grown = growth.verify(Some(before), &key).map_err(|error| not(&error))?;
        let witnesses = quorum.check(Some(grown.checkpoint()))?;
        let size = grown.checkpoint().checkpoint().size;
        let text = format!(
            "the ledger of {size} entries continues the one of {} that you hold",
            before.size
        );
        let json = json!({"ok": true, "old_entries": before.size, "entries": size, "witnesses": witnesses});
        return Ok(Found { text, json });
    }
    let receipt = Receipt::parse(&bytes)
        .map_err(|_| not(&"is no proof (c2sp.org/tlog-proof@v1, or `old N` with a checkpoint)"))?;
    let proven = receipt.verify(held.as_ref(), &key).map_err(|error| not(&error))?;
    let witnesses = quorum.check(Some(proven.checkpoint()))?;
    let size = proven.checkpoint().checkpoint().size;
    let entry = serde_json::to_value(proven.entry())?;
    let text = format!("entry {} is in the ledger of {size} entries:\n{entry}", receipt.index);
    let json = json!({"ok": true, "entry": entry, "entries": size, "witnesses": witnesses});
    Ok(Found { text, json })
}

async fn checkpoint(
    data: &Path,
    add: Option<PathBuf>,
    witnesses: &[String],
    cosigned: bool,
    out: Option<PathBuf>,
    as_json: bool,
) -> Ended {
    let authority = open(data).await?;
    let signed = if let Some(path) = add {
        let offered = source::checkpoint(&path, &authority.ledger_key())?;
        let taken = authority.add_cosignatures(offered, keys(witnesses)?).await;
        taken.map_err(|error| Failure::found(error.to_string()))?;
        authority.ledger_cosigned().await?
    } else if cosigned {
        authority.ledger_cosigned().await?
    } else {
        Some(authority.ledger_checkpoint().await?)
    };
    let signed = signed.ok_or_else(|| {
        Failure::found("no checkpoint was cosigned yet: see `ledger witness` and `ledger checkpoint --add-cosignature`")
    })?;
    if as_json {
        let head = signed.checkpoint();
        print_json(&json!({
            "origin": head.origin, "entries": head.size, "root": head.root.to_string(),
            "key": authority.ledger_key().to_string(), "checkpoint": signed.note().to_string(),
        }));
        return Ok(());
    }
    written(out.as_deref(), &signed.note().to_string())
}

async fn export(data: &Path, jsonl: Option<&Path>, tiles: Option<&Path>, as_json: bool) -> Ended {
    let authority = open(data).await?;
    let (form, to) = match (jsonl, tiles) {
        (_, Some(folder)) => (ExportForm::Tiles, folder),
        (Some(file), None) => (ExportForm::JsonLines, file),
        (None, None) => return Err(Failure::environment("--jsonl FILE, or --tiles FOLDER")),
    };
    let signed = authority.export_ledger(form, to).await?;
    let mut files = vec![to.to_owned()];
    if form == ExportForm::JsonLines {
        let key = format!("{}\n", authority.ledger_key());
        for (ending, text) in [("checkpoint", signed.note().to_string()), ("key", key)] {
            let path = to.with_extension(ending);
            countersign_crypto::file::write_atomic(&path, text.as_bytes(), 0o644).at(&path)?;
            files.push(path);
        }
    }
    let size = signed.checkpoint().size;
    if as_json {
        print_json(&json!({
            "entries": size, "root": signed.checkpoint().root.to_string(), "files": files,
            "key": authority.ledger_key().to_string(),
        }));
    } else {
        files.iter().for_each(|file| say(&file.display().to_string()));
        say(&format!("{size} entries; others verify them with the key {}", authority.ledger_key()));
    }
    Ok(())
}

/// To a file, or to standard output.
fn written(out: Option<&Path>, text: &str) -> Ended {
    match out {
        Some(path) => countersign_crypto::file::write_atomic(path, text.as_bytes(), 0o644).at(path),
        None => {
            say(text.strip_suffix('\n').unwrap_or(text));
            Ok(())
        }
    }
}
