//! `countersign authority backup-key`, `backup`, `restore`.

use std::path::{Path, PathBuf};

use countersign_authority::Sources;
use countersign_authority::backup::{Pinned, Restoring, recipient_of};
use countersign_crypto::envelope::RecipientKey;
use countersign_crypto::file;
use serde_json::json;

use super::open;
use crate::config::{FILE, ServeConfig};
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// The file to write; it must not be there.
    #[arg(long)]
    out: PathBuf,
    /// Whom it is sealed to: what `backup-key` printed, or a file that begins with it; may stand several times.
    #[arg(long = "to", required = true, value_name = "RECIPIENT")]
    to: Vec<String>,
    /// The configuration that goes in; left out: config.toml in the data folder, if there is one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// The new data folder; it must be empty or not there.
    #[arg(long)]
    data: PathBuf,
    /// The key of one of the backup's recipients.
    #[arg(long)]
    key: PathBuf,
    /// The old authority's ledger.log, or a newer export of it as JSON Lines: brings the revocations since.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// The manufacturer's root that the backup must be of, PEM: `device-roots.pem` where one was withdrawn since.
    #[arg(long)]
    roots: Option<PathBuf>,
    /// The public key of the ledger that the backup must be of, a file.
    #[arg(long, value_name = "FILE")]
    ledger_key: Option<PathBuf>,
    /// The configuration to take instead of the one in the backup: where the database or the token is another now.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Makes a recipient's key.
pub(super) fn make_key(out: &Path) -> Ended {
    let key = RecipientKey::generate()?;
    key.to_text().expose(|text| file::create_new(out, text, file::PRIVATE)).at(out)?;
    say(&key.recipient().to_string());
    Ok(())
}

pub(super) async fn backup(arguments: BackupArgs) -> Ended {
    let to = arguments.to.iter().map(|text| recipient_of(text)).collect::<Result<Vec<_>, _>>()?;
    let authority = open(&arguments.data).await?;
    let config = arguments.config.unwrap_or_else(|| arguments.data.join(FILE));
    let made = authority.backup(&arguments.out, &to, &config).await?;
    let manifest = &made.manifest;
    if arguments.json {
        print_json(&json!({
            "file": arguments.out, "bytes": made.bytes, "made_at": manifest.made_at.to_rfc3339(),
            "ledger_entries": manifest.ledger_entries, "rows": manifest.rows,
            "files": manifest.files.len(), "recipients": to.len(), "token": manifest.token,
        }));
        return Ok(());
    }
    say(&format!(
        "{}: {} bytes for {} recipient(s): {} rows, {} ledger entries, {} files",
        arguments.out.display(),
        made.bytes,
        to.len(),
        manifest.rows,
        manifest.ledger_entries,
        manifest.files.len(),
    ));
    if manifest.token {
        say("The keys are in the token and not in this file: back the token up by its own means.");
    }
    Ok(())
}

pub(super) async fn restore(arguments: RestoreArgs) -> Ended {
    let text = std::fs::read(&arguments.key).at(&arguments.key)?;
    let key = RecipientKey::from_text(&text).at(&arguments.key)?;
    let pinned = Pinned { roots: arguments.roots, ledger_key: arguments.ledger_key };
    let ledger = arguments.ledger.as_deref();
    let restoring = Restoring::open(&arguments.file, &key, &arguments.data, &pinned, ledger)?;
    if let Some(named) = &arguments.config {
        ServeConfig::read(Some(named), named)?;
        let text = std::fs::read(named).at(named)?;
        let into = restoring.folder().join(FILE);
        file::write_atomic(&into, &text, file::PRIVATE).at(&into)?;
    }
    let config = ServeConfig::read(None, restoring.folder())?;
    let restored = restoring.finish(config.authority, Sources::system()).await?;
    if arguments.json {
        let mut told = serde_json::to_value(&restored)?;
        told["age"] = json!(restored.age.as_secs());
        told["made_at"] = json!(restored.made_at.to_rfc3339());
        print_json(&told);
    } else {
        tell(&arguments.data, &restored, ledger.is_some());
    }
    match restored.findings.len() {
        0 => Ok(()),
        count => Err(Failure::found(format!(
            "{}: restored, and {count} thing(s) do not fit the ledger",
            arguments.data.display()
        ))),
    }
}

fn tell(data: &Path, restored: &countersign_authority::backup::Restored, with_ledger: bool) {
    let minutes = restored.age.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    say(&format!("{}: restored", data.display()));
    say(&format!(
        "  made {}, {days} days {hours} hours {minutes} minutes ago",
        restored.made_at.to_rfc3339()
    ));
    say(&format!("  root            {}", restored.root_sha256));
    say(&format!("  ledger          {} entries, verified under", restored.entries));
    say(&format!("                  {}", restored.former_ledger_key));
    say(
        "                  It goes on under a key of its own, so that nothing which the old one signed is",
    );
    say("                  signed in another way; give it to witnesses and auditors:");
    say(&format!("                  {}", restored.ledger_key));
    if with_ledger {
        say(&format!(
            "  since then      {} entries of the old ledger; {} revocation(s) and {} order(s) taken over; {} certificate(s) issued that are not known here",
            restored.later, restored.revocations, restored.orders, restored.unknown
        ));
        if restored.old_checkpoint.is_none() {
            say(
                "                  The old ledger had no checkpoint beside it: nothing tells whether its end was cut off",
            );
        }
    } else {
        say(
            "  since then      not known: what was revoked after the backup counts again. Revoke it anew, or restore",
        );
        say(
            "                  once more with --ledger and the old ledger.log or a newer export of it",
        );
    }
    for finding in &restored.findings {
        say(&format!("  finding         {finding}"));
    }
    say("  Make sure that the old authority never runs again.");
}
