//! Crypto policies: signed with the policy key after every check, and handed to whoever serves.
//!
//! ```text
//!  policy.toml ─► sign ─► ledger ─► VERSION.cose ─► publish ─► ledger ─► policy/next.cose ─► serve: try, activate
//!                   └ refused, and that is in the ledger too ┘                policy/outcome.json ◄─┘
//! ```
//! A kill at any point leaves whole files: `next.cose` stays until `serve` has done with it, and what it does with it twice it
//! does once.

use std::path::{Path, PathBuf};

use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::policy::{
    self, CompiledPolicy, Policy, PolicyDigest, PolicyKeyId, SignedPolicyError, VerifiedPolicy,
};
use countersign_model::time::{Day, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::authority::{Authority, Layout};
use crate::error::AuthorityError;
use crate::ledger::Kind;

/// Signed policies that stay in the folder beside the one in force, newest versions first: more than a gateway keeps.
const MAX_ARCHIVED: usize = 32;

/// Where policies lie in a data folder.
impl Layout {
    fn policy_file(&self, name: &str) -> PathBuf {
        self.policy().with_file_name(name)
    }

    /// The policy that was published and waits for `serve`.
    #[must_use]
    pub fn policy_next(&self) -> PathBuf {
        self.policy_file("next.cose")
    }

    /// What became of the last one.
    #[must_use]
    pub fn policy_outcome(&self) -> PathBuf {
        self.policy_file("outcome.json")
    }

    /// The public half of the policy key that signed the policy in force, SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn policy_key(&self) -> PathBuf {
        self.policy_file("policy-key.spki")
    }

    /// The public half of the key of second signatures, SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn second_policy_key(&self) -> PathBuf {
        self.policy_file("policy-key-second.spki")
    }

    /// A signed policy of this version, kept.
    #[must_use]
    pub fn policy_version(&self, version: u64) -> PathBuf {
        self.policy_file(&format!("{version:08}.cose"))
    }
}

/// A policy that was signed.
#[derive(Debug, Clone)]
pub struct SignedPolicy {
    /// COSE.
    pub document: Vec<u8>,
    /// Its version.
    pub version: u64,
    /// Which policy it is.
    pub digest: PolicyDigest,
}

/// What became of a published policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOutcome {
    /// SHA-256 of the document, hexadecimal.
    pub document_sha256: String,
    /// Its version, where it could be read.
    pub version: Option<u64>,
    /// The word: `activated`, `trial-failed`, or that of a refusal.
    pub word: String,
    /// For people.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

impl PolicyOutcome {
    /// Whether the policy is in force.
    #[must_use]
    pub fn activated(&self) -> bool {
        self.word == "activated"
    }
}

impl Authority {
    /// Signs a crypto policy for this maker, in the ledger before anybody sees it. The same policy again is signed again;
    /// another one of a version that was signed before is not.
    ///
    /// # Errors
    /// [`AuthorityError::Policy`] with the field and the mend, recorded in the ledger.
    //= specs/house.md#house-policy
    //# A policy MUST be in the ledger before its signature is handed out.
    pub async fn sign_policy(&self, policy: &Policy) -> Result<SignedPolicy, AuthorityError> {
        self.sign(policy, false).await
    }

    async fn sign(&self, policy: &Policy, first: bool) -> Result<SignedPolicy, AuthorityError> {
        // One at a time, in all processes: two must not sign one version.
        let mut turn = self.core.store.exclusive().await?;
        // 1. For us, possible, and not over.
        if let Err(reason) = self.check(policy) {
            return Err(self.refuse("signing", Some(policy.version), reason).await?);
        }
        // 2. Signed; the public halves verify it before anybody else sees it.
        self.core.authorities()?;
        // As this turn sees them: the policy key may have been rolled a moment ago.
        let authorities = self.core.authorities_as(&turn.issuing().await?)?;
        let keys = match self.document_keys(&authorities, policy).await {
            Ok(keys) => keys,
            Err(AuthorityError::Policy(reason)) => {
                return Err(self.refuse("signing", Some(policy.version), reason).await?);
            }
            Err(error) => return Err(error),
        };
        let refused = |error: SignedPolicyError| AuthorityError::Policy(error.to_string());
        //= specs/house.md#house-policy
        //# A device that slept through changes of the policy key MUST be able to take the newest policy by the key that it holds.
        let signed = policy::sign_document(policy, &keys).map_err(refused)?;
        let document = policy::keys::with_changes(authorities.policy_key_changes(), signed)
            .map_err(|error| refused(error.into()))?;
        let verified = VerifiedPolicy::verify_document(&document, &keys.verifier())
            .map_err(|_| AuthorityError::Mismatch)?;
        // Also by whoever has slept since the first key.
        VerifiedPolicy::verify(&document, authorities.first_policy_key())
            .map_err(|_| AuthorityError::Mismatch)?;
        let (version, digest) = (policy.version, verified.digest());
        // 3. Newer than everything that was ever signed here.
        let signed = self.signed_policies().await?;
        let highest = signed.iter().map(|(version, _)| *version).max().unwrap_or(0);
        let again = signed.contains(&(version, digest.to_string()));
        if version <= highest && !again && !first {
            let reason = format!(
                "version = {version}: version {highest} was signed before: write {} or more",
                highest + 1
            );
            return Err(self.refuse("signing", Some(version), reason).await?);
        }
        // 4. Recorded.
        let body = json!({
            "version": version, "policy_sha256": digest.to_string(), "document_sha256": hash(&document),
            "second": keys.second().map(|key| key.algorithm().name()),
            "key_sha256": PolicyKeyId::of(keys.classical().spki_der()).to_string(),
        });
        self.core.record(Kind::PolicySigned, body).await?;
        Ok(SignedPolicy { document, version, digest })
    }

