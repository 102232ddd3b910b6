//! Carrying a plan out, step by step, as often as it takes.

use std::fs::{File, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use countersign_crypto::certificate::Certificate;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::issue::CaTemplate;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::{Timestamp, Validity};
use serde_json::{Value, json};

use super::CeremonyPlan;
use super::transcript::{Made, Transcript};
use crate::admin::Role;
use crate::authorities::{self, IssuingCa, POLICY, ROOT, certificate_file};
use crate::authority::{Authority, Layout};
use crate::enrol::Credentials;
use crate::error::AuthorityError;
use crate::issuance;
use crate::ledger::{Entry, Kind};
use crate::profile::BACKDATE;
use crate::root::{Act, ActKind, RootAccess, RootPermit, RootRequest};
use crate::store::Issuing;
use crate::subject::{Purpose, Subject};

/// One step of a ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The plan is kept and recorded.
    Begin,
    /// The root's key is made.
    RootKey,
    /// The root signs itself.
    RootCertificate,
    /// An issuing CA's key is made.
    IssuingKey(IssuingCa),
    /// The root signs an issuing CA.
    IssuingCertificate(IssuingCa),
    /// The policy-signing key is made.
    PolicyKey,
    /// The custodians approve what the root is to sign.
    Approval,
    /// `roots.pem` is written.
    Roots,
    /// The first operator gets credentials.
    Operator,
    /// The transcript goes into the ledger.
    Finish,
}

impl Step {
    /// Every step in order.
    pub const ALL: [Self; 14] = [
        Self::Begin,
        Self::RootKey,
        Self::IssuingKey(IssuingCa::FactoryIdentity),
        Self::IssuingKey(IssuingCa::Operation),
        Self::IssuingKey(IssuingCa::Service),
        Self::PolicyKey,
        Self::Approval,
        Self::RootCertificate,
        Self::IssuingCertificate(IssuingCa::FactoryIdentity),
        Self::IssuingCertificate(IssuingCa::Operation),
        Self::IssuingCertificate(IssuingCa::Service),
        Self::Roots,
        Self::Operator,
        Self::Finish,
    ];
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::RootKey => f.write_str("root key"),
            Self::RootCertificate => f.write_str("root certificate"),
            Self::IssuingKey(ca) => write!(f, "{} key", ca.label()),
            Self::IssuingCertificate(ca) => write!(f, "{} certificate", ca.label()),
            Self::PolicyKey => f.write_str("policy key"),
            Self::Approval => f.write_str("approval"),
            Self::Roots => f.write_str("roots.pem"),
            Self::Operator => f.write_str("operator"),
            Self::Finish => f.write_str("finish"),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CeremonyOutcome {
    /// Carried out, or carried on, to the end.
    Finished(Transcript),
    /// It was finished before; nothing was done.
    AlreadyFinished(Transcript),
    /// The caller stopped it before this step. Running it again carries on.
    Stopped(Step),
    /// The custodians are asked: it is carried on with this request and their approvals.
    Waiting {
        /// Where the request lies.
        file: PathBuf,
        /// The request.
        request: Box<RootRequest>,
    },
}

/// What a ceremony's request for the root's use is for.
const PURPOSE: &str = "ceremony: the root and its first issuing CAs";

impl Layout {
    /// The ceremony's transcript, signed.
    #[must_use]
    pub fn transcript(&self) -> PathBuf {
        self.authority().join("transcript.txt")
    }
}

pub(crate) fn plan_file(layout: &Layout) -> PathBuf {
    layout.authority().join("ceremony.toml")
}

fn transcript_file(layout: &Layout) -> PathBuf {
    layout.authority().join("ceremony.json")
}

/// Whether a ceremony was finished in this folder.
pub(crate) fn is_finished(layout: &Layout) -> bool {
    transcript_file(layout).exists()
}

impl Authority {
    /// Carries the plan out where it names no custodians, see [`Authority::ceremony_with`].
    ///
    /// # Errors
    /// As that.
    pub async fn ceremony(
        &self,
        plan: &CeremonyPlan,
        progress: impl FnMut(Step) -> ControlFlow<()> + Send,
    ) -> Result<CeremonyOutcome, AuthorityError> {
        self.ceremony_with(plan, &RootAccess::default(), progress).await
    }

