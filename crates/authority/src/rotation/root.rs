//! Rolling the root: *prepare, activate, retire*, so that whoever trusts an old root goes on without hearing of it.
//!
//! ```text
//!  prepare ── key, own certificate; the root before signs a cross-certificate and the statement "this follows me" ─► pre-activation
//!  devices acknowledge ─► [`Reached`]; nobody who sleeps is waited for
//!  activate ─► it signs issuing CAs from now on; the one before is deactivated: its certificate stays, servers send the cross-certificate
//!  retire ── when no CA that issues hangs below the old one ─► its key is destroyed; its certificate stays an anchor
//!  withdraw ── when nothing in use is verified by the old ones alone ─► devices let go of them
//! ```
//!
//! A device has a root in its firmware, its IDevID hangs below a root for ever, and its label names one. So an old root's *certificate* never
//! goes; only its key does. Who trusts an old root verifies a server by leaf, issuing CA, and the cross-certificates down to that root,
//! without a step of its own. The statements (`ca/anchors.cose`, [`countersign_crypto::anchors`]) lead devices to
//! the new root itself, which they store beside the old.
//! After a compromise the old ones are withdrawn, so that they deceive nobody any more: `docs/decisions/0051-roots-are-withdrawn.md`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use countersign_crypto::anchors::{self, Anchor};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::file;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::Timestamp;
use serde_json::{Value, json};

use super::{KeyEvent, KeyState, NotAdmitted, PUBLICATION, after, refused};
use crate::authorities::{self, ROOT, certificate_file, cross_file};
use crate::authority::{Authority, Layout};
use crate::ceremony::{CeremonyPlan, certificate_facts, once};
use crate::error::AuthorityError;
use crate::issuance;
use crate::ledger::Kind;
use crate::root::{Act, RootAccess, RootRequest};
use crate::store::{RootRow, Turn};
pub use reach::{Reached, StatedRoots};

/// One step of the root's roll; each is told before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootStep {
    /// The next root's key is made, and it signs itself: nobody trusts it yet.
    Key,
    /// The root before signs the cross-certificate.
    Cross,
    /// The root before signs the statement.
    Statement,
    /// Verifiers are told.
    Publish,
    /// It signs from now on.
    Activate,
    /// What the old one's key is still needed for is looked at, and the key destroyed.
    Retire,
    /// The root that signs withdraws those before it.
    Withdraw,
    /// Devices are told, and nobody is given the withdrawn ones any more.
    Forget,
}

impl RootStep {
    /// Every step in order.
    pub const ALL: [Self; 8] = [
        Self::Key,
        Self::Cross,
        Self::Statement,
        Self::Publish,
        Self::Activate,
        Self::Retire,
        Self::Withdraw,
        Self::Forget,
    ];
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootRolled {
    /// The step is done, or was before; the root that it was done to.
    Done(Option<String>),
    /// Devices that were seen lately and have not acknowledged the next root, or one that is left.
    Unacknowledged(Vec<String>),
    /// The next root must be known for [`PUBLICATION`] before it signs.
    NotBefore(Timestamp),
    /// Issuing CAs that hang below the old root and still issue.
    Needed(Vec<String>),
    /// Servers whose certificate hangs below an old root, with no successor yet.
    Serving(Vec<String>),
    /// The caller stopped before this step. Asking again carries on.
    Stopped(RootStep),
}

/// One root, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RootStatus {
    /// Its label.
    pub label: String,
    /// How many roots came before.
    pub position: u64,
    /// Where it stands.
    pub state: KeyState,
    /// Algorithm of its key.
    pub algorithm: Option<&'static str>,
    /// SHA-256 of its certificate, hexadecimal: labels carry its beginning.
    pub certificate_sha256: String,
    /// The certificate's end, RFC 3339.
    pub not_after: String,
    /// Since when it is withdrawn, RFC 3339: it is no anchor any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
}

/// Whether a root's certificate is an anchor in that state. Other than an issuing CA's it outlives its key: factory identities hang below it.
//= specs/house.md#house-anchors
//# A root's certificate MUST stay an anchor when its key is destroyed, unless it was withdrawn or compromised.
#[must_use]
pub const fn is_anchor(state: KeyState) -> bool {
    !matches!(state, KeyState::Compromised)
}

