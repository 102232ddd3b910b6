//! `countersign authority`: key management on a data folder, also while `serve` runs on it.

mod alarms;
mod backup;
mod code;
mod custodian;
mod evidence;
mod expiry;
mod factory;
mod ledger;
mod revoke;
pub(crate) mod root;
mod station;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use countersign_authority::admin::{Role, openapi};
use countersign_authority::ceremony::{CeremonyOutcome, CeremonyPlan, default_plan};
use countersign_authority::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use countersign_authority::root::RootAccess;
use countersign_authority::subject::{Purpose, Subject};
use countersign_authority::{Authority, Sources};
use countersign_device::data::{Blank, PolicyAuthority};
use countersign_model::grant::Grant;
use countersign_model::id::{OperatorName, ThingId};
use countersign_model::label::Label;
use serde_json::json;

use crate::complete::Known;
use crate::config::ServeConfig;
use crate::console::{Progress, json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// Make root, issuing CAs and policy key from a reviewed plan; run again after a crash, it carries on.
    #[command(
        after_help = "Examples:\n  countersign authority ceremony --write-plan plan.toml\n  countersign authority ceremony --data ./data --plan plan.toml\n  countersign authority ceremony --data ./data --plan plan.toml --root /media/usb/root.sealed\n  countersign authority ceremony --data ./data --plan plan.toml --root /media/usb/root.sealed \\\n      --request request.txt --approval alice.approval --approval bob.approval\n  countersign authority ceremony --data ./data --transcript"
    )]
    Ceremony {
        /// The authority's data folder.
        #[arg(long, required_unless_present = "write_plan")]
        data: Option<PathBuf>,
        /// The plan, TOML; left out: the example's.
        #[arg(long)]
        plan: Option<PathBuf>,
        /// Write the commented example plan to this file and do nothing else.
        #[arg(long, conflicts_with_all = ["data", "plan"])]
        write_plan: Option<PathBuf>,
        #[command(flatten)]
        access: root::AccessArgs,
        /// Print the signed transcript of the ceremony that was held, and do nothing else.
        #[arg(long, conflicts_with_all = ["plan", "write_plan"])]
        transcript: bool,
    },
    /// A custodian's own key, made on their own machine.
    #[command(subcommand)]
    Custodian(custodian::CustodianCommand),
    /// The root's use by its custodians: request, show, approve.
    #[command(subcommand)]
    Root(root::RootCommand),
    /// The transcript of a ceremony, for strangers.
    #[command(subcommand)]
    Transcript(root::TranscriptCommand),
    /// Keys and certificates as files, so that any ordinary client can connect.
    #[command(
        after_help = "Examples:\n  countersign authority enrol --data ./data --profile device --name plug-000001 --out ./certs\n  countersign authority enrol --data ./data --profile service --name backend --out ./certs \\\n      --grant 'subscribe things/+/properties/#' --grant 'publish things/+/actions/+'\n  countersign authority enrol --data ./data --profile device --prefix plug- --count 100 --out ./certs\n  countersign authority enrol --data ./data --profile operator --name anna --role auditor --out ./anna"
    )]
    Enrol(EnrolArgs),
    /// A code by which somebody without an identity enrols once over EST: user name and password of HTTP Basic.
    #[command(
        after_help = "Example:\n  countersign authority code --data ./data --name plug-000001 --profile device --for 15m\n  curl --cacert ./data/roots.pem -u plug-000001:CODE --data-binary @request.b64 \\\n      -H 'Content-Type: application/pkcs10' https://localhost:8443/.well-known/est/simpleenroll"
    )]
    Code(code::CodeArgs),
    /// Take back what a subject, a batch, an issuing CA or a key holds: sessions end within a second, the next handshake fails.
    #[command(
        after_help = "Examples:\n  countersign authority revoke --data ./data --name plug-000001 --reason key-compromise\n  countersign authority revoke --data ./data --batch 2026-11-A --dry-run\n  countersign authority revoke --data ./data --ca ldevid-ca --reason ca-compromise --yes\n  countersign authority revoke --data ./data --key 5f1c…  (hash of the SubjectPublicKeyInfo)\n\nWhom: one of --name, --serial, --batch, --ca and --key. What is revoked stays revoked; `reinstate` lets a subject enrol anew."
    )]
    Revoke(revoke::RevokeArgs),
    /// Write the revocation lists as files, for verifiers without a gateway: LABEL.crl (DER) and LABEL.crl.pem.
    #[command(
        after_help = "Example:\n  countersign authority crl --data ./data --out ./crl\n  openssl verify -crl_check -CAfile ./data/roots.pem -CRLfile ./crl/ldevid-ca.crl.pem -untrusted plug.crt plug.crt"
    )]
    Crl(revoke::CrlArgs),
    /// What must not happen and did: keys that others have or know, clones, serial numbers that came twice, orders that fail.
    ///
    /// A clone is one identity in two places: a certificate that was replaced came back to enrol, or a gateway had answers of
    /// both, and then the evidence is the two addresses. Past 32 about one subject, further ones are counted as "others".
    #[command(after_help = "Example:\n  countersign authority alarms --data ./data --json")]
    Alarms {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Let a revoked subject enrol again; what was revoked stays revoked.
    #[command(
        after_help = "Example:\n  countersign authority reinstate --data ./data --name plug-000001"
    )]
    Reinstate {
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Who is registered, and in which state.
    #[command(after_help = "Example:\n  countersign authority subjects --data ./data --json")]
    Subjects {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Factory identities: of one device with its label, or of a batch; run again, a batch is carried on.
    #[command(
        after_help = "Examples:\n  countersign authority provision --data ./data --serial plug-000001 --out ./factory\n  countersign authority provision --example > batch.toml\n  countersign authority provision --data ./data --batch batch.toml --dry-run\n  countersign authority provision --data ./data --batch batch.toml\n\nExit codes: 0 all is made, or waits for its device; 1 something was refused, and is listed; 2 usage or environment."
    )]
    Provision(factory::ProvisionArgs),
    /// Stations of the factory and their quotas.
    #[command(subcommand)]
    Station(station::StationCommand),
    /// Batches of factory identities: what became of them.
    #[command(subcommand)]
    Batch(factory::BatchCommand),
    /// Take a station's manifest: what was shipped, and what was scrapped, which is revoked.
    #[command(
        after_help = "Example:\n  countersign authority reconcile ./station/2026-11-plug-a/manifest --data ./data\n\nExit codes: 0 taken; 1 refused, with the record and serial; 2 usage or environment."
    )]
    Reconcile {
        /// The manifest.
        manifest: PathBuf,
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The labels of a batch as sheets to print. They hold the setup codes: remove the files when they are printed.
    #[command(
        after_help = "Examples:\n  countersign authority label --data ./data --batch 2026-11-plug-a --out ./labels\n  countersign authority label --data ./data --batch 2026-11-plug-a --out ./labels --layout roll --serial plug-000007\n  countersign authority label --data ./data --batch 2026-11-plug-a --printed\n\n--printed destroys the batch's setup codes and keys for ever: at a terminal you are asked, a script says --yes."
    )]
    Label(factory::LabelArgs),
    /// Replace issuing CAs, the root or the policy key, with overlap: prepare, activate, retire. A roll that was killed is carried on by the same command.
    #[command(
        after_help = "Examples:\n  countersign authority rotate --data ./data --ca ldevid\n  countersign authority rotate --data ./data --ca ldevid --step retire\n  countersign authority rotate --data ./data --for-policy\n  countersign authority rotate root --data ./data\n  countersign authority rotate root --data ./data --step withdraw\n  countersign authority rotate policy-key --data ./data\n  countersign authority rotate status --data ./data --json"
    )]
    Rotate(super::rotate::RotateArgs),
    /// The records that show how critical parameters were managed, phase by phase of their life.
    #[command(
        after_help = "Examples:\n  countersign authority evidence --data ./data --thing plug-000001\n  countersign authority evidence --data ./data --csp SecParam-LDevIDKey\n  countersign authority evidence --data ./data --thing plug-000001 --json > evidence.json"
    )]
    Evidence(evidence::EvidenceArgs),
    /// Give an operator another role, in force at its next call.
    #[command(
        after_help = "Example:\n  countersign authority role --data ./data --name anna --role auditor\n\nRoles: administrator, custodian, station, auditor, support. What each may call: countersign authority openapi"
    )]
    Role {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// The operator.
        #[arg(long)]
        name: OperatorName,
        /// What the operator is there for.
        #[arg(long, add = Known::OperatorRole)]
        role: Role,
    },
    /// Make a key that backups can be sealed to; keep it apart from the authority. Prints the recipient.
    #[command(after_help = "Example:\n  countersign authority backup-key --out alice.key")]
    BackupKey {
        /// The file for the key; it must not be there. Mode 0600.
        #[arg(long)]
        out: PathBuf,
    },
    /// Write everything that the authority is into one sealed file, also while `serve` runs.
    #[command(
        after_help = "Examples:\n  countersign authority backup --data ./data --out monday.backup --to countersign-recipient:1:BAF…\n  countersign authority backup --data ./data --out monday.backup --to alice.pub --to bob.pub"
    )]
    Backup(backup::BackupArgs),
    /// Make a new data folder from a backup, verified in every part; says how old it is and what it cannot know.
    #[command(
        after_help = "Examples:\n  countersign authority restore monday.backup --data ./data --key alice.key\n  countersign authority restore monday.backup --data ./data --key alice.key --roots roots.pem \\\n      --ledger-key ledger.key --ledger /mnt/old-disk/data/authority/ledger.log"
    )]
    Restore(backup::RestoreArgs),
    /// What expires when: root, issuing CAs, policy, servers, operators, services, devices that have not renewed. Exit code 1 when
    /// something is due.
    #[command(
        after_help = "Examples:\n  countersign authority expiry --data ./data\n  countersign authority expiry --data ./data --within 30d --json"
    )]
    Expiry(expiry::ExpiryArgs),
    /// Print the description of the admin interface, OpenAPI 3.1; `serve` answers with the same at /openapi.json.
    #[command(after_help = "Example:\n  countersign authority openapi > admin.json")]
    Openapi,
    /// The ledger of what the authority did: verify, prove, export, witness.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Profile {
    /// An operational device identity (LDevID).
    Device,
    /// A service at the gateway.
    Service,
    /// An operator at the admin interface.
    Operator,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SubjectArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// The subject's kind.
    #[arg(long, value_enum, default_value_t = Profile::Device)]
    profile: Profile,
    /// The subject's name.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EnrolArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// Whom for.
    #[arg(long, value_enum)]
    profile: Profile,
    /// The one name.
    #[arg(long, required_unless_present = "count")]
    name: Option<String>,
    /// How many, named PREFIX and a number of six digits.
    #[arg(long, requires = "prefix", conflicts_with = "name")]
    count: Option<u32>,
    /// What stands before the number.
    #[arg(long, requires = "count")]
    prefix: Option<String>,
    /// The folder for NAME.key, NAME.crt and roots.pem.
    #[arg(long)]
    out: PathBuf,
    /// What a service may do: "subscribe FILTER" or "publish FILTER"; may stand several times.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
    /// What an operator is there for: administrator, custodian, station, auditor or support.
    #[arg(long, required_if_eq("profile", "operator"), add = Known::OperatorRole)]
    role: Option<Role>,
    /// The batch that devices are of, so that it can be revoked as a whole.
    #[arg(long)]
    batch: Option<String>,
    /// Replace keys that are there.
    #[arg(long)]
    force: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: AuthorityCommand) -> Ended {
    match command {
        AuthorityCommand::Ceremony { write_plan: Some(path), .. } => {
            countersign_crypto::file::create_new(&path, default_plan().as_bytes(), 0o644)
                .at(&path)?;
            say(&format!(
                "wrote {}; review it, then run: countersign authority ceremony --data DIR --plan {0}",
                path.display()
            ));
            Ok(())
        }
        AuthorityCommand::Ceremony { data, transcript: true, .. } => {
            root::print_transcript(&data.unwrap_or_default())
        }
        AuthorityCommand::Ceremony { data, plan, access, .. } => {
            ceremony(&data.unwrap_or_default(), plan.as_deref(), &access.read()?).await
        }
        AuthorityCommand::Custodian(command) => custodian::run(command),
        AuthorityCommand::Root(command) => root::run(command).await,
        AuthorityCommand::Transcript(command) => root::transcript(command),
        AuthorityCommand::Enrol(arguments) => enrol(arguments).await,
        AuthorityCommand::Code(arguments) => code::run(arguments).await,
        AuthorityCommand::Revoke(arguments) => revoke::run(arguments).await,
        AuthorityCommand::Crl(arguments) => revoke::crl(arguments).await,
        AuthorityCommand::Alarms { data, json } => alarms::run(&data, json).await,
        AuthorityCommand::Reinstate { subject } => {
            let named = subject.subject()?;
            let state = open(&subject.data).await?.reinstate(&named).await?;
            say(&format!("{named}: {}, may enrol again", state.as_str()));
            Ok(())
        }
        AuthorityCommand::Subjects { data, json } => subjects(&data, json).await,
        AuthorityCommand::Provision(arguments) => factory::provision(arguments).await,
        AuthorityCommand::Station(command) => station::run(command).await,
        AuthorityCommand::Batch(command) => factory::batch(command).await,
        AuthorityCommand::Reconcile { manifest, data, json } => {
            factory::reconcile(&data, &manifest, json).await
        }
        AuthorityCommand::Label(arguments) => factory::label(arguments).await,
        AuthorityCommand::Rotate(arguments) => super::rotate::run(arguments).await,
        AuthorityCommand::Evidence(arguments) => evidence::run(arguments).await,
        AuthorityCommand::Role { data, name, role } => {
            let before = open(&data).await?.assign_role(&name, role).await?;
            let before = before.map_or_else(|| "none".to_owned(), |role| role.to_string());
            say(&format!("operator:{name}: {role} (before: {before})"));
            Ok(())
        }
        AuthorityCommand::Expiry(arguments) => expiry::run(arguments).await,
        AuthorityCommand::BackupKey { out } => backup::make_key(&out),
        AuthorityCommand::Backup(arguments) => backup::backup(arguments).await,
        AuthorityCommand::Restore(arguments) => backup::restore(arguments).await,
        AuthorityCommand::Openapi => {
            let text = serde_json::to_string_pretty(&openapi::description())?;
            say(&text);
            Ok(())
        }
        AuthorityCommand::Ledger(command) => ledger::run(command).await,
    }
}