    /// Carries the plan out. `progress` is told of each step before it is taken, and may stop there. Where the plan names
    /// custodians, it waits for their approvals once all keys are made.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] when another plan was begun here; [`AuthorityError::NotApproved`]; whatever a step
    /// meets. Running it again carries on where it ended.
    pub async fn ceremony_with(
        &self,
        plan: &CeremonyPlan,
        access: &RootAccess,
        mut progress: impl FnMut(Step) -> ControlFlow<()> + Send,
    ) -> Result<CeremonyOutcome, AuthorityError> {
        let layout = self.core.layout.clone();
        let _alone = lock(&layout)?;
        if is_finished(&layout) {
            let transcript = read_transcript(&layout)?;
            self.publish_transcript(&transcript).await?;
            self.core.used_up(access, ROOT)?;
            return Ok(CeremonyOutcome::AlreadyFinished(transcript));
        }
        let mut made = Vec::new();
        for step in Step::ALL {
            if progress(step).is_break() {
                return Ok(CeremonyOutcome::Stopped(step));
            }
            if step == Step::Finish {
                break;
            }
            if step == Step::Approval && self.must_wait(plan, access) {
                let acts = || self.ceremony_acts(plan);
                let request = self.core.ask_root(plan, ROOT, PURPOSE, acts).await?;
                let file = self.core.request_file(&request);
                return Ok(CeremonyOutcome::Waiting { file, request: Box::new(request) });
            }
            let what = self.take(step, plan, access).await?;
            let entry = self.record_once(step, what).await?;
            let what = entry.body.get("made").cloned().unwrap_or_default();
            made.push(Made { step: step.to_string(), at: Some(entry.at), what });
        }
        let transcript = self.finish(plan, made).await?;
        self.core.used_up(access, ROOT)?;
        Ok(CeremonyOutcome::Finished(transcript))
    }

    /// Whether the custodians are still to be asked.
    fn must_wait(&self, plan: &CeremonyPlan, access: &RootAccess) -> bool {
        let folder = self.core.layout.authority();
        let missing = |label: &str| !certificate_file(&folder, label).exists();
        let open = missing(ROOT) || IssuingCa::ALL.iter().any(|ca| missing(ca.label()));
        plan.custody().is_held() && access.request.is_none() && open
    }

    /// Does the step's work unless it is there, and says what is there.
    async fn take(
        &self,
        step: Step,
        plan: &CeremonyPlan,
        access: &RootAccess,
    ) -> Result<Value, AuthorityError> {
        let folder = self.core.layout.authority();
        match step {
            Step::Begin => self.begin(plan),
            Step::RootKey => {
                let made = self.core.make_root(plan, ROOT, plan.root_algorithm(), access)?;
                Ok(facts(made.0, &made.1))
            }
            Step::IssuingKey(ca) => Ok(key_facts(&self.key(ca.label(), plan.algorithm())?)),
            Step::PolicyKey => Ok(key_facts(&self.key(POLICY, plan.algorithm())?)),
            Step::Approval => self.approval(plan, access),
            Step::RootCertificate => {
                let path = certificate_file(&folder, ROOT);
                if !path.exists() {
                    let permit = self.ceremony_permit(plan, access)?;
                    let signer = self.core.root_signer(plan, ROOT, access, &permit, ROOT).await?;
                    once(&path, || issuance::self_signed_root(&signer, &permit, ROOT))?;
                }
                Ok(certificate_facts(&authorities::read(&path)?))
            }
            Step::IssuingCertificate(ca) => {
                let path = certificate_file(&folder, ca.label());
                if !path.exists() {
                    let root = authorities::read(&certificate_file(&folder, ROOT))?;
                    let (key, now) = (self.core.keys.require(ca.label())?, self.core.now());
                    let permit = self.ceremony_permit(plan, access)?;
                    let signer =
                        self.core.root_signer(plan, ROOT, access, &permit, ca.label()).await?;
                    once(&path, || {
                        issuance::issue_ca(&signer, &permit, ca.label(), &key, &root, now)
                    })?;
                }
                Ok(certificate_facts(&authorities::read(&path)?))
            }
            Step::Roots => {
                let root = authorities::read(&certificate_file(&folder, ROOT))?;
                let path = self.core.layout.roots();
                file::write_atomic(&path, root.to_pem().as_bytes(), file::PUBLIC)
                    .map_err(AuthorityError::io(&path))?;
                Ok(
                    json!({"file": "roots.pem", "certificate_sha256": hex::encode(root.fingerprint())}),
                )
            }
            Step::Operator => self.operator(plan).await,
            Step::Finish => unreachable!("the caller ends the loop before it"),
        }
    }

    /// Who approved; nobody, where the plan names nobody, and that is said.
    fn approval(&self, plan: &CeremonyPlan, access: &RootAccess) -> Result<Value, AuthorityError> {
        let custody = plan.custody().to_string();
        if !plan.custody().is_held() || access.request.is_none() {
            return Ok(json!({"custodians": custody}));
        }
        let permit = self.ceremony_permit(plan, access)?;
        Ok(json!({"custodians": custody, "by": permit.by(), "request_sha256": permit.request()}))
    }