/// The state of a root after `event`: as for an issuing CA, but that a compromised root stays so for ever, since a destroyed one is an anchor.
///
/// # Errors
/// [`NotAdmitted`] where the event has no place.
pub const fn after_root(state: KeyState, event: KeyEvent) -> Result<KeyState, NotAdmitted> {
    match (state, event) {
        (KeyState::Compromised, _) => Err(NotAdmitted { state, event }),
        _ => after(state, event),
    }
}

impl Layout {
    /// The statements by which roots name their successors.
    #[must_use]
    pub fn anchors(&self) -> PathBuf {
        self.authority().join("ca").join("anchors.cose")
    }
}

impl Authority {
    /// Makes the next root, and asks the custodians of the present one to name it.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the plan names no custodians, or a next root is prepared already.
    pub async fn request_root(
        &self,
        algorithm: Option<SignatureAlgorithm>,
        access: &RootAccess,
    ) -> Result<(RootRequest, PathBuf), AuthorityError> {
        let (core, plan) = (&self.core, self.custodians_plan()?);
        let mut turn = core.store.exclusive().await?;
        let rows = roots(turn.issuing().await?.roots);
        if let Some(begun) = rows.iter().find(|row| row.state == KeyState::PreActivation) {
            return Err(refused(format!("{} is prepared already: activate it", begun.label)));
        }
        let (before, label, position) = next(&rows)?;
        let made = self.newborn(&plan, &label, position, algorithm, access)?;
        let purpose = format!("next root {label}");
        let acts = || Ok(vec![Act::next_root(&label, &plan, &made, position)]);
        let request = core.ask_root(&plan, &before.label, &purpose, acts).await?;
        drop(turn);
        let file = core.request_file(&request);
        Ok((request, file))
    }

    /// Makes the next root, lets the present one name it, and publishes that; it signs nothing yet. Done before: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError::RootNeeded`], [`AuthorityError::NotApproved`].
    //= specs/house.md#house-anchors
    //# A crash at any point of a root's roll MUST leave every device and every client able to connect.
    pub async fn prepare_root(
        &self,
        algorithm: Option<SignatureAlgorithm>,
        access: &RootAccess,
        mut progress: impl FnMut(RootStep) -> ControlFlow<()> + Send,
    ) -> Result<RootRolled, AuthorityError> {
        let (core, plan) = (&self.core, self.plan()?);
        core.authorities()?;
        let mut turn = core.store.exclusive().await?;
        let rows = roots(turn.issuing().await?.roots);
        if let Some(begun) = rows.iter().find(|row| row.state == KeyState::PreActivation) {
            let label = begun.label.clone();
            drop(turn);
            self.publish_roots()?;
            core.used_up(access, &label)?;
            return Ok(RootRolled::Done(Some(label)));
        }
        let (before, label, position) = next(&rows)?;
        let folder = core.layout.authority();
        // 1. The next root: what a killed run left is taken.
        if progress(RootStep::Key).is_break() {
            return Ok(RootRolled::Stopped(RootStep::Key));
        }
        let made = self.newborn(&plan, &label, position, algorithm, access)?;
        // 2. The one before vouches for it, in a certificate for verifiers that know nothing of rolls.
        if progress(RootStep::Cross).is_break() {
            return Ok(RootRolled::Stopped(RootStep::Cross));
        }
        let old = authorities::read(&certificate_file(&folder, &before.label))?;
        let cross = cross_file(&folder, &label);
        let statements = self.statements()?;
        let held = Anchor { position: before.position, root: old.clone() };
        let stated = anchors::follow(&held, &statements);
        let stated = stated.map_err(|error| self.damaged(error.to_string()))?;
        let stated = stated.first().is_some_and(|next| next.root == made);
        if !cross.exists() || !stated {
            let acts = || Ok(vec![Act::next_root(&label, &plan, &made, position)]);
            let permit = core.root_permit(&plan, &before.label, access, acts)?;
            let signer = core.root_signer(&plan, &before.label, access, &permit, &label).await?;
            once(&cross, || issuance::cross_certificate(&signer, &permit, &label, &made, &old))?;
            // 3. And in a statement, for those who take the new root itself.
            if progress(RootStep::Statement).is_break() {
                return Ok(RootRolled::Stopped(RootStep::Statement));
            }
            if !stated {
                let one = issuance::root_statement(&signer, &permit, &label, &held, &made)?;
                let all = anchors::to_bytes(&[statements, vec![one]].concat());
                let path = core.layout.anchors();
                file::write_atomic(&path, &all, file::PUBLIC).map_err(AuthorityError::io(&path))?;
            }
        }
        // 4. Verifiers.
        if progress(RootStep::Publish).is_break() {
            return Ok(RootRolled::Stopped(RootStep::Publish));
        }
        self.root_told(&label, "prepared", &certificate_facts(&made)).await?;
        for row in rows {
            turn.put_root(&row).await?;
        }
        let state = KeyState::PreActivation;
        let row = RootRow { label, position, state, since: core.now(), withdrawn: None };
        turn.put_root(&row).await?;
        self.settle_roots(turn).await?;
        core.used_up(access, &row.label)?;
        Ok(RootRolled::Done(Some(row.label)))
    }

