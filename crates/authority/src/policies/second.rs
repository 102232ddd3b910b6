//! The second, post-quantum key of policies: made once, recorded, and used from the first policy that names it.

use countersign_crypto::cose::{CoseError, DocumentKeys};
use countersign_crypto::digest::sha256;
use countersign_crypto::keystore::KeystoreError;
use countersign_crypto::policy::{Policy, VerifiedPolicy};
use countersign_crypto::second::{SecondAlgorithm, SecondKey};
use countersign_crypto::signature::SignatureError;
use serde_json::{Value, json};

use crate::authorities::{Authorities, second_label};
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;

/// One algorithm for the life of a folder, since devices are given one key in the factory: security category 3, which is
/// above the classical key's strength and half the size of category 5.
const ALGORITHM: SecondAlgorithm = SecondAlgorithm::FOR_POLICIES;

impl Authority {
    /// The key under which devices and gateways verify the second signatures of policies, SubjectPublicKeyInfo DER; made and
    /// recorded if it is not there. `None` where the provider has no such algorithm, or the keys are in a token.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony; [`AuthorityError::Keystore`], [`AuthorityError::Ledger`].
    pub async fn second_policy_verification_key(&self) -> Result<Option<Vec<u8>>, AuthorityError> {
        let authorities = self.core.authorities()?;
        let (label, named) = authorities.second_policy_key();
        if let Some(key) = named {
            return Ok(Some(key.to_vec()));
        }
        if let Some(key) = self.core.keys.load_second(&label)? {
            return Ok(Some(key.spki_der().to_vec()));
        }
        let _turn = self.core.store.exclusive().await?;
        match self.second_key(&authorities).await {
            Ok(key) => Ok(Some(key.spki_der().to_vec())),
            Err(AuthorityError::Keystore(
                KeystoreError::NoSecond(_)
                | KeystoreError::Signature(SignatureError::NotOffered(_)),
            )) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first key of second signatures, SubjectPublicKeyInfo DER: whoever holds it beside the first policy key follows every policy
    /// that this authority signed. It is gone when it was rolled, and its public half stands in the statement about its successor.
    ///
    /// # Errors
    /// As [`Authority::second_policy_verification_key`].
    pub async fn first_second_policy_key(&self) -> Result<Option<Vec<u8>>, AuthorityError> {
        match self.core.authorities()?.second_policy_keys().first() {
            Some((_, first)) => Ok(Some(first.clone())),
            None => self.second_policy_verification_key().await,
        }
    }

    /// The key that signs now; the first one is made if it is not there, and in the ledger even if a kill came between. For whoever
    /// has the turn.
    //= specs/en-303-645.md#5.5-8
    //# Generation MUST leave a record.
    async fn second_key(&self, authorities: &Authorities) -> Result<SecondKey, AuthorityError> {
        let (label, named) = authorities.second_policy_key();
        let stored = self.core.keys.load_second(&label)?;
        if let Some(named) = named {
            return stored.filter(|key| key.spki_der() == named).ok_or_else(|| {
                AuthorityError::Damaged {
                    path: self.core.layout.keys().join(&label),
                    detail: "not the second policy key that policy-keys.cose names: restore it from backup"
                        .to_owned(),
                }
            });
        }
        let key = match stored {
            Some(key) => key,
            None => self.core.keys.generate_second(&label, ALGORITHM)?,
        };
        let entries = self.ledger_entries().await?;
        if !entries.iter().any(|entry| entry.kind == Kind::SecondPolicyKey) {
            self.core.record(Kind::SecondPolicyKey, second_facts(&key)).await?;
        }
        Ok(key)
    }

    /// The key of second signatures that follows the present one, in that place: what a killed run left, or a new one.
    pub(crate) fn next_second_key(&self, place: u64) -> Result<SecondKey, AuthorityError> {
        let label = second_label(place);
        match self.core.keys.load_second(&label)? {
            Some(key) => Ok(key),
            None => Ok(self.core.keys.generate_second(&label, ALGORITHM)?),
        }
    }

    /// What signs this policy: both keys when it names a second signature, and ever after. A device may go from the first
    /// policy that asks its successor for two straight to any later one.
    ///
    /// # Errors
    /// [`AuthorityError::Policy`] where two are needed and cannot be had.
    pub(super) async fn document_keys(
        &self,
        authorities: &Authorities,
        policy: &Policy,
    ) -> Result<DocumentKeys, AuthorityError> {
        let keys = DocumentKeys::new(authorities.policy().clone());
        if !self.second_needed(policy).await? {
            return Ok(keys);
        }
        let refused =
            |why: String| AuthorityError::Policy(format!("document-signing.second: {why}"));
        let second = match self.second_key(authorities).await {
            Ok(second) => second,
            Err(AuthorityError::Keystore(error)) => return Err(refused(error.to_string())),
            Err(error) => return Err(error),
        };
        let (named, ours) = (&policy.document_signing.second, second.algorithm().name());
        if !named.is_empty() && named.iter().all(|item| item.name != ours) {
            return Err(refused(format!("the second policy key here is {ours}: name that")));
        }
        Ok(keys.with_second(second))
    }

    /// What signs that another policy key follows the present one: both keys from the first policy on that bore two signatures,
    /// since a device whose policy asks for two takes no key without; and both where the second one changes too.
    pub(crate) async fn statement_keys(
        &self,
        authorities: &Authorities,
        second_changes: bool,
    ) -> Result<DocumentKeys, AuthorityError> {
        let keys = DocumentKeys::new(authorities.policy().clone());
        match second_changes || self.second_used().await? {
            true => Ok(keys.with_second(self.second_key(authorities).await?)),
            false => Ok(keys),
        }
    }

    async fn second_needed(&self, policy: &Policy) -> Result<bool, AuthorityError> {
        Ok(!policy.document_signing.second.is_empty() || self.second_used().await?)
    }

    /// Whether any policy was ever signed twice.
    async fn second_used(&self) -> Result<bool, AuthorityError> {
        let entries = self.ledger_entries().await?;
        let mut signed = entries.iter().filter(|entry| entry.kind == Kind::PolicySigned);
        Ok(signed.any(|entry| entry.body.get("second").is_some_and(|second| !second.is_null())))
    }

    /// Before publishing: the second signature is there and ours, where it is needed.
    pub(super) async fn check_second(
        &self,
        verified: &VerifiedPolicy,
    ) -> Result<(), (Option<u64>, String)> {
        let version = verified.policy().version;
        let failed = |error: AuthorityError| (Some(version), error.to_string());
        if !self.second_needed(verified.policy()).await.map_err(failed)? {
            return Ok(());
        }
        let authorities = self.core.authorities().map_err(failed)?;
        let (label, named) = authorities.second_policy_key();
        let ours = match named {
            Some(named) => Some(named.to_vec()),
            None => {
                let stored = self.core.keys.load_second(&label);
                let stored = stored.map_err(|error| failed(error.into()))?;
                stored.map(|key| key.spki_der().to_vec())
            }
        };
        let wrong = match (verified.second_spki_der(), ours) {
            (None, _) => CoseError::SecondMissing,
            (Some(key), Some(ours)) if key == ours => return Ok(()),
            (Some(_), _) => CoseError::SecondKey,
        };
        Err((Some(version), wrong.to_string()))
    }
}

/// What the ledger says of such a key.
pub(crate) fn second_facts(key: &SecondKey) -> Value {
    json!({"algorithm": key.algorithm().name(), "spki_sha256": hex::encode(sha256(key.spki_der()))})
}

#[cfg(test)]
mod tests;
