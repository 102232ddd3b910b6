//! `authority root`: a request for the root's use, made here, read and approved by custodians elsewhere; and what a ceremony's
//! transcript says to strangers.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_authority::ceremony::verify_transcript;
use countersign_authority::ledger::note::MAX_NOTE;
use countersign_authority::root::{MAX_APPROVAL, RootAccess, RootRequest, approve};
use countersign_authority::{AuthorityError, IssuingCa, Layout};
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_protocol::hex;

use super::custodian::UnlockArgs;
use super::ledger::quorum::read_key;
use super::open;
use crate::complete::Known;
use crate::console::say;
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Ask the custodians for a new issuing CA's certificate, the next root, or the withdrawal of old ones: the request is printed.
    #[command(
        after_help = "Example:\n  countersign authority root request --data ./data --ca ldevid --out request.txt\n\nCarry request.txt to the custodians, then:\n  countersign authority rotate --data ./data --ca ldevid --request request.txt \\\n      --approval alice.approval --approval bob.approval --root /media/usb/root.sealed\n\nThe same for old roots, once every CA has rolled:\n  countersign authority root request --data ./data --withdrawal --out request.txt\n  countersign authority rotate root --data ./data --step withdraw --request request.txt \\\n      --approval alice.approval --approval bob.approval --root /media/usb/root-2.sealed"
    )]
    Request {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// The issuing CA to roll: idevid, ldevid or service.
        #[arg(long, required_unless_present_any = ["next_root", "withdrawal"], add = Known::Ca)]
        ca: Option<IssuingCa>,
        /// The next root instead: its file where the plan keeps the root in one, `-` where it does not.
        #[arg(long, value_name = "FILE", conflicts_with = "ca")]
        next_root: Option<PathBuf>,
        /// The withdrawal of every root before the one that signs instead.
        #[arg(long, conflicts_with_all = ["ca", "next_root", "algorithm"])]
        withdrawal: bool,
        /// The new key's algorithm; left out: what the policy in force prefers of what lasts.
        #[arg(long, value_name = "NAME", add = Known::Algorithm)]
        algorithm: Option<String>,
        /// Where a copy of the request goes.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Read a request: what would be signed, until when, and, with the ledger's key, who asks.
    #[command(
        after_help = "Example:\n  countersign authority root show request.txt --ledger-key ledger.key"
    )]
    Show {
        /// The request.
        request: PathBuf,
        /// The ledger's public key: a file, or the key itself.
        #[arg(long = "ledger-key", alias = "key", value_name = "KEY")]
        key: Option<String>,
    },
    /// Approve a request by your own key, on your own machine: it is shown, and you are asked.
    #[command(
        after_help = "Example:\n  countersign authority root approve request.txt --key alice.key --ledger-key ledger.key --out alice.approval"
    )]
    Approve {
        /// The request.
        request: PathBuf,
        /// Your key file.
        #[arg(long)]
        key: PathBuf,
        /// The ledger's public key, to see that the authority asks: a file, or the key itself.
        #[arg(long, value_name = "KEY")]
        ledger_key: Option<String>,
        /// Where the approval goes.
        #[arg(long)]
        out: PathBuf,
        /// Do not ask: you have read the request, whose digest begins with this.
        #[arg(long, value_name = "DIGEST")]
        read: Option<String>,
        #[command(flatten)]
        unlock: UnlockArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TranscriptCommand {
    /// Verify a ceremony's transcript under the ledger's public key, and print it.
    #[command(
        after_help = "Example:\n  countersign authority transcript verify transcript.txt --ledger-key ledger.key\n\nIts digest stands in the ledger, in an entry of the kind `transcript`: `authority ledger prove` shows that."
    )]
    Verify {
        /// The transcript.
        file: PathBuf,
        /// The ledger's public key: a file, or the key itself.
        #[arg(long = "ledger-key", alias = "key", value_name = "KEY")]
        key: String,
    },
}

/// What somebody brings for the root's use.
#[derive(Debug, clap::Args)]
pub(crate) struct AccessArgs {
    /// The root's file, where the plan keeps the root in one that leaves the machine.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The file for the next root, when `rotate root` makes one and the plan keeps it in a file.
    #[arg(long, value_name = "FILE")]
    next_root: Option<PathBuf>,
    /// The request that the custodians approved.
    #[arg(long, value_name = "FILE", requires = "approval")]
    request: Option<PathBuf>,
    /// A custodian's approval of it; stands as often as the plan needs.
    #[arg(long, value_name = "FILE", requires = "request")]
    approval: Vec<PathBuf>,
}

impl AccessArgs {
    /// Reads the files.
    pub(crate) fn read(&self) -> Ended<RootAccess> {
        let request = self.request.as_deref().map(|path| bounded(path, MAX_NOTE)).transpose()?;
        let approvals =
            self.approval.iter().map(|path| bounded(path, MAX_APPROVAL)).collect::<Ended<_>>()?;
        let (file, next) = (self.root.clone(), self.next_root.clone());
        Ok(RootAccess { file, next, request, approvals })
    }
}