/// Opens a data folder that must be one already.
pub(crate) async fn open(data: &Path) -> Ended<Authority> {
    if !data.is_dir() {
        return Err(Failure::environment(format!(
            "{}: no such folder: run `countersign authority ceremony --data {0}` first",
            data.display()
        )));
    }
    let config = ServeConfig::read(None, data)?;
    Ok(Authority::open(data, config.authority, Sources::system()).await?)
}

impl SubjectArgs {
    fn subject(&self) -> Ended<Subject> {
        let name = self.name.as_deref().ok_or_else(|| {
            Failure::environment(
                "--name: the subject's name is missing: add --name plug-000001 (--profile says of which kind, a device if left out)",
            )
        })?;
        Ok(match self.profile {
            Profile::Device => Subject::Thing(name.parse().named("--name")?),
            Profile::Service => Subject::Service(name.parse().named("--name")?),
            Profile::Operator => Subject::Operator(name.parse().named("--name")?),
        })
    }
}

async fn ceremony(data: &Path, plan: Option<&Path>, access: &RootAccess) -> Ended {
    let plan = match plan {
        Some(path) => {
            let text = std::fs::read_to_string(path).at(path)?;
            CeremonyPlan::from_toml(&path.display().to_string(), &text)?
        }
        None => CeremonyPlan::example(),
    };
    countersign_crypto::file::private_folder(data).at(data)?;
    let authority = open(data).await?;
    let outcome = authority
        .ceremony_with(&plan, access, |step| {
            say(&format!("  {step}"));
            ControlFlow::Continue(())
        })
        .await
        .map_err(root::refused)?;
    match outcome {
        CeremonyOutcome::Finished(transcript) => {
            say(transcript.to_string().trim_end());
            say(&format!("signed: {}", authority.layout().transcript().display()));
            if !plan.custody().is_held() {
                say("No custodians: whoever can use this folder can use the root.");
            }
        }
        CeremonyOutcome::Waiting { file, request } => root::waiting(&request, &file),
        CeremonyOutcome::AlreadyFinished(transcript) => {
            say("The ceremony was held here before; nothing was done.");
            say(transcript.to_string().trim_end());
        }
        CeremonyOutcome::Stopped(step) => {
            return Err(Failure::environment(format!(
                "stopped before {step}; run again to carry on"
            )));
        }
    }
    Ok(())
}

