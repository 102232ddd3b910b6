//! Rolling the policy-signing key: *prepare, activate, retire*, so that devices that are awake follow and those that slept come back.
//!
//! ```text
//!  prepare ── key; the one before and the new one sign the statement "this follows me" ─► pre-activation: it signs nothing yet
//!  activate ─► it signs from now on; the policy in force, as the next version, is signed by it and published with the statements
//!  retire ── when a policy by the new key is in force at the gateway ─► the old private key is destroyed
//! ```
//!
//! There is nobody to wait for: each policy carries the statements from the first key on ([`countersign_crypto::policy::keys`]), so
//! that it verifies for whoever holds any key of this line. Killed anywhere, a roll is carried on by asking for it again.

use std::ops::ControlFlow;

use countersign_crypto::cose::DocumentKeys;
use countersign_crypto::file;
use countersign_crypto::policy::keys::{self, MAX_CHANGES_LEN, MAX_KEY_CHANGES};
use countersign_crypto::policy::{Policy, PolicyKeyId, VerifiedPolicy};
use countersign_crypto::retirement::{Lasts, Signatures};
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::{Timestamp, Validity};
use serde_json::{Value, json};

use super::{KeyEvent, KeyState, after, refused};
use crate::authorities::{Authorities, POLICY, policy_keys_file, second_label};
use crate::authority::Authority;
use crate::ceremony::key_facts;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::policies::{SignedPolicy, second_facts};
use crate::store::PolicyKeyRow;

/// One step of the policy key's roll; each is told before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKeyStep {
    /// The next key is made: nobody trusts it yet.
    Key,
    /// The key before names it, and it says that it follows.
    Statement,
    /// It is recorded as prepared.
    Publish,
    /// It signs from now on, and the one before no more.
    Activate,
    /// The policy in force is signed by it, as the next version.
    Sign,
    /// That is handed to whoever serves.
    Hand,
    /// The old private key is destroyed.
    Retire,
}

impl PolicyKeyStep {
    /// Every step in order.
    pub const ALL: [Self; 7] = [
        Self::Key,
        Self::Statement,
        Self::Publish,
        Self::Activate,
        Self::Sign,
        Self::Hand,
        Self::Retire,
    ];
}

/// What a step did.
#[derive(Debug, Clone)]
pub enum PolicyKeyRolled {
    /// The step is done, or was before.
    Done {
        /// The key that it was done to, where there was one.
        label: Option<String>,
        /// The policy that the new key signed and that was handed to whoever serves.
        published: Option<SignedPolicy>,
    },
    /// Not retired: the policy in force was not signed by the key that signs now.
    Awaited,
    /// The caller stopped before this step. Asking again carries on.
    Stopped(PolicyKeyStep),
}

/// One policy key, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PolicyKeyStatus {
    /// Its label.
    pub label: String,
    /// How many policy keys came before.
    pub position: u64,
    /// Where it stands.
    pub state: KeyState,
    /// Its algorithm.
    pub algorithm: Option<&'static str>,
    /// SHA-256 of its public half (SubjectPublicKeyInfo, DER), hexadecimal.
    pub key_sha256: String,
    /// Whether the policy in force was signed by it.
    pub in_force: bool,
    /// SHA-256 of the key of second signatures that came with it, hexadecimal; where none did, the one before stays.
    pub second_key_sha256: Option<String>,
}