/// A file that is not larger than what it should hold.
fn bounded(path: &Path, most: usize) -> Ended<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).at(path)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).at(path)?;
    if bytes.len() > most {
        return Err(Failure::environment(format!(
            "{}: is longer than {most} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// That the root may not sign is something found; all else is the environment's.
pub(crate) fn refused(error: AuthorityError) -> Failure {
    match error {
        AuthorityError::NotApproved(reason) => Failure::found(reason.to_string()),
        other => other.into(),
    }
}

pub(crate) async fn run(command: RootCommand) -> Ended {
    match command {
        RootCommand::Request { data, ca, next_root, withdrawal, algorithm, out } => {
            let named = |name: String| {
                SignatureAlgorithm::from_name(&name).ok_or_else(|| {
                    let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name).join(" or ");
                    Failure::environment(format!("--algorithm {name}: use {names}"))
                })
            };
            let algorithm = algorithm.map(named).transpose()?;
            let authority = open(&data).await?;
            let (request, kept) = match ca {
                Some(ca) => authority.request_ca(ca, algorithm).await?,
                None if withdrawal => authority.request_withdrawal().await?,
                None => {
                    let next = next_root.filter(|path| path.as_os_str() != "-");
                    let access = RootAccess { next, ..RootAccess::default() };
                    authority.request_root(algorithm, &access).await?
                }
            };
            let file = match out {
                None => kept,
                Some(out) => {
                    file::write_atomic(&out, request.to_text().as_bytes(), file::PUBLIC)
                        .at(&out)?;
                    out
                }
            };
            waiting(&request, &file);
            Ok(())
        }
        RootCommand::Show { request, key } => show(&read(&request)?, &request, key.as_deref()),
        RootCommand::Approve { request: path, key, ledger_key, out, read: digest, unlock } => {
            let request = read(&path)?;
            show(&request, &path, ledger_key.as_deref())?;
            if !agreed(&request, digest.as_deref())? {
                return Err(Failure::found("not approved"));
            }
            let key = unlock.open(&key)?;
            let approval = approve(&request, &key, SystemClock.now())?;
            file::write_atomic(&out, &approval, file::PUBLIC).at(&out)?;
            say(&format!("{}: approved by {}", out.display(), key.name()));
            Ok(())
        }
    }
}

/// Tells that the custodians are to be asked.
pub(crate) fn waiting(request: &RootRequest, file: &Path) {
    say(request.to_string().trim_end());
    say(&format!("The custodians are asked. The request: {}", file.display()));
    say("Each approves it with `countersign authority root approve`; then run this again with");
    say("--request and one --approval for each of them.");
}

fn read(path: &Path) -> Ended<RootRequest> {
    RootRequest::parse(&bounded(path, MAX_NOTE)?).at(path)
}

fn digest(request: &RootRequest) -> String {
    hex::write(&request.digest())
}

fn show(request: &RootRequest, path: &Path, key: Option<&str>) -> Ended {
    say(request.to_string().trim_end());
    say(&format!("  digest         {}", digest(request)));
    match key {
        None => say(
            "  asked by       not looked at: give the ledger's public key to see that the authority asks",
        ),
        Some(key) => {
            let key = read_key(key)?;
            if !request.signed_by(&key).at(path)? {
                return Err(Failure::found(format!(
                    "{}: was not made by {}: do not approve it",
                    path.display(),
                    key.name()
                )));
            }
            say(&format!("  asked by       {}", key.name()));
        }
    }
    Ok(())
}

fn agreed(request: &RootRequest, read: Option<&str>) -> Ended<bool> {
    let digest = digest(request);
    if let Some(read) = read {
        let same = read.len() >= 8 && digest.starts_with(&read.to_ascii_lowercase());
        return match same {
            true => Ok(true),
            false => Err(Failure::found(format!(
                "--read {read}: is not how this request's digest begins (8 digits or more): read it again"
            ))),
        };
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::environment(
            "nobody is there to be asked: read the request, then say --read with the first digits of its digest",
        ));
    }
    say("Type yes to approve exactly this:");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

/// The transcript of the ceremony in a data folder.
pub(crate) fn print_transcript(data: &Path) -> Ended {
    let path = Layout::new(data).transcript();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::environment(format!(
            "{}: {error}: hold the ceremony, or run it again with its plan to have the file written",
            path.display()
        ))
    })?;
    say(text.trim_end());
    Ok(())
}

pub(crate) fn transcript(command: TranscriptCommand) -> Ended {
    let TranscriptCommand::Verify { file: path, key } = command;
    let (bytes, key) = (bounded(&path, MAX_NOTE)?, read_key(&key)?);
    let text = verify_transcript(&bytes, &key)
        .map_err(|error| Failure::found(format!("{}: {error}", path.display())))?;
    say(text.trim_end());
    let digest = hex::write(&sha256(&bytes));
    say(&format!("signed by {}; digest of the file, as the ledger has it: {digest}", key.name()));
    Ok(())
}