async fn enrol(arguments: EnrolArgs) -> Ended {
    let profile = match (arguments.profile, arguments.role) {
        (Profile::Device | Profile::Operator, _) if !arguments.grants.is_empty() => {
            return Err(Failure::environment(
                "--grant: a device's rights follow from its name and an operator's from its role; grants are for --profile service",
            ));
        }
        (Profile::Operator, Some(role)) => EnrolProfile::Operator(role),
        (Profile::Operator, None) => {
            return Err(Failure::environment(
                "--role: an operator's role is missing: add --role administrator, custodian, station, auditor or support",
            ));
        }
        (_, Some(_)) => return Err(Failure::environment("--role: is for --profile operator")),
        (Profile::Device, None) => EnrolProfile::Device,
        (Profile::Service, None) => EnrolProfile::Service(arguments.grants),
    };
    let names = match (arguments.name, arguments.count, arguments.prefix) {
        (Some(name), _, _) => EnrolNames::One(name),
        (None, Some(count), Some(prefix)) => EnrolNames::Many { prefix, count },
        _ => return Err(Failure::environment("--name, or --count with --prefix, is needed")),
    };
    let authority = open(&arguments.data).await?;
    let request = EnrolRequest { profile, names, out: arguments.out, force: arguments.force };
    let mut progress = Progress::new("enrolled");
    let enrolled = authority
        .enrol(&request, |done, total| progress.show(u64::from(done), u64::from(total)))
        .await?;
    if let Some(batch) = &arguments.batch {
        let things: Vec<_> = enrolled
            .iter()
            .filter_map(|one| match &one.subject {
                Subject::Thing(thing) => Some(thing.clone()),
                _ => None,
            })
            .collect();
        authority.label_batch(&things, batch).await?;
    }
    if arguments.json {
        let list: Vec<_> = enrolled
            .iter()
            .map(|one| {
                json!({ "subject": one.subject.to_string(), "key": one.key, "certificate": one.certificate, "serial": one.serial })
            })
            .collect();
        print_json(&json!({ "enrolled": list, "roots": request.out.join("roots.pem") }));
        return Ok(());
    }
    for one in &enrolled {
        say(&format!("{}  {}  {}", one.subject, one.certificate.display(), one.key.display()));
    }
    Ok(())
}

