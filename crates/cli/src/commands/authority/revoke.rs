//! `countersign authority revoke`: what is hit is counted first, and many are not revoked by a slip of the hand.

use std::path::PathBuf;

use countersign_authority::Authority;
use countersign_authority::registration::Reason;
use countersign_authority::revocation::Target;
use countersign_authority::revocation::many::{Hit, Many};
use countersign_authority::status::{Form, SHARDS, Scope};
use countersign_crypto::file;
use serde_json::json;

use super::{SubjectArgs, open};
use crate::complete::Known;
use crate::console::{Progress, asked, json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

/// More certificates or subjects than this are revoked only when somebody says so twice: a subject with some renewals has
/// fewer.
const MANY: u64 = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// One certificate only, by its serial number in hexadecimal.
    #[arg(long, group = "target", conflicts_with = "name", value_name = "HEX")]
    serial: Option<String>,
    /// Every device of a batch.
    #[arg(long, group = "target", conflicts_with = "name")]
    batch: Option<String>,
    /// Everything that an issuing CA issued, and the CA with it: its label, as `authority rotate status` shows it.
    #[arg(long, group = "target", conflicts_with = "name", value_name = "LABEL", add = Known::CaLabel)]
    ca: Option<String>,
    /// Everything with this public key, which never comes back: SHA-256 of its SubjectPublicKeyInfo.
    #[arg(long, group = "target", conflicts_with = "name", value_name = "HEX")]
    key: Option<String>,
    /// Why: unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, suspended, privilege-withdrawn, or
    /// cessation-of-operation (for ever).
    #[arg(long, default_value = "unspecified", add = Known::Reason)]
    reason: Reason,
    /// Count whom it would hit, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without being asked, however many it hits.
    #[arg(long)]
    yes: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CrlArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// The folder for the lists; made if it is not there.
    #[arg(long)]
    out: PathBuf,
    /// Write the shards too: LABEL/N.crl.
    #[arg(long)]
    shards: bool,
    /// Write what came since the last base instead: LABEL-delta.crl.
    #[arg(long)]
    delta: bool,
}

/// One, or many.
enum Whom {
    One(Target),
    Many(Many),
}

impl RevokeArgs {
    fn whom(&self) -> Ended<Whom> {
        let many = |kind: &str, value: &str| {
            format!("{kind}:{value}")
                .parse::<Many>()
                .named(format_args!("--{kind}"))
                .map(Whom::Many)
        };
        match (&self.serial, &self.batch, &self.ca, &self.key) {
            (Some(serial), ..) => Ok(Whom::One(Target::Serial(serial.to_ascii_lowercase()))),
            (_, Some(batch), ..) => many("batch", batch),
            (_, _, Some(label), _) => many("issuer", label),
            (.., Some(key)) => many("key", key),
            _ if self.subject.name.is_none() => Err(Failure::environment(
                "nothing says whom to revoke: add --name plug-000001 (--profile says of which kind), --serial HEX, --batch NAME, --ca LABEL or --key HEX",
            )),
            _ => Ok(Whom::One(Target::Subject(self.subject.subject()?))),
        }
    }
}

impl Whom {
    async fn count(&self, authority: &Authority, reason: Reason) -> Ended<Hit> {
        Ok(match self {
            Self::One(target) => authority.count(target, reason).await?,
            Self::Many(target) => authority.count_many(target, reason).await?,
        })
    }
}

pub(super) async fn run(arguments: RevokeArgs) -> Ended {
    let whom = arguments.whom()?;
    let reason = arguments.reason;
    let authority = open(&arguments.subject.data).await?;
    let hit = whom.count(&authority, reason).await?;
    let words = format!("{} subject(s), {} certificate(s)", hit.subjects, hit.certificates);
    if arguments.dry_run {
        if arguments.json {
            print_json(&json!({"dry_run": true, "reason": reason, "hit": hit}));
        } else {
            say(&format!("would revoke ({reason}): {words}; nothing was changed"));
        }
        return Ok(());
    }
    // A typing error must not look like a batch that was taken back.
    if let (Whom::Many(target @ Many::Batch(_)), 0, 0) = (&whom, hit.subjects, hit.certificates) {
        return Err(Failure::found(format!(
            "{target}: nothing of it is left to revoke, or there is no such batch: see `authority batch list` and \
             `authority subjects`"
        )));
    }
    let many = hit.certificates.max(hit.subjects);
    if many > MANY && !arguments.yes {
        confirm(&words, many)?;
    }
    match whom {
        Whom::One(target) => {
            let revoked = authority.revoke(&target, reason).await?;
            let (count, state) = (revoked.serials.len(), revoked.state.as_str());
            if arguments.json {
                print_json(&json!({
                    "subject": revoked.subject.to_string(), "state": state, "reason": reason,
                    "serials": revoked.serials,
                }));
            } else {
                let subject = revoked.subject;
                say(&format!("{subject}: {count} certificate(s) revoked ({reason}); now {state}"));
            }
        }
        Whom::Many(target) => {
            let mut progress = Progress::new("revoked");
            let hit = authority
                .revoke_many(&target, reason, |done, total| progress.show(done, total))
                .await?;
            if arguments.json {
                let target = target.to_string();
                print_json(&json!({"target": target, "reason": reason, "hit": hit}));
            } else {
                say(&format!("{target}: revoked ({reason}): {words}"));
            }
        }
    }
    Ok(())
}

/// Somebody at a terminal types the number; a script says `--yes`.
fn confirm(words: &str, many: u64) -> Ended {
    let refused = |why: &str| {
        Failure::found(format!("{words} would be revoked, for good: {why}; nothing was changed"))
    };
    let question = format!("{words} will be revoked, for good. Type {many} to do it: ");
    match asked(&question)? {
        None => Err(refused("say --yes if that is meant, or --dry-run to look")),
        Some(typed) if typed == many.to_string() => Ok(()),
        Some(_) => Err(refused("not confirmed")),
    }
}

pub(super) async fn crl(arguments: CrlArgs) -> Ended {
    let authority = open(&arguments.data).await?;
    let form = if arguments.delta { Form::Delta } else { Form::Complete };
    for issuer in authority.list_issuers().await? {
        let shards = if arguments.shards { SHARDS } else { 0 };
        for shard in std::iter::once(None).chain((0..shards).map(Some)) {
            let scope = Scope { issuer: issuer.clone(), shard, form };
            let crl = authority.crl(&scope).await?;
            let path = arguments.out.join(scope.path());
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).at(folder)?;
            }
            file::write_atomic(&path, crl.der(), file::PUBLIC).at(&path)?;
            let pem = path.with_extension("crl.pem");
            file::write_atomic(&pem, crl.pem().as_bytes(), file::PUBLIC).at(&pem)?;
            if shard.is_none() {
                say(&format!("{}", pem.display()));
            }
        }
    }
    Ok(())
}
