//! Rolling the issuing CAs: *prepare, activate, retire*, with overlap, so that nobody is without a certificate that counts.
//!
//! ```text
//!  prepare ── key, certificate by the root ─► pre-activation: published to every verifier, issues nothing
//!  activate ── after PUBLICATION ───────────► active: it issues; the one before is deactivated: it verifies
//!  retire ── when all that it issued is replaced or expired ─► destroyed: what is left is revoked, the key is gone
//! ```
//!
//! Each step is an entry of the ledger and one commit of the database, so a roll that was killed anywhere is carried on
//! by asking for it again. Gateways and EST hear of each step as they hear of revocations. The root signs the new
//! CA's certificate; its own roll is [`root`], that of the policy-signing key [`policy_key`].

pub mod follow;
pub mod policy_key;
pub mod root;
mod table;

use std::ops::ControlFlow;
use std::time::Duration;

use countersign_crypto::certificate::Certificate;
use countersign_crypto::retirement::Signatures;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::Timestamp;
use serde_json::{Value, json};

pub use self::table::{KeyEvent, KeyState, NotAdmitted, after};
use crate::authorities::{self, IssuingCa, certificate_file, generations};
use crate::authority::{Authority, Core};
use crate::ceremony::{CeremonyPlan, certificate_facts, key_facts, once, plan_file};
use crate::error::AuthorityError;
use crate::issuance;
use crate::ledger::Kind;
use crate::registration::Reason;
use crate::root::{Act, ActKind, RootAccess, RootRequest};
use crate::store::{IssuingRow, Outstanding, Turn};

/// How long a new issuing CA is known before it issues: ten looks of whoever follows the database, [`crate::registry::POLL`].
pub const PUBLICATION: Duration = Duration::from_secs(1);

/// How long a successor must have been issued before the certificate that it replaces counts as replaced, unless the
/// operator says otherwise: a device swaps within minutes of asking, a service's people within a day.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// How many serial numbers stand in one entry of the ledger: each takes up to 43 octets, half of a line's [`crate::ledger::MAX_LINE`].
const SERIALS: usize = 750;

/// The most generations of one CA that verify at the same time. Three CAs of them and the root fit into one answer of
/// `cacerts`.
const MAX_VERIFYING: usize = 4;

/// One step of a roll; each is told before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollStep {
    /// The successor's key is made.
    Key,
    /// The root signs its certificate.
    Certificate,
    /// Verifiers are told.
    Publish,
    /// It takes over.
    Activate,
    /// What a deactivated generation still vouches for is revoked, and verifiers forget it.
    Retire,
    /// Its key is destroyed.
    Destroy,
}

impl RollStep {
    /// Every step in order.
    pub const ALL: [Self; 6] =
        [Self::Key, Self::Certificate, Self::Publish, Self::Activate, Self::Retire, Self::Destroy];
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rolled {
    /// The step is done, or was before.
    Done {
        /// Labels of the generations that it was done to.
        labels: Vec<String>,
    },
    /// A new CA must be known for [`PUBLICATION`] before it issues.
    NotBefore(Timestamp),
    /// Deactivated, and not retired: some subjects have no successor of their certificate yet.
    Outstanding(Vec<(String, Outstanding)>),
    /// The caller stopped before this step. Asking again carries on.
    Stopped(RollStep),
}

/// When a deactivated CA may be retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// When every certificate of it that counts has had a successor for so long.
    Replaced(Duration),
    /// Now: whoever has no successor is cut off, and comes back by the factory identity or an operator.
    AtOnce,
}

/// One generation of an issuing CA, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GenerationStatus {
    /// The CA: `idevid-ca`, `ldevid-ca` or `service-ca`.
    pub ca: &'static str,
    /// The generation's label.
    pub label: String,
    /// Where it stands.
    pub state: KeyState,
    /// Since when, RFC 3339; `None` for the ceremony's own that was never rolled.
    pub since: Option<String>,
    /// The algorithm of its key.
    pub algorithm: Option<&'static str>,
    /// The certificate's serial number, hexadecimal.
    pub serial: String,
    /// The certificate's end, RFC 3339.
    pub not_after: String,
    /// What it issued and still counts.
    pub outstanding: Outstanding,
}