    fn ceremony_permit(
        &self,
        plan: &CeremonyPlan,
        access: &RootAccess,
    ) -> Result<RootPermit, AuthorityError> {
        self.core.root_permit(plan, ROOT, access, || self.ceremony_acts(plan))
    }

    /// What the root is to sign: itself, and the issuing CAs. Certificates that are there already keep their words.
    fn ceremony_acts(&self, plan: &CeremonyPlan) -> Result<Vec<Act>, AuthorityError> {
        let spki = self.core.root_spki(ROOT)?;
        let name = format!("{} Root", plan.organisation());
        let mut root = self.ca_template(plan, name, plan.root_life(), None);
        let made = certificate_file(&self.core.layout.authority(), ROOT);
        if made.exists() {
            root.validity = authorities::read(&made)?.validity();
        }
        let algorithm = plan.root_algorithm().name();
        let mut acts =
            vec![Act::certificate(ActKind::RootCertificate, ROOT, &root, algorithm, &spki)];
        for ca in IssuingCa::ALL {
            let key = self.core.keys.require(ca.label())?;
            let name = format!("{} {}", plan.organisation(), ca.common_name_ending());
            let life = match ca {
                IssuingCa::FactoryIdentity => plan.factory_life(),
                IssuingCa::Operation | IssuingCa::Service => plan.issuing_life(),
            };
            let template = self.ca_template(plan, name, life, Some(root.validity));
            let (label, algorithm) = (ca.label(), key.algorithm().name());
            let spki = key.spki_der();
            acts.push(Act::certificate(ActKind::IssuingCa, label, &template, algorithm, spki));
        }
        Ok(acts)
    }

    fn begin(&self, plan: &CeremonyPlan) -> Result<Value, AuthorityError> {
        let path = plan_file(&self.core.layout);
        let text = plan.to_toml();
        match std::fs::read_to_string(&path) {
            Ok(begun) if begun != text => Err(AuthorityError::Configuration {
                file: path.display().to_string(),
                detail: "a ceremony with another plan was begun here: finish it with this plan, or choose another data folder".to_owned(),
            }),
            Ok(_) => Ok(json!({"plan_sha256": hash(&text)})),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let certificates = self.core.layout.authority().join("ca");
                std::fs::create_dir_all(&certificates).map_err(AuthorityError::io(&certificates))?;
                file::create_new(&path, text.as_bytes(), file::PUBLIC)
                    .map_err(AuthorityError::io(&path))?;
                Ok(json!({"plan_sha256": hash(&text)}))
            }
            Err(error) => Err(AuthorityError::Io { path, source: error }),
        }
    }

    async fn operator(&self, plan: &CeremonyPlan) -> Result<Value, AuthorityError> {
        self.core.load_authorities(&Issuing::default())?;
        let folder = self.core.layout.operators();
        file::private_folder(&folder).map_err(AuthorityError::io(&folder))?;
        let subject = Subject::Operator(plan.administrator().clone());
        let credentials = Credentials {
            subject,
            purpose: Purpose::Operator,
            grants: None,
            algorithm: plan.algorithm(),
            folder: &folder,
            force: false,
        };
        let chain = self.credentials(&credentials).await?;
        self.assign_role(plan.administrator(), Role::Administrator).await?;
        Ok(certificate_facts(chain.leaf()))
    }

    /// Records a step in the ledger unless an earlier run did. Who approved stands there once: a run that is carried on
    /// with other approvals of the same request adds nothing.
    //= specs/en-303-645.md#5.5-8
    //# Generation MUST leave a record.
    async fn record_once(&self, step: Step, what: Value) -> Result<Entry, AuthorityError> {
        let kind = if step == Step::Begin { Kind::CeremonyBegun } else { Kind::CeremonyStep };
        let body = json!({"step": step.to_string(), "made": what});
        let same = |entry: &Entry| {
            let again = match step {
                Step::Approval => entry.body.get("step") == body.get("step"),
                _ => entry.body == body,
            };
            entry.kind == kind && again
        };
        let known = self.ledger_entries().await?.into_iter().find(same);
        match known {
            Some(entry) => Ok(entry),
            None => self.core.record(kind, body).await,
        }
    }