async fn subjects(data: &Path, as_json: bool) -> Ended {
    let authority = open(data).await?;
    let (all, registry) = (authority.subjects().await?, authority.registry());
    let role = |subject: &Subject| match subject {
        Subject::Operator(name) => registry.role(name),
        _ => None,
    };
    if as_json {
        let list: Vec<_> = all
            .iter()
            .map(|one| {
                let mut told =
                    json!({ "subject": one.subject.to_string(), "state": one.state.as_str() });
                if let Some(role) = role(&one.subject) {
                    told["role"] = json!(role.as_str());
                }
                told
            })
            .collect();
        print_json(&json!({ "subjects": list }));
    } else {
        for one in all {
            let role = role(&one.subject).map(|role| format!("  ({role})")).unwrap_or_default();
            say(&format!("{:12} {}{role}", one.state.as_str(), one.subject));
        }
    }
    Ok(())
}

/// Makes one device: its key in its own folder, its factory identity from the authority, its label for paper.
pub(crate) async fn make_device(
    authority: &Authority,
    thing: ThingId,
    folder: &Path,
) -> Ended<Label> {
    let algorithm = authority.key_algorithm(Purpose::FactoryIdentity)?;
    let blank = Blank::prepare(folder, thing, algorithm)?;
    let made = authority.manufacture(&blank.request()?).await?;
    let policy = PolicyAuthority {
        maker: authority.maker()?,
        spki_der: authority.policy_verification_key()?,
        second_spki_der: authority.second_policy_verification_key().await?,
    };
    blank.provision(&made.chain, &made.roots, &made.params, &made.verifier, &policy)?;
    Ok(made.label)
}