impl Authority {
    /// Makes a successor of an issuing CA and publishes it; it issues nothing yet. Done before: nothing is done. Without an
    /// algorithm: that of the one which is prepared, or else by [`Authority::ca_algorithm`].
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] when a successor with another algorithm was prepared, or too many generations
    /// verify already.
    pub async fn prepare_ca(
        &self,
        ca: IssuingCa,
        algorithm: Option<SignatureAlgorithm>,
        progress: impl FnMut(RollStep) -> ControlFlow<()> + Send,
    ) -> Result<Rolled, AuthorityError> {
        self.prepare_ca_with(ca, algorithm, &RootAccess::default(), progress).await
    }

    /// The same with what the root's custodians approved: see [`Authority::request_ca`].
    ///
    /// # Errors
    /// As [`Authority::prepare_ca`]; [`AuthorityError::RootNeeded`], [`AuthorityError::NotApproved`].
    pub async fn prepare_ca_with(
        &self,
        ca: IssuingCa,
        algorithm: Option<SignatureAlgorithm>,
        access: &RootAccess,
        mut progress: impl FnMut(RollStep) -> ControlFlow<()> + Send,
    ) -> Result<Rolled, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        // One writer's turn for all of it: two processes cannot both make the next generation.
        let mut turn = core.store.exclusive().await?;
        let rows: Vec<_> =
            generations(&turn.issuing().await?).into_iter().filter(|row| row.ca == ca).collect();
        if let Some(begun) = rows.iter().find(|row| row.state == KeyState::PreActivation) {
            let key = core.keys.require(&begun.label)?;
            if algorithm.is_some_and(|wanted| wanted != key.algorithm()) {
                return Err(refused(format!(
                    "{} is prepared with {}: carry that roll on without --algorithm first",
                    begun.label,
                    key.algorithm()
                )));
            }
            core.used_up(access, &begun.label)?;
            return Ok(Rolled::Done { labels: vec![begun.label.clone()] });
        }
        if rows.iter().filter(|row| row.state.verifies()).count() >= MAX_VERIFYING {
            return Err(refused(format!(
                "{} has {MAX_VERIFYING} generations that verify: retire one first, `authority rotate --ca {0} --step retire`",
                ca.label()
            )));
        }
        let algorithm = match algorithm {
            Some(algorithm) => algorithm,
            None => self.ca_algorithm(ca)?,
        };
        let (number, label) = next_label(ca, &rows);
        // 1. The key. What a killed run left is used where it fits; nothing hangs on it yet.
        if progress(RollStep::Key).is_break() {
            return Ok(Rolled::Stopped(RollStep::Key));
        }
        let key = self.key_of(&label, algorithm)?;
        // 2. The certificate, linted like every other.
        if progress(RollStep::Certificate).is_break() {
            return Ok(Rolled::Stopped(RollStep::Certificate));
        }
        let certificate = self.successor(ca, number, &label, &key, access).await?;
        // 3. Verifiers: from this commit on they take it.
        if progress(RollStep::Publish).is_break() {
            return Ok(Rolled::Stopped(RollStep::Publish));
        }
        let facts = certificate_facts(&certificate);
        self.told(&label, "prepared", &json!({"certificate": facts})).await?;
        for row in rows {
            turn.put_issuing(&row).await?;
        }
        let row = IssuingRow { label, ca, state: KeyState::PreActivation, since: core.now() };
        turn.put_issuing(&row).await?;
        self.settle(turn).await?;
        core.used_up(access, &row.label)?;
        Ok(Rolled::Done { labels: vec![row.label] })
    }

    /// Makes the key of an issuing CA's successor and asks the custodians for its certificate. Asked before: the same
    /// request again.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the plan names no custodians, or a successor is prepared already.
    pub async fn request_ca(
        &self,
        ca: IssuingCa,
        algorithm: Option<SignatureAlgorithm>,
    ) -> Result<(RootRequest, std::path::PathBuf), AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let plan = self.custodians_plan()?;
        let mut turn = core.store.exclusive().await?;
        let rows = generations(&turn.issuing().await?);
        let rows: Vec<_> = rows.into_iter().filter(|row| row.ca == ca).collect();
        if let Some(begun) = rows.iter().find(|row| row.state == KeyState::PreActivation) {
            return Err(refused(format!("{} is prepared already: activate it", begun.label)));
        }
        let algorithm = match algorithm {
            Some(algorithm) => algorithm,
            None => self.ca_algorithm(ca)?,
        };
        let (number, label) = next_label(ca, &rows);
        let key = self.key_of(&label, algorithm)?;
        let purpose = format!("issuing CA {label}, {algorithm}");
        let act = || Ok(vec![self.successor_act(&plan, ca, number, &label, &key)?]);
        let root = core.authorities()?.root_label().to_owned();
        let request = core.ask_root(&plan, &root, &purpose, act).await?;
        drop(turn);
        let file = core.request_file(&request);
        Ok((request, file))
    }

    /// What the root would sign for an issuing CA's successor.
    fn successor_act(
        &self,
        plan: &CeremonyPlan,
        ca: IssuingCa,
        number: usize,
        label: &str,
        key: &KeyHandle,
    ) -> Result<Act, AuthorityError> {
        let authorities = self.core.authorities()?;
        let root = authorities.root();
        // A name of its own, so that people and tools can tell the generations apart.
        let name = format!("{} G{number} {}", plan.organisation(), ca.common_name_ending());
        let template = self.ca_template(plan, name, life(plan, ca), Some(root.validity()));
        let (algorithm, spki) = (key.algorithm().name(), key.spki_der());
        Ok(Act::certificate(ActKind::IssuingCa, label, &template, algorithm, spki))
    }

    /// Lets the prepared successor issue; the one before issues no more, and verifies. Done before: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn activate_ca(
        &self,
        ca: IssuingCa,
        mut progress: impl FnMut(RollStep) -> ControlFlow<()> + Send,
    ) -> Result<Rolled, AuthorityError> {
        let core = &self.core;
        let mut turn = core.store.exclusive().await?;
        let rows: Vec<_> =
            generations(&turn.issuing().await?).into_iter().filter(|row| row.ca == ca).collect();
        let Some(next) = rows.iter().find(|row| row.state == KeyState::PreActivation) else {
            return Ok(Rolled::Done { labels: Vec::new() });
        };
        //= specs/house.md#house-rotation
        //# An issuing authority MUST be known to every verifier before it issues.
        let (now, from) = (core.now(), next.since.plus(PUBLICATION));
        if now < from {
            return Ok(Rolled::NotBefore(from));
        }
        if progress(RollStep::Activate).is_break() {
            return Ok(Rolled::Stopped(RollStep::Activate));
        }
        let before: Vec<_> = rows.iter().filter(|row| row.state == KeyState::Active).collect();
        let replaces: Vec<&str> = before.iter().map(|row| row.label.as_str()).collect();
        self.told(&next.label, "activated", &json!({"replaces": replaces})).await?;
        for row in &before {
            let state = after(row.state, KeyEvent::Deactivate)?;
            turn.put_issuing(&IssuingRow { state, since: now, ..(*row).clone() }).await?;
        }
        let state = after(next.state, KeyEvent::Activate)?;
        turn.put_issuing(&IssuingRow { state, since: now, ..next.clone() }).await?;
        let labels = vec![next.label.clone()];
        self.settle(turn).await?;
        Ok(Rolled::Done { labels })
    }

    /// Retires the deactivated generations of a CA: what they vouch for is revoked as superseded, verifiers forget them,
    /// their keys are destroyed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    //= specs/en-303-645.md#5.5-8
    //# Decommissioning MUST destroy what is no longer needed.
    pub async fn retire_ca(
        &self,
        ca: IssuingCa,
        when: Retirement,
        progress: impl FnMut(RollStep) -> ControlFlow<()> + Send,
    ) -> Result<Rolled, AuthorityError> {
        self.retire_generations(ca, None, when, progress).await
    }

    /// The same for one generation, which may be one that was to issue.
    pub(crate) async fn retire_generation(
        &self,
        ca: IssuingCa,
        label: &str,
        when: Retirement,
        progress: impl FnMut(RollStep) -> ControlFlow<()> + Send,
    ) -> Result<Rolled, AuthorityError> {
        self.retire_generations(ca, Some(label), when, progress).await
    }

    async fn retire_generations(
        &self,
        ca: IssuingCa,
        only: Option<&str>,
        when: Retirement,
        mut progress: impl FnMut(RollStep) -> ControlFlow<()> + Send,
    ) -> Result<Rolled, AuthorityError> {
        let core = &self.core;
        let now = core.now();
        let mut turn = core.store.exclusive().await?;
        let rows = generations(&turn.issuing().await?);
        let old = rows.into_iter().filter(|row| {
            let one = only.is_some_and(|label| row.label == label);
            let old = row.state == KeyState::Deactivated && (one || only.is_none());
            row.ca == ca && (old || one && row.state == KeyState::PreActivation)
        });
        let (mut labels, mut waiting) = (Vec::new(), Vec::new());
        let mut retired = Vec::new();
        for row in old {
            let grace = match when {
                Retirement::Replaced(grace) => grace,
                Retirement::AtOnce => Duration::ZERO,
            };
            let settled = Timestamp(now.0.saturating_sub(millis(grace)));
            let outstanding = turn.outstanding(&row.label, now, settled).await?;
            if outstanding.alone > 0 && when != Retirement::AtOnce {
                waiting.push((row.label.clone(), outstanding));
                continue;
            }
            if progress(RollStep::Retire).is_break() {
                return Ok(Rolled::Stopped(RollStep::Retire));
            }
            let serials = turn.issued_by(&row.label, now).await?;
            labels.push(row.label.clone());
            let state = after(row.state, KeyEvent::Destroy)?;
            retired.push((IssuingRow { state, since: now, ..row }, serials));
        }
        // 1. The ledger, then the database: from this commit on verifiers refuse it.
        for (row, serials) in &retired {
            self.retirement_told(&row.label, serials).await?;
            turn.put_issuing(row).await?;
        }
        for serial in retired.iter().flat_map(|(_, serials)| serials) {
            let record = turn.certificate(serial).await?;
            let record =
                record.ok_or_else(|| AuthorityError::Unknown(format!("serial {serial}")))?;
            turn.mark_revoked(serial).await?;
            turn.put_revocation(now, &record.subject, serial, Reason::Superseded).await?;
        }
        if !retired.is_empty() {
            self.settle(turn).await?;
        } else {
            drop(turn);
        }
        // 2. Their last lists and then the keys, of these and of what a killed run left.
        if progress(RollStep::Destroy).is_break() {
            return Ok(Rolled::Stopped(RollStep::Destroy));
        }
        self.sweep_keys().await?;
        Ok(if waiting.is_empty() { Rolled::Done { labels } } else { Rolled::Outstanding(waiting) })
    }

    /// Where every generation of every issuing CA stands. Nothing is changed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn rotation_status(&self) -> Result<Vec<GenerationStatus>, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let now = core.now();
        let mut turn = core.store.exclusive().await?;
        let mut all = Vec::new();
        for row in generations(&turn.issuing().await?) {
            let certificate =
                authorities::read(&certificate_file(&core.layout.authority(), &row.label))?;
            all.push(GenerationStatus {
                ca: row.ca.label(),
                outstanding: turn.outstanding(&row.label, now, now).await?,
                label: row.label,
                state: row.state,
                since: (row.since > Timestamp(0)).then(|| row.since.to_rfc3339()),
                algorithm: certificate.key_algorithm().map(SignatureAlgorithm::name),
                serial: certificate.serial_hex(),
                not_after: certificate.validity().not_after.to_rfc3339(),
            });
        }
        Ok(all)
    }

    /// The algorithm that a CA's successor is made with by the policy in force, for as long as such a CA lives: the
    /// present one's where that lasts, else what the policy prefers of what does.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the policy allows none.
    pub fn ca_algorithm(&self, ca: IssuingCa) -> Result<SignatureAlgorithm, AuthorityError> {
        let now = self.core.now();
        let end = now.plus(life(&self.plan()?, ca));
        let signatures = self.ca_signatures(ca)?;
        let present = self.core.authorities()?.certificate(ca).key_algorithm();
        let present = present.filter(|algorithm| signatures.lasts(*algorithm).at(end));
        present.or_else(|| signatures.for_new(now, end)).ok_or_else(|| {
            refused(format!("the policy in force allows no signature algorithm for {}", ca.label()))
        })
    }

    /// What the policy in force allows for a CA: what it allows wherever certificates of the CA are verified.
    pub(crate) fn ca_signatures(&self, ca: IssuingCa) -> Result<Signatures, AuthorityError> {
        let policy = self.core.policy_in_force()?;
        Ok(Signatures::of(&policy, follow::uses_of(ca)))
    }

    /// A key under that label and with that algorithm; one of another kind, which a killed run left, is destroyed first.
    fn key_of(
        &self,
        label: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<KeyHandle, AuthorityError> {
        if self.core.keys.load(label)?.is_some_and(|key| key.algorithm() != algorithm) {
            self.core.keys.destroy(label)?;
        }
        self.key(label, algorithm)
    }

    /// The successor's certificate, by the root: that of a killed run where it is for this key.
    async fn successor(
        &self,
        ca: IssuingCa,
        number: usize,
        label: &str,
        key: &KeyHandle,
        access: &RootAccess,
    ) -> Result<Certificate, AuthorityError> {
        let folder = self.core.layout.authority();
        let path = certificate_file(&folder, label);
        if authorities::read(&path).is_ok_and(|left| left.spki_der() != key.spki_der()) {
            std::fs::remove_file(&path).map_err(AuthorityError::io(&path))?;
        }
        if !path.exists() {
            let authorities = self.core.authorities()?;
            let (root, by) = (authorities.root().clone(), authorities.root_label());
            let plan = self.plan()?;
            let acts = || Ok(vec![self.successor_act(&plan, ca, number, label, key)?]);
            let permit = self.core.root_permit(&plan, by, access, acts)?;
            let serial = &permit.act(ActKind::IssuingCa, label)?.serial;
            let intent = json!({"key": key_facts(key), "serial": serial});
            self.told(label, "certificate intended", &intent).await?;
            let signer = self.core.root_signer(&plan, by, access, &permit, label).await?;
            let now = self.core.now();
            once(&path, || issuance::issue_ca(&signer, &permit, label, key, &root, now))?;
        }
        authorities::read(&path)
    }

    pub(crate) fn plan(&self) -> Result<CeremonyPlan, AuthorityError> {
        self.core.plan()
    }

    /// The same, where custodians hold the root and are to be asked.
    fn custodians_plan(&self) -> Result<CeremonyPlan, AuthorityError> {
        let plan = self.plan()?;
        if plan.custody().is_held() {
            return Ok(plan);
        }
        Err(refused("the plan names no custodians: the root needs no request".to_owned()))
    }

    async fn told(&self, label: &str, step: &str, what: &Value) -> Result<(), AuthorityError> {
        let body = json!({"label": label, "step": step, "what": what});
        self.core.record(Kind::CaRolled, body).await.map(|_| ())
    }

    /// That a generation is retired, and with it which certificates: as many entries as their serial numbers take.
    async fn retirement_told(&self, label: &str, serials: &[String]) -> Result<(), AuthorityError> {
        let (first, last) = serials.split_at(serials.len().saturating_sub(1) / SERIALS * SERIALS);
        let mut entries: Vec<_> = first
            .chunks(SERIALS)
            .map(|some| json!({"label": label, "step": "revoked", "what": {"serials": some}}))
            .collect();
        let what = json!({"revoked": serials.len(), "serials": last});
        entries.push(json!({"label": label, "step": "retired", "what": what}));
        let entries = entries.into_iter().map(|body| (Kind::CaRolled, body)).collect();
        self.core.record_all(entries).await.map(|_| ())
    }

    /// Commits, and sees to it that this process goes by it at once; others do within [`crate::registry::POLL`].
    async fn settle(&self, mut turn: Turn) -> Result<(), AuthorityError> {
        let recorded = turn.issuing().await?;
        turn.commit().await?;
        self.core.load_authorities(&recorded)?;
        self.core.notify();
        Ok(())
    }

    /// Destroys the keys of generations that are destroyed by the record, once each has signed its last list.
    async fn sweep_keys(&self) -> Result<(), AuthorityError> {
        for row in self.core.store.issuing().await?.rows {
            if row.state == KeyState::Destroyed && self.core.keys.load(&row.label)?.is_some() {
                self.write_last_list(&row.label).await?;
                self.core.keys.destroy(&row.label)?;
                self.core.record(Kind::KeyDestroyed, json!({"label": row.label})).await?;
            }
        }
        Ok(())
    }
}

impl Core {
    /// The plan of the ceremony.
    pub(crate) fn plan(&self) -> Result<CeremonyPlan, AuthorityError> {
        let path = plan_file(&self.layout);
        let text = std::fs::read_to_string(&path).map_err(AuthorityError::io(&path))?;
        CeremonyPlan::from_toml(&path.display().to_string(), &text)
    }
}

/// Number and label of a CA's next generation.
fn next_label(ca: IssuingCa, rows: &[IssuingRow]) -> (usize, String) {
    let number = rows.len() + 1;
    (number, format!("{}-{number}", ca.label()))
}

fn life(plan: &CeremonyPlan, ca: IssuingCa) -> Duration {
    match ca {
        IssuingCa::FactoryIdentity => plan.factory_life(),
        IssuingCa::Operation | IssuingCa::Service => plan.issuing_life(),
    }
}

fn refused(detail: String) -> AuthorityError {
    AuthorityError::Configuration { file: "rotate".to_owned(), detail }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