    async fn finish(
        &self,
        plan: &CeremonyPlan,
        made: Vec<Made>,
    ) -> Result<Transcript, AuthorityError> {
        let entries = self.ledger_entries().await?;
        let recorded = entries.into_iter().find(|entry| entry.kind == Kind::CeremonyFinished);
        let transcript = match recorded {
            // An earlier run came as far as the ledger.
            Some(entry) => serde_json::from_value(entry.body).map_err(|error| {
                let path = self.core.layout.ledger();
                AuthorityError::Damaged { path, detail: format!("the transcript in it: {error}") }
            })?,
            None => {
                let plan_sha256 = hash(&plan.to_toml());
                let custodians = plan.custody().custodians().iter();
                let transcript = Transcript {
                    plan_sha256,
                    finished_at: self.core.now(),
                    made,
                    software: Transcript::this_software(),
                    custody: plan.custody().to_string(),
                    custodians: custodians
                        .map(|one| (one.name.to_string(), one.fingerprint()))
                        .collect(),
                };
                let body = serde_json::to_value(&transcript).expect("a transcript serialises");
                self.core.record(Kind::CeremonyFinished, body).await?;
                transcript
            }
        };
        self.core.load_authorities(&Issuing::default())?;
        self.publish_transcript(&transcript).await?;
        let text = serde_json::to_vec_pretty(&transcript).expect("a transcript serialises");
        let path = transcript_file(&self.core.layout);
        file::write_atomic(&path, &text, file::PUBLIC).map_err(AuthorityError::io(&path))?;
        Ok(transcript)
    }

    /// Signs the transcript, puts its hash into the ledger, and writes it where strangers get it.
    async fn publish_transcript(&self, transcript: &Transcript) -> Result<(), AuthorityError> {
        let path = self.core.layout.transcript();
        if path.exists() {
            return Ok(());
        }
        let note = self.core.ledger.sign_note(transcript.text());
        let note = note.map_err(crate::root::RequestError::from)?.to_string();
        let body = json!({"transcript_sha256": hash(&note), "plan_sha256": transcript.plan_sha256});
        let known = self.ledger_entries().await?;
        if !known.iter().any(|entry| entry.kind == Kind::Transcript && entry.body == body) {
            self.core.record(Kind::Transcript, body).await?;
        }
        file::write_atomic(&path, note.as_bytes(), file::PUBLIC).map_err(AuthorityError::io(&path))
    }

    pub(crate) fn ca_template(
        &self,
        plan: &CeremonyPlan,
        common_name: String,
        life: std::time::Duration,
        issuer: Option<Validity>,
    ) -> CaTemplate {
        let now = self.core.now();
        let backdate = u64::try_from(BACKDATE.as_millis()).unwrap_or_default();
        let mut not_before = Timestamp(now.0.saturating_sub(backdate));
        let mut not_after = now.plus(life);
        if let Some(issuer) = issuer {
            not_before = not_before.max(issuer.not_before);
            not_after = not_after.min(issuer.not_after);
        }
        let whole = |at: Timestamp| Timestamp::from_secs(at.as_secs());
        CaTemplate {
            common_name,
            organisation: plan.organisation().to_owned(),
            country: plan.country().to_owned(),
            validity: Validity { not_before: whole(not_before), not_after: whole(not_after) },
            serial: self.core.serial(),
        }
    }
}

/// One ceremony at a time.
fn lock(layout: &Layout) -> Result<File, AuthorityError> {
    let path = layout.authority().join("ceremony.lock");
    let file = File::create(&path).map_err(AuthorityError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuthorityError::Configuration {
            file: path.display().to_string(),
            detail: "another ceremony is running in this folder: wait for its end".to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(AuthorityError::Io { path, source }),
    }
}

/// The certificate of a file, made if there is none.
pub(crate) fn once(
    path: &Path,
    make: impl FnOnce() -> Result<Certificate, AuthorityError>,
) -> Result<Certificate, AuthorityError> {
    if !path.exists() {
        let pem = make()?.to_pem();
        file::create_new(path, pem.as_bytes(), file::PUBLIC).map_err(AuthorityError::io(path))?;
    }
    authorities::read(path)
}

pub(crate) fn key_facts(key: &KeyHandle) -> Value {
    facts(key.algorithm(), key.spki_der())
}

fn facts(algorithm: SignatureAlgorithm, spki_der: &[u8]) -> Value {
    json!({"algorithm": algorithm.name(), "spki_sha256": hex::encode(sha256(spki_der))})
}

pub(crate) fn certificate_facts(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject_cn(),
        "serial": certificate.serial_hex(),
        "certificate_sha256": hex::encode(certificate.fingerprint()),
        "not_after": certificate.validity().not_after.to_rfc3339(),
    })
}

fn hash(text: &str) -> String {
    hex::encode(sha256(text.as_bytes()))
}

fn read_transcript(layout: &Layout) -> Result<Transcript, AuthorityError> {
    let path = transcript_file(layout);
    let text = std::fs::read(&path).map_err(AuthorityError::io(&path))?;
    serde_json::from_slice(&text)
        .map_err(|error| AuthorityError::Damaged { path, detail: error.to_string() })
}
