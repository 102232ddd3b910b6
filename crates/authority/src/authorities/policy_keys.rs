//! The policy keys, as ceremony and rolls left them: keys in the keystore, the statements between them in `policy-keys.cose`.

use std::path::{Path, PathBuf};

use countersign_crypto::keystore::Keystore;
use countersign_crypto::policy::{self, SignedPolicyError, VerifiedPolicy};
use countersign_crypto::signature::KeyHandle;

use super::{Authorities, SECOND_POLICY};
use crate::error::AuthorityError;
use crate::rotation::{self, KeyState};
use crate::store::Issuing;

/// The policy keys of this maker.
#[derive(Debug, Clone)]
pub(super) struct PolicyKeys {
    /// It signs.
    active: KeyHandle,
    /// The statements that lead to it from the first.
    changes: Vec<Vec<u8>>,
    /// All of them, the first one first.
    known: Vec<Vec<u8>>,
    /// Every key of second signatures and the place from which it signs, also one that is to sign; none where it never changed.
    seconds: Vec<(u64, Vec<u8>)>,
    /// The active key's place.
    place: u64,
}

impl Authorities {
    /// The key that signs policies.
    pub(crate) fn policy(&self) -> &KeyHandle {
        &self.policy.active
    }

    /// The statements that lead from the first policy key to the one that signs.
    pub(crate) fn policy_key_changes(&self) -> &[Vec<u8>] {
        &self.policy.changes
    }

    /// Every policy key, also one that is to sign, SubjectPublicKeyInfo DER.
    pub(crate) fn policy_keys(&self) -> &[Vec<u8>] {
        &self.policy.known
    }

    /// The policy key of the ceremony, SubjectPublicKeyInfo DER: whoever holds it follows every policy that this authority signed.
    #[must_use]
    pub fn first_policy_key(&self) -> &[u8] {
        &self.policy.known[0]
    }

    /// The key of second signatures that signs now, SubjectPublicKeyInfo DER, and the keystore's label of it; no key where it never
    /// changed.
    pub(crate) fn second_policy_key(&self) -> (String, Option<&[u8]>) {
        let mut signing =
            self.policy.seconds.iter().rev().filter(|(place, _)| *place <= self.policy.place);
        match signing.next() {
            Some((place, key)) => (second_label(*place), Some(key)),
            None => (second_label(0), None),
        }
    }

    /// Every key of second signatures, SubjectPublicKeyInfo DER, and the place of the policy key with which it came, also one that is
    /// to sign; none where it never changed.
    pub(crate) fn second_policy_keys(&self) -> &[(u64, Vec<u8>)] {
        &self.policy.seconds
    }

    /// A policy that this authority signed, by the key that signs now or by one before; with the key that signed it.
    ///
    /// # Errors
    /// [`SignedPolicyError`]: what the key that signs now says of it.
    pub fn verify_policy(
        &self,
        document: &[u8],
    ) -> Result<(VerifiedPolicy, Vec<u8>), SignedPolicyError> {
        let mut error = None;
        for key in self.policy.known[..=self.policy.changes.len()].iter().rev() {
            match VerifiedPolicy::verify(document, key) {
                Ok(verified) => {
                    let signer = verified.way().last().map_or(key, |step| &step.spki_der);
                    let signer = signer.clone();
                    return Ok((verified, signer));
                }
                Err(refused) => error = error.or(Some(refused)),
            }
        }
        Err(error.expect("there is a first policy key"))
    }
}

impl PolicyKeys {
    /// All of them, the first one first, SubjectPublicKeyInfo DER.
    pub(super) fn known(&self) -> &[Vec<u8>] {
        &self.known
    }

    pub(super) fn load(
        folder: &Path,
        keys: &Keystore,
        recorded: &Issuing,
    ) -> Result<Self, AuthorityError> {
        let path = policy_keys_file(folder);
        let damaged = |detail: &str| AuthorityError::Damaged {
            path: path.clone(),
            detail: detail.to_owned(),
        };
        let rows = rotation::policy_key::policy_keys(recorded.policy_keys.clone());
        let mut active = rows.iter().filter(|row| row.state == KeyState::Active);
        let (Some(row), None) = (active.next(), active.next()) else {
            return Err(damaged("not exactly one policy key is active"));
        };
        let active = keys.require(&row.label)?;
        let mut changes = read(folder)?;
        let mut known =
            policy::keys::named(&changes).map_err(|error| damaged(&error.to_string()))?;
        if known.is_empty() {
            known.push(active.spki_der().to_vec());
        }
        let place = usize::try_from(row.position).unwrap_or(usize::MAX);
        if known.get(place).map(Vec::as_slice) != Some(active.spki_der()) {
            return Err(damaged("it does not lead to the policy key that signs"));
        }
        let seconds =
            policy::keys::named_seconds(&changes).map_err(|error| damaged(&error.to_string()))?;
        changes.truncate(place);
        Ok(Self { active, changes, known, seconds, place: row.position })
    }
}

/// The keystore's label of the key of second signatures that came with the policy key of that place.
pub(crate) fn second_label(place: u64) -> String {
    match place {
        0 => SECOND_POLICY.to_owned(),
        place => format!("{SECOND_POLICY}-{}", place + 1),
    }
}

/// Where the statements lie by which policy keys name their successors.
pub(crate) fn policy_keys_file(folder: &Path) -> PathBuf {
    folder.join("policy-keys.cose")
}

/// The statements by which policy keys name their successors, the first one first; none before the first roll.
fn read(folder: &Path) -> Result<Vec<Vec<u8>>, AuthorityError> {
    let path = policy_keys_file(folder);
    match std::fs::read(&path) {
        Ok(bytes) => policy::keys::from_bytes(&bytes)
            .map_err(|error| AuthorityError::Damaged { path, detail: error.to_string() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(AuthorityError::Io { path, source }),
    }
}
