//! Carrying a plan out, step by step, as often as it takes.

use std::fs::{File, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use countersign_crypto::certificate::Certificate;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::issue::CaTemplate;
use countersign_crypto::signature::KeyHandle;
use countersign_model::time::{Timestamp, Validity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CeremonyPlan;
use crate::authorities::{self, IssuingCa, POLICY, ROOT, certificate_file};
use crate::authority::{Authority, Layout};
use crate::enrol::Credentials;
use crate::error::AuthorityError;
use crate::issuance;
use crate::ledger::Kind;
use crate::profile::BACKDATE;
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
    /// `roots.pem` is written.
    Roots,
    /// The first operator gets credentials.
    Operator,
    /// The transcript goes into the ledger.
    Finish,
}

impl Step {
    /// Every step in order.
    pub const ALL: [Self; 13] = [
        Self::Begin,
        Self::RootKey,
        Self::RootCertificate,
        Self::IssuingKey(IssuingCa::FactoryIdentity),
        Self::IssuingCertificate(IssuingCa::FactoryIdentity),
        Self::IssuingKey(IssuingCa::Operation),
        Self::IssuingCertificate(IssuingCa::Operation),
        Self::IssuingKey(IssuingCa::Service),
        Self::IssuingCertificate(IssuingCa::Service),
        Self::PolicyKey,
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
            Self::Roots => f.write_str("roots.pem"),
            Self::Operator => f.write_str("operator"),
            Self::Finish => f.write_str("finish"),
        }
    }
}

/// One thing that the ceremony made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The step that made it.
    pub step: String,
    /// The particulars: names, serials, hashes. No secret.
    pub what: Value,
}

/// What a finished ceremony made, for people and for the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// SHA-256 of the plan, hexadecimal.
    pub plan_sha256: String,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// What was made, in order.
    pub made: Vec<Made>,
}

impl std::fmt::Display for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "Ceremony finished {}", self.finished_at.to_rfc3339())?;
        writeln!(f, "  plan, digest   {}", self.plan_sha256)?;
        for made in &self.made {
            writeln!(f, "  {:24} {}", made.step, made.what)?;
        }
        Ok(())
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
    /// Carries the plan out. `progress` is told of each step before it is taken, and may stop there.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] when another plan was begun here; whatever a step meets. Running it again
    /// carries on where it ended.
    pub async fn ceremony(
        &self,
        plan: &CeremonyPlan,
        mut progress: impl FnMut(Step) -> ControlFlow<()> + Send,
    ) -> Result<CeremonyOutcome, AuthorityError> {
        let layout = self.core.layout.clone();
        let _alone = lock(&layout)?;
        if is_finished(&layout) {
            return Ok(CeremonyOutcome::AlreadyFinished(read_transcript(&layout)?));
        }
        let mut made = Vec::new();
        for step in Step::ALL {
            if progress(step).is_break() {
                return Ok(CeremonyOutcome::Stopped(step));
            }
            if step == Step::Finish {
                break;
            }
            let what = self.take(step, plan).await?;
            self.record_once(step, &what).await?;
            made.push(Made { step: step.to_string(), what });
        }
        self.finish(plan, made).await.map(CeremonyOutcome::Finished)
    }

    /// Does the step's work unless it is there, and says what is there.
    async fn take(&self, step: Step, plan: &CeremonyPlan) -> Result<Value, AuthorityError> {
        let folder = self.core.layout.authority();
        match step {
            Step::Begin => self.begin(plan),
            Step::RootKey => Ok(key_facts(&self.key(ROOT, plan.root_algorithm())?)),
            Step::RootCertificate => {
                let key = self.core.keys.require(ROOT)?;
                let name = format!("{} Root", plan.organisation());
                let template = self.ca_template(plan, name, plan.root_life(), None);
                let make = || issuance::self_signed_root(&template, &key);
                Ok(certificate_facts(&once(&certificate_file(&folder, ROOT), make)?))
            }
            Step::IssuingKey(ca) => Ok(key_facts(&self.key(ca.label(), plan.algorithm())?)),
            Step::IssuingCertificate(ca) => {
                let root = authorities::read(&certificate_file(&folder, ROOT))?;
                let (root_key, key) =
                    (self.core.keys.require(ROOT)?, self.core.keys.require(ca.label())?);
                let life = match ca {
                    IssuingCa::FactoryIdentity => plan.factory_life(),
                    IssuingCa::Operation | IssuingCa::Service => plan.issuing_life(),
                };
                let name = format!("{} {}", plan.organisation(), ca.common_name_ending());
                let template = self.ca_template(plan, name, life, Some(&root));
                let now = self.core.now();
                let make = || issuance::issue_ca(&template, &key, &root, &root_key, now);
                Ok(certificate_facts(&once(&certificate_file(&folder, ca.label()), make)?))
            }
            Step::PolicyKey => Ok(key_facts(&self.key(POLICY, plan.algorithm())?)),
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
        Ok(certificate_facts(chain.leaf()))
    }

    /// Records a step in the ledger unless an earlier run did.
    //= specs/en-303-645.md#5.5-8
    //# Generation MUST leave a record.
    async fn record_once(&self, step: Step, what: &Value) -> Result<(), AuthorityError> {
        let kind = if step == Step::Begin { Kind::CeremonyBegun } else { Kind::CeremonyStep };
        let body = json!({"step": step.to_string(), "made": what});
        let entries = self.ledger_entries().await?;
        if !entries.iter().any(|entry| entry.kind == kind && entry.body == body) {
            self.core.record(kind, body).await?;
        }
        Ok(())
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
                let transcript = Transcript { plan_sha256, finished_at: self.core.now(), made };
                let body = serde_json::to_value(&transcript).expect("a transcript serialises");
                self.core.record(Kind::CeremonyFinished, body).await?;
                transcript
            }
        };
        self.core.load_authorities(&Issuing::default())?;
        let text = serde_json::to_vec_pretty(&transcript).expect("a transcript serialises");
        let path = transcript_file(&self.core.layout);
        file::write_atomic(&path, &text, file::PUBLIC).map_err(AuthorityError::io(&path))?;
        Ok(transcript)
    }

    pub(crate) fn ca_template(
        &self,
        plan: &CeremonyPlan,
        common_name: String,
        life: std::time::Duration,
        issuer: Option<&Certificate>,
    ) -> CaTemplate {
        let now = self.core.now();
        let backdate = u64::try_from(BACKDATE.as_millis()).unwrap_or_default();
        let mut not_before = Timestamp(now.0.saturating_sub(backdate));
        let mut not_after = now.plus(life);
        if let Some(issuer) = issuer {
            not_before = not_before.max(issuer.validity().not_before);
            not_after = not_after.min(issuer.validity().not_after);
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
    json!({"algorithm": key.algorithm().name(), "spki_sha256": hex::encode(sha256(key.spki_der()))})
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