    /// Hands a signed policy to `serve`, which takes it up at once or at its next start.
    ///
    /// # Errors
    /// [`AuthorityError::Policy`], recorded in the ledger.
    pub async fn publish_policy(&self, document: &[u8]) -> Result<SignedPolicy, AuthorityError> {
        let _turn = self.core.store.exclusive().await?;
        let (version, digest) = match self.checked(document).await {
            Ok(checked) => checked,
            Err((version, reason)) => {
                return Err(self.refuse("publishing", version, reason).await?);
            }
        };
        let layout = &self.core.layout;
        let body = json!({
            "version": version, "policy_sha256": digest.to_string(), "document_sha256": hash(document),
        });
        self.core.record(Kind::PolicyPublished, body).await?;
        write(&layout.policy_version(version), document)?;
        self.keep_few(layout)?;
        write(&layout.policy_next(), document)?;
        Ok(SignedPolicy { document: document.to_vec(), version, digest })
    }

    /// The policy with which a new data folder begins to serve: the build's, for this maker. It is what every device begins
    /// with, so that it may be signed even if a newer one waits already.
    ///
    /// # Errors
    /// As [`Authority::sign_policy`].
    pub async fn first_policy(&self) -> Result<SignedPolicy, AuthorityError> {
        let mut policy = Policy::built_in();
        policy.maker = Some(self.maker()?);
        self.sign(&policy, true).await
    }

    /// Records what became of a policy where it was to be used, and tells whoever published it.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`], [`AuthorityError::Io`].
    pub async fn record_policy(
        &self,
        document: &[u8],
        version: Option<u64>,
        word: &str,
        text: &str,
    ) -> Result<PolicyOutcome, AuthorityError> {
        let outcome = PolicyOutcome {
            document_sha256: hash(document),
            version,
            word: word.to_owned(),
            text: text.to_owned(),
            at: self.core.now(),
        };
        let kind = match word {
            "activated" => Kind::PolicyActivated,
            "proven" => Kind::PolicyProven,
            _ => Kind::PolicyRefused,
        };
        let body = json!({
            "by": "gateway", "version": version, "word": word, "reason": text,
            "document_sha256": outcome.document_sha256,
        });
        self.core.record(kind, body).await?;
        if kind != Kind::PolicyProven {
            let text = serde_json::to_vec_pretty(&outcome).expect("numbers and text are JSON");
            write(&self.core.layout.policy_outcome(), &text)?;
        }
        Ok(outcome)
    }

    /// Shows a policy as the one in force, which certificates and enrolment follow, and the key that signed it; the policy before
    /// stays beside it as `current.cose.prev`. Whoever calls this has put it in force.
    ///
    /// # Errors
    /// [`AuthorityError::Io`].
    pub fn show_policy(&self, document: &[u8]) -> Result<(), AuthorityError> {
        let path = self.core.layout.policy();
        // The keys first: they are looked at again until all are there.
        let authorities = self.core.authorities()?;
        let verified = authorities.verify_policy(document).ok();
        let second = verified.as_ref().and_then(|(policy, _)| policy.second_spki_der());
        // A policy that bears no second signature says nothing of the key: then it is the one that signs the next.
        let second = second.or(authorities.second_policy_key().1).map(<[u8]>::to_vec);
        let folder = path.parent().unwrap_or(Path::new("."));
        file::private_folder(folder).map_err(AuthorityError::io(folder))?;
        let keys = [
            (self.core.layout.policy_key(), verified.map(|(_, key)| key)),
            (self.core.layout.second_policy_key(), second),
        ];
        for (path, key) in keys {
            let key = key.filter(|key| std::fs::read(&path).ok().as_ref() != Some(key));
            if let Some(key) = key {
                file::write_keeping_previous(&path, &key, file::PUBLIC)
                    .map_err(AuthorityError::io(&path))?;
            }
        }
        if std::fs::read(&path).is_ok_and(|current| current == document) {
            return Ok(());
        }
        file::write_keeping_previous(&path, document, file::PUBLIC)
            .map_err(AuthorityError::io(&path))
    }

