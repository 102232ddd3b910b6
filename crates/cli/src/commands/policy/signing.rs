//! `policy sign` and `policy publish`: the policy key's part, on the authority's data folder, also while `serve` runs.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_authority::{Authority, AuthorityError, PolicyOutcome, SignedPolicy};
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::policy::Policy;
use countersign_protocol::hex;
use serde_json::json;

use crate::commands::authority::open;
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

/// How long `publish` waits for what `serve` makes of a policy: a handshake, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// A policy's TOML, with the maker of the ceremony and a version above every one signed before.
    #[arg(add = Known::POLICY)]
    file: PathBuf,
    /// The authority's data folder, which holds the policy key.
    #[arg(long)]
    data: PathBuf,
    /// Where the signed policy goes; left out: FILE with the ending .cose.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// A signed policy, or a policy's TOML, which is signed first.
    #[arg(add = Known::POLICY)]
    file: PathBuf,
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn sign(arguments: SignArgs) -> Ended {
    let text = std::fs::read_to_string(&arguments.file).at(&arguments.file)?;
    let policy = Policy::from_toml(&text).at(&arguments.file)?;
    let authority = open(&arguments.data).await?;
    let signed = authority.sign_policy(&policy).await.map_err(refused(&arguments.file))?;
    let out = arguments.out.unwrap_or_else(|| arguments.file.with_extension("cose"));
    file::write_atomic(&out, &signed.document, file::PUBLIC).at(&out)?;
    if arguments.json {
        print_json(
            &json!({ "version": signed.version, "digest": signed.digest.to_string(), "document": out }),
        );
    } else {
        say(&format!(
            "{}: version {}, signed; digest {}",
            out.display(),
            signed.version,
            signed.digest
        ));
    }
    Ok(())
}

pub(crate) async fn publish(arguments: PublishArgs) -> Ended {
    let path = &arguments.file;
    let bytes = std::fs::read(path).at(path)?;
    let authority = open(&arguments.data).await?;
    // A text is signed first; whatever is no text is taken for a signed policy, and judged as one.
    let document = match std::str::from_utf8(&bytes) {
        Ok(text) => {
            let policy = Policy::from_toml(text).at(path)?;
            authority.sign_policy(&policy).await.map_err(refused(path))?.document
        }
        Err(_) => bytes,
    };
    let earlier = outcome(&authority);
    let published = authority.publish_policy(&document).await.map_err(refused(path))?;
    let running = serves(&arguments.data)?;
    let outcome = if running { heard(&authority, &document, earlier).await? } else { None };
    report(&published, outcome, running, arguments.json)
}

fn report(
    published: &SignedPolicy,
    outcome: Option<PolicyOutcome>,
    running: bool,
    as_json: bool,
) -> Ended {
    let version = published.version;
    if as_json {
        print_json(&json!({
            "version": version, "digest": published.digest.to_string(), "serving": running, "outcome": outcome,
        }));
    }
    let text = match &outcome {
        Some(outcome) if outcome.activated() => {
            format!("version {version} is in force; devices follow by themselves")
        }
        Some(outcome) => {
            let text = format!("version {version}: {}: {}", outcome.word, outcome.text);
            return Err(Failure::found(if as_json { String::new() } else { text }));
        }
        None => format!(
            "version {version} is published; `countersign serve` takes it up at its next start"
        ),
    };
    if !as_json {
        say(&text);
    }
    Ok(())
}

/// Whether `serve` runs on the folder.
pub(crate) fn serves(data: &Path) -> Ended<bool> {
    let path = data.join("serve.lock");
    let Ok(lock) = File::options().write(true).open(&path) else { return Ok(false) };
    match lock.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).at(&path),
    }
}

/// What became of the last policy that was published.
pub(crate) fn outcome(authority: &Authority) -> Option<PolicyOutcome> {
    serde_json::from_slice(&std::fs::read(authority.layout().policy_outcome()).ok()?).ok()
}

/// Waits for what `serve` says of this document.
pub(crate) async fn heard(
    authority: &Authority,
    document: &[u8],
    earlier: Option<PolicyOutcome>,
) -> Ended<Option<PolicyOutcome>> {
    let digest = hex::write(&sha256(document));
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let now = outcome(authority).filter(|now| now.document_sha256 == digest);
        if now.is_some() && now != earlier {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::environment(format!(
        "`serve` has not said within {} s what became of the policy; it is published, and the log of `serve` knows",
        PATIENCE.as_secs()
    )))
}

/// A refusal is something found; all else is the environment's.
fn refused(path: &Path) -> impl FnOnce(AuthorityError) -> Failure + '_ {
    move |error| match error {
        AuthorityError::Policy(reason) => Failure::found(format!("{}: {reason}", path.display())),
        other => other.into(),
    }
}