impl Authority {
    /// Makes the next policy key, with `second` the next key of second signatures too, and lets the present one name it; it signs nothing yet. Done before, or the present one has not
    /// signed the policy in force yet: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the policy in force does not allow the algorithm, another one was prepared, or the
    /// key was changed as often as it can be; [`AuthorityError::Keystore`] where the keys are in a token, which holds no second one.
    pub async fn prepare_policy_key(
        &self,
        algorithm: Option<SignatureAlgorithm>,
        second: bool,
        mut progress: impl FnMut(PolicyKeyStep) -> ControlFlow<()> + Send,
    ) -> Result<PolicyKeyRolled, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        // One writer's turn for all of it: nobody signs a policy meanwhile.
        let mut turn = core.store.exclusive().await?;
        let recorded = turn.issuing().await?;
        let authorities = core.authorities_as(&recorded)?;
        let rows = policy_keys(recorded.policy_keys);
        if let Some(begun) = rows.iter().find(|row| row.state == KeyState::PreActivation) {
            let key = core.keys.require(&begun.label)?;
            if algorithm.is_some_and(|wanted| wanted != key.algorithm()) {
                return Err(refused(format!(
                    "{} is prepared with {}: carry that roll on without --algorithm first",
                    begun.label,
                    key.algorithm()
                )));
            }
            let changes = authorities.second_policy_keys().iter();
            if second && changes.clone().all(|(place, _)| *place != begun.position) {
                return Err(refused(format!(
                    "{} is prepared without another key of second signatures: carry that roll on without --second first",
                    begun.label
                )));
            }
            return Ok(done(&begun.label));
        }
        // A roll that was killed after the new key began to sign: what is left of it is done by activating.
        let path = core.layout.policy();
        let active = rows.iter().find(|row| row.state == KeyState::Active);
        if let Some(active) = active.filter(|_| path.exists() && !signed_by(&authorities, &path)) {
            return Ok(done(&active.label));
        }
        let position = rows.iter().map(|row| row.position).max().unwrap_or(0) + 1;
        if usize::try_from(position).unwrap_or(usize::MAX) > MAX_KEY_CHANGES {
            return Err(refused(format!(
                "the policy key was changed {MAX_KEY_CHANGES} times, as often as a device follows: another one reaches devices with firmware only"
            )));
        }
        let algorithm = self.policy_key_algorithm(&authorities, algorithm)?;
        let label = format!("{POLICY}-{}", position + 1);
        // 1. The key. What a killed run left is used where it fits; nobody believes it yet.
        if progress(PolicyKeyStep::Key).is_break() {
            return Ok(PolicyKeyRolled::Stopped(PolicyKeyStep::Key));
        }
        let key = self.key_of(&label, algorithm)?;
        // 2. The statement, in the place of one that a killed run left and nobody was given.
        if progress(PolicyKeyStep::Statement).is_break() {
            return Ok(PolicyKeyRolled::Stopped(PolicyKeyStep::Statement));
        }
        let by = self.statement_keys(&authorities, second).await?;
        let mut next = DocumentKeys::new(key.clone());
        if second {
            next = next.with_second(self.next_second_key(position)?);
        }
        let one = keys::name_successor(&by, &next, position, &self.maker()?)
            .map_err(|error| refused(error.to_string()))?;
        let all = [authorities.policy_key_changes(), &[one]].concat();
        if all.iter().map(Vec::len).sum::<usize>() > MAX_CHANGES_LEN {
            return Err(refused(
                "the policy keys were changed so often that a policy has no room for another statement: roll without --second, or reach devices with firmware"
                    .to_owned(),
            ));
        }
        let path = policy_keys_file(&core.layout.authority());
        file::write_atomic(&path, &keys::to_bytes(&all), file::PUBLIC)
            .map_err(AuthorityError::io(&path))?;
        // 3. The record.
        if progress(PolicyKeyStep::Publish).is_break() {
            return Ok(PolicyKeyRolled::Stopped(PolicyKeyStep::Publish));
        }
        let mut facts = key_facts(&key);
        if let Some(second) = next.second() {
            facts["second"] = second_facts(second);
        }
        self.policy_key_told(&label, "prepared", &facts).await?;
        for row in rows {
            turn.put_policy_key(&row).await?;
        }
        let state = KeyState::PreActivation;
        let row = PolicyKeyRow { label, position, state, since: core.now() };
        turn.put_policy_key(&row).await?;
        self.settle(turn).await?;
        Ok(done(&row.label))
    }

    /// Lets the prepared key sign from now on, the one before no more, and hands the policy in force on as the next version, signed
    /// by it. Done before: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where a published policy is not in force yet, or the one in force could not be signed again.
    //= specs/house.md#house-policy
    //# A crash at any point of a change of the policy key MUST leave a key that can sign the next policy, and every device able to follow.
    pub async fn activate_policy_key(
        &self,
        mut progress: impl FnMut(PolicyKeyStep) -> ControlFlow<()> + Send,
    ) -> Result<PolicyKeyRolled, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let mut turn = core.store.exclusive().await?;
        let recorded = turn.issuing().await?;
        let authorities = core.authorities_as(&recorded)?;
        let rows = policy_keys(recorded.policy_keys);
        let mut label = None;
        if let Some(next) = rows.iter().find(|row| row.state == KeyState::PreActivation) {
            // 1. What follows must be possible before the old key is let go.
            if core.layout.policy_next().exists() {
                return Err(refused(
                    "a policy was published and is not in force yet: start `serve`, or publish one that can be in force, and roll the key then".to_owned(),
                ));
            }
            if let Some(policy) = self.policy_again(&authorities).await? {
                self.check(&policy).map_err(|reason| {
                    refused(format!(
                        "the policy in force cannot be signed again: {reason}; publish a newer one first"
                    ))
                })?;
            }
            // 2. The ledger and the record.
            if progress(PolicyKeyStep::Activate).is_break() {
                return Ok(PolicyKeyRolled::Stopped(PolicyKeyStep::Activate));
            }
            let before = rows.iter().filter(|row| row.state == KeyState::Active);
            let replaces: Vec<_> = before.clone().map(|row| row.label.as_str()).collect();
            let what = json!({ "replaces": replaces });
            self.policy_key_told(&next.label, "activated", &what).await?;
            let now = core.now();
            for row in before {
                let state = after(row.state, KeyEvent::Deactivate)?;
                turn.put_policy_key(&PolicyKeyRow { state, since: now, ..row.clone() }).await?;
            }
            let state = after(next.state, KeyEvent::Activate)?;
            turn.put_policy_key(&PolicyKeyRow { state, since: now, ..next.clone() }).await?;
            label = Some(next.label.clone());
            self.settle(turn).await?;
        } else {
            drop(turn);
        }
        // 3. A policy by it, unless there is one: devices learn the key from that.
        let authorities = core.authorities()?;
        let layout = &core.layout;
        if signed_by(&authorities, &layout.policy_next())
            || signed_by(&authorities, &layout.policy())
        {
            return Ok(PolicyKeyRolled::Done { label, published: None });
        }
        let Some(policy) = self.policy_again(&authorities).await? else {
            return Ok(PolicyKeyRolled::Done { label, published: None });
        };
        if progress(PolicyKeyStep::Sign).is_break() {
            return Ok(PolicyKeyRolled::Stopped(PolicyKeyStep::Sign));
        }
        let signed = self.sign_policy(&policy).await?;
        if progress(PolicyKeyStep::Hand).is_break() {
            return Ok(PolicyKeyRolled::Stopped(PolicyKeyStep::Hand));
        }
        let published = Some(self.publish_policy(&signed.document).await?);
        Ok(PolicyKeyRolled::Done { label, published })
    }

    /// Destroys the private keys that sign no more, once a policy by their successor is in force at the gateway. What they signed
    /// stays valid for whoever follows their successors.
    ///
    /// # Errors
    /// [`AuthorityError`].
    //= specs/en-303-645.md#5.5-8
    //# Decommissioning MUST destroy what is no longer needed.
    pub async fn retire_policy_key(
        &self,
        mut progress: impl FnMut(PolicyKeyStep) -> ControlFlow<()> + Send,
    ) -> Result<PolicyKeyRolled, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let mut turn = core.store.exclusive().await?;
        let recorded = turn.issuing().await?;
        let authorities = core.authorities_as(&recorded)?;
        let mut rows = policy_keys(recorded.policy_keys);
        rows.retain(|row| row.state == KeyState::Deactivated);
        let seconds = self.left_second_keys(&authorities)?;
        let path = core.layout.policy();
        let waits = !rows.is_empty() || !seconds.is_empty();
        if waits && path.exists() && !signed_by(&authorities, &path) {
            return Ok(PolicyKeyRolled::Awaited);
        }
        let (mut label, mut stopped) = (None, false);
        for row in rows {
            if progress(PolicyKeyStep::Retire).is_break() {
                stopped = true;
                break;
            }
            self.policy_key_told(&row.label, "retired", &Value::Null).await?;
            core.keys.destroy(&row.label)?;
            let state = after(row.state, KeyEvent::Destroy)?;
            turn.put_policy_key(&PolicyKeyRow { state, since: core.now(), ..row.clone() }).await?;
            label = Some(row.label);
        }
        for second in seconds {
            stopped = stopped || progress(PolicyKeyStep::Retire).is_break();
            if stopped {
                break;
            }
            self.policy_key_told(&second, "retired", &Value::Null).await?;
            core.keys.destroy(&second)?;
            label.get_or_insert(second);
        }
        self.settle(turn).await?;
        Ok(match stopped {
            true => PolicyKeyRolled::Stopped(PolicyKeyStep::Retire),
            false => PolicyKeyRolled::Done { label, published: None },
        })
    }

    /// Labels of the keys of second signatures that sign no more and are still here.
    fn left_second_keys(&self, authorities: &Authorities) -> Result<Vec<String>, AuthorityError> {
        let (signing, _) = authorities.second_policy_key();
        let labels = authorities.second_policy_keys().iter().map(|(place, _)| second_label(*place));
        let mut left = Vec::new();
        for label in labels.take_while(|label| *label != signing) {
            if self.core.keys.load_second(&label)?.is_some() {
                left.push(label);
            }
        }
        Ok(left)
    }

    /// Where every policy key stands. Nothing is changed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn policy_key_status(&self) -> Result<Vec<PolicyKeyStatus>, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let recorded = core.store.issuing().await?;
        let authorities = core.authorities_as(&recorded)?;
        let in_force = std::fs::read(core.layout.policy()).ok();
        let in_force = in_force.and_then(|document| authorities.verify_policy(&document).ok());
        let signer = in_force.map(|(_, key)| key);
        let rows = policy_keys(recorded.policy_keys);
        let second = |position: u64| {
            let mut all = authorities.second_policy_keys().iter();
            let found = all.find(|(place, _)| *place == position);
            found.map(|(_, key)| PolicyKeyId::of(key).to_string())
        };
        Ok(rows
            .into_iter()
            .zip(authorities.policy_keys())
            .map(|(row, spki)| PolicyKeyStatus {
                second_key_sha256: second(row.position),
                label: row.label,
                position: row.position,
                state: row.state,
                algorithm: SignatureAlgorithm::of_spki(spki).map(SignatureAlgorithm::name),
                key_sha256: PolicyKeyId::of(spki).to_string(),
                in_force: signer.as_ref() == Some(spki),
            })
            .collect())
    }

    /// The policy in force as the next version; none where nothing is in force yet.
    async fn policy_again(
        &self,
        authorities: &Authorities,
    ) -> Result<Option<Policy>, AuthorityError> {
        let path = self.core.layout.policy();
        let document = match std::fs::read(&path) {
            Ok(document) => document,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AuthorityError::Io { path, source }),
        };
        let verified = authorities.verify_policy(&document);
        let (verified, _) = verified
            .map_err(|error| AuthorityError::Damaged { path, detail: error.to_string() })?;
        let mut policy = verified.into_policy();
        policy.version = self.highest_version().await? + 1;
        Ok(Some(policy))
    }

    /// The present one's where the policy in force lets documents be signed by it without end, else what that prefers.
    fn policy_key_algorithm(
        &self,
        authorities: &Authorities,
        wanted: Option<SignatureAlgorithm>,
    ) -> Result<SignatureAlgorithm, AuthorityError> {
        let allowed = Signatures::of_documents(&*self.core.policy_in_force()?);
        let lasts = |algorithm: &SignatureAlgorithm| allowed.lasts(*algorithm) != Lasts::Ended;
        if let Some(wanted) = wanted {
            return Some(wanted).filter(lasts).ok_or_else(|| {
                refused(format!(
                    "the policy in force allows no document signed with {wanted}: name it under document-signing first"
                ))
            });
        }
        let present = authorities.policy().algorithm();
        let present = Some(present).filter(|one| allowed.lasts(*one) == Lasts::Open);
        present.or_else(|| allowed.for_new(self.core.now(), Validity::FOREVER)).ok_or_else(|| {
            refused("the policy in force allows no signature over documents".to_owned())
        })
    }

    async fn policy_key_told(
        &self,
        label: &str,
        step: &str,
        what: &Value,
    ) -> Result<(), AuthorityError> {
        let body = json!({"label": label, "step": step, "what": what});
        self.core.record(Kind::PolicyKeyRolled, body).await.map(|_| ())
    }
}

fn done(label: &str) -> PolicyKeyRolled {
    PolicyKeyRolled::Done { label: Some(label.to_owned()), published: None }
}

/// Whether the document in a file is by the key that signs now.
fn signed_by(authorities: &Authorities, path: &std::path::Path) -> bool {
    let key = authorities.policy().spki_der();
    std::fs::read(path).is_ok_and(|document| VerifiedPolicy::verify(&document, key).is_ok())
}

/// Every policy key, oldest first; before the first roll the one of the ceremony.
pub(crate) fn policy_keys(recorded: Vec<PolicyKeyRow>) -> Vec<PolicyKeyRow> {
    if !recorded.is_empty() {
        return recorded;
    }
    let (label, state, since) = (POLICY.to_owned(), KeyState::Active, Timestamp(0));
    vec![PolicyKeyRow { label, position: 0, state, since }]
}

#[cfg(test)]
mod tests;