    /// Fields that the signer answers for, each with its mend.
    pub(crate) fn check(&self, policy: &Policy) -> Result<(), String> {
        let maker = self.core.authorities().ok().and_then(|a| a.root().subject_organisation());
        let maker = maker.unwrap_or_default();
        match &policy.maker {
            None => {
                return Err(format!(
                    "maker: is missing: write maker = {maker:?}, as the ceremony plan has it"
                ));
            }
            Some(other) if *other != maker => {
                return Err(format!("maker = {other:?}: this authority signs for {maker:?} alone"));
            }
            Some(_) => {}
        }
        let now = self.core.now();
        let compiled = CompiledPolicy::compile(policy.clone(), Day::of(now)).map_err(|faults| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
        if compiled.expires() < now {
            return Err(format!(
                "expires: the policy was over at {}",
                compiled.expires().to_rfc3339()
            ));
        }
        Ok(())
    }

    /// A document that may be published: ours, in the ledger, newer than what is in force.
    async fn checked(&self, document: &[u8]) -> Result<(u64, PolicyDigest), (Option<u64>, String)> {
        let failed = |error: AuthorityError| (None, error.to_string());
        let authorities = self.core.authorities().map_err(failed)?;
        let verified = VerifiedPolicy::verify(document, authorities.policy().spki_der())
            .map_err(|error| (None, format!("{error}: sign it with the policy key of now")))?;
        let (version, digest) = (verified.policy().version, verified.digest());
        let refused = |reason: String| (Some(version), reason);
        self.check(verified.policy()).map_err(refused)?;
        let signed = self.signed_policies().await.map_err(failed)?;
        if !signed.contains(&(version, digest.to_string())) {
            return Err(refused(format!(
                "version {version} is not in this folder's ledger: sign it here with `countersign policy sign`"
            )));
        }
        self.check_second(&verified).await?;
        let current = std::fs::read(self.core.layout.policy()).ok();
        let current = current.and_then(|current| authorities.verify_policy(&current).ok());
        match current.map(|(current, _)| current) {
            Some(current) if version <= current.policy().version && digest != current.digest() => {
                Err(refused(format!(
                    "version {version} is not newer than version {}, which is in force",
                    current.policy().version
                )))
            }
            Some(current) if digest == current.digest() => {
                Err(refused(format!("version {version} is in force already")))
            }
            _ => Ok((version, digest)),
        }
    }

    /// The highest version that was ever signed here.
    pub(crate) async fn highest_version(&self) -> Result<u64, AuthorityError> {
        let signed = self.signed_policies().await?;
        Ok(signed.iter().map(|(version, _)| *version).max().unwrap_or(0))
    }

    /// Versions and digests of every policy that was ever signed here.
    async fn signed_policies(&self) -> Result<Vec<(u64, String)>, AuthorityError> {
        let entries = self.ledger_entries().await?;
        let signed = entries.iter().filter(|entry| entry.kind == Kind::PolicySigned);
        Ok(signed
            .filter_map(|entry| {
                let digest = entry.body.get("policy_sha256").and_then(Value::as_str);
                Some((entry.body.get("version")?.as_u64()?, digest.unwrap_or_default().to_owned()))
            })
            .collect())
    }

    //= specs/house.md#house-policy
    //# A refused policy MUST be recorded with its reason.
    async fn refuse(
        &self,
        by: &str,
        version: Option<u64>,
        reason: String,
    ) -> Result<AuthorityError, AuthorityError> {
        let body = json!({"by": by, "version": version, "reason": reason});
        self.core.record(Kind::PolicyRefused, body).await?;
        Ok(AuthorityError::Policy(reason))
    }

    fn keep_few(&self, layout: &Layout) -> Result<(), AuthorityError> {
        let path = layout.policy();
        let folder = path.parent().unwrap_or(Path::new("."));
        let entries = std::fs::read_dir(folder).map_err(AuthorityError::io(folder))?;
        let mut versions: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                name.to_str()?.strip_suffix(".cose")?.parse().ok()
            })
            .collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for version in versions.into_iter().skip(MAX_ARCHIVED) {
            let path = layout.policy_version(version);
            std::fs::remove_file(&path).map_err(AuthorityError::io(&path))?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    file::private_folder(folder).map_err(AuthorityError::io(folder))?;
    file::write_atomic(path, bytes, file::PUBLIC).map_err(AuthorityError::io(path))
}

fn hash(document: &[u8]) -> String {
    hex::encode(sha256(document))
}

mod second;

pub(crate) use self::second::second_facts;

#[cfg(test)]
mod tests;