    /// Lets the prepared root sign from now on, where it has reached enough devices. Done before: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn activate_root(
        &self,
        reached: &Reached,
        mut progress: impl FnMut(RootStep) -> ControlFlow<()> + Send,
    ) -> Result<RootRolled, AuthorityError> {
        let core = &self.core;
        let mut turn = core.store.exclusive().await?;
        let rows = roots(turn.issuing().await?.roots);
        let Some(next) = rows.iter().find(|row| row.state == KeyState::PreActivation) else {
            drop(turn);
            self.publish_roots()?;
            return Ok(RootRolled::Done(None));
        };
        let (now, from) = (core.now(), next.since.plus(PUBLICATION));
        if now < from {
            return Ok(RootRolled::NotBefore(from));
        }
        if !reached.is_enough() {
            return Ok(RootRolled::Unacknowledged(reached.missing.clone()));
        }
        if progress(RootStep::Activate).is_break() {
            return Ok(RootRolled::Stopped(RootStep::Activate));
        }
        self.root_told(&next.label, "activated", &reached.facts()).await?;
        for row in rows.iter().filter(|row| row.state == KeyState::Active) {
            let state = after_root(row.state, KeyEvent::Deactivate)?;
            turn.put_root(&RootRow { state, since: now, ..row.clone() }).await?;
        }
        let state = after_root(next.state, KeyEvent::Activate)?;
        turn.put_root(&RootRow { state, since: now, ..next.clone() }).await?;
        let label = next.label.clone();
        self.settle_roots(turn).await?;
        Ok(RootRolled::Done(Some(label)))
    }

    /// Destroys the keys of roots that are deactivated, once no issuing CA below them issues or is to issue. Their certificates stay.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn retire_root(
        &self,
        mut progress: impl FnMut(RootStep) -> ControlFlow<()> + Send,
    ) -> Result<RootRolled, AuthorityError> {
        let core = &self.core;
        let mut turn = core.store.exclusive().await?;
        let recorded = turn.issuing().await?;
        let authorities = core.authorities_as(&recorded)?;
        let (mut last, mut needed, mut stopped) = (None, Vec::new(), false);
        for row in roots(recorded.roots) {
            if row.state != KeyState::Deactivated {
                continue;
            }
            let below = authorities.issuing_below(&row.label);
            if !below.is_empty() {
                needed.extend(below);
                continue;
            }
            if progress(RootStep::Retire).is_break() {
                stopped = true;
                break;
            }
            self.root_told(&row.label, "retired", &Value::Null).await?;
            core.destroy_root(&row.label)?;
            let state = after_root(row.state, KeyEvent::Destroy)?;
            turn.put_root(&RootRow { state, since: core.now(), ..row.clone() }).await?;
            last = Some(row.label);
        }
        // Whatever is still needed: a key that was destroyed is so by the record too.
        self.settle_roots(turn).await?;
        Ok(match needed.is_empty() {
            _ if stopped => RootRolled::Stopped(RootStep::Retire),
            true => RootRolled::Done(last),
            false => RootRolled::Needed(needed),
        })
    }

    /// Where every root stands. Nothing is changed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn root_status(&self) -> Result<Vec<RootStatus>, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let recorded = core.store.issuing().await?;
        let one = |row: RootRow| {
            let path = certificate_file(&core.layout.authority(), &row.label);
            let certificate = authorities::read(&path)?;
            Ok(RootStatus {
                label: row.label,
                position: row.position,
                state: row.state,
                algorithm: certificate.key_algorithm().map(SignatureAlgorithm::name),
                certificate_sha256: hex::encode(certificate.fingerprint()),
                not_after: certificate.validity().not_after.to_rfc3339(),
                withdrawn: row.withdrawn.map(|at| at.to_rfc3339()),
            })
        };
        roots(recorded.roots).into_iter().map(one).collect()
    }

    /// The statements by which roots name their successors, oldest first.
    ///
    /// # Errors
    /// [`AuthorityError::Damaged`].
    pub fn statements(&self) -> Result<Vec<Vec<u8>>, AuthorityError> {
        let path = self.core.layout.anchors();
        match std::fs::read(&path) {
            Ok(bytes) => {
                anchors::from_bytes(&bytes).map_err(|error| self.damaged(error.to_string()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(AuthorityError::Io { path, source }),
        }
    }

    fn damaged(&self, detail: String) -> AuthorityError {
        AuthorityError::Damaged { path: self.core.layout.anchors(), detail }
    }

    /// The next root's certificate, by its own key; made with the key where it is not there. Nobody trusts it before the root before
    /// names it.
    fn newborn(
        &self,
        plan: &CeremonyPlan,
        label: &str,
        position: u64,
        algorithm: Option<SignatureAlgorithm>,
        access: &RootAccess,
    ) -> Result<Certificate, AuthorityError> {
        let path = certificate_file(&self.core.layout.authority(), label);
        if path.exists() {
            return authorities::read(&path);
        }
        let name = format!("{} Root G{}", plan.organisation(), position + 1);
        let template = self.ca_template(plan, name, plan.root_life(), None);
        let algorithm = algorithm.unwrap_or_else(|| plan.root_algorithm());
        once(&path, || self.core.bear_root(plan, label, algorithm, access, &template))
    }

    async fn root_told(&self, label: &str, step: &str, what: &Value) -> Result<(), AuthorityError> {
        let body = json!({"label": label, "step": step, "what": what});
        self.core.record(Kind::RootRolled, body).await.map(|_| ())
    }

    /// Commits, and publishes the roots.
    async fn settle_roots(&self, turn: Turn) -> Result<(), AuthorityError> {
        self.settle(turn).await?;
        self.publish_roots()
    }

    /// Writes what people are given as the maker's roots, the one that signs first; also where a killed run committed and did not. Those
    /// below which devices hang come first: nobody is to miss one that is withdrawn.
    fn publish_roots(&self) -> Result<(), AuthorityError> {
        let (authorities, layout) = (self.core.authorities()?, &self.core.layout);
        for (path, pem) in [
            (layout.device_roots(), authorities.device_roots_pem()),
            (layout.roots(), authorities.roots_pem()),
        ] {
            file::write_atomic(&path, pem.as_bytes(), file::PUBLIC)
                .map_err(AuthorityError::io(&path))?;
        }
        Ok(())
    }
}

/// Every root, oldest first; before the first roll the one of the ceremony.
pub(crate) fn roots(recorded: Vec<RootRow>) -> Vec<RootRow> {
    if !recorded.is_empty() {
        return recorded;
    }
    let (label, state, since) = (ROOT.to_owned(), KeyState::Active, Timestamp(0));
    vec![RootRow { label, position: 0, state, since, withdrawn: None }]
}

/// The root that signs, and label and position of the one after it.
fn next(rows: &[RootRow]) -> Result<(RootRow, String, u64), AuthorityError> {
    let active = rows.iter().find(|row| row.state == KeyState::Active);
    let active = active.ok_or_else(|| refused("no root is active".to_owned()))?;
    if rows.len() > anchors::MAX_STATEMENTS {
        return Err(refused("the root was rolled as often as it can be".to_owned()));
    }
    let position = rows.iter().map(|row| row.position).max().unwrap_or(0) + 1;
    Ok((active.clone(), format!("{ROOT}-{}", position + 1), position))
}

mod reach;
#[cfg(test)]
mod tests;
mod withdraw;
