//! Human judgement: a statement about one unit, with a reason, signed by an assessor whose key is known.
//!
//! A statement holds for one declaration only: it carries that declaration's hash. It can decide what is
//! otherwise unknown; it cannot outweigh something that was seen to fail.

use crate::verdict::Verdict;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use countersign_model::time::Timestamp;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an assessor says about one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Test case and unit, for example `5.5-1-1 a`.
    pub unit: String,
    /// The row that it is about; none: every row of the unit.
    pub subject: Option<String>,
    /// Only PASS and FAIL can be stated.
    pub verdict: Verdict,
    /// Why, in at least a sentence.
    pub reason: String,
    /// The assessor's name, as in the list of known keys.
    pub assessor: String,
    /// SHA-256 of the declaration's JSON form, in hexadecimal.
    pub declaration_sha256: String,
    /// When it was made.
    pub at: Timestamp,
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// What is stated.
    pub statement: Statement,
    /// ECDSA P-256 with SHA-256 over the statement's compact JSON form, ASN.1, hexadecimal.
    pub signature: String,
}

/// Names of assessors and their public keys (uncompressed P-256 points, hexadecimal).
pub type KnownAssessors = BTreeMap<String, String>;

/// Why a statement cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is not usable.
    #[error("the assessor's key must be a P-256 key as PKCS#8 PEM")]
    Key,
    /// The statement would never count.
    #[error("{0}")]
    Statement(&'static str),
}

impl Statement {
    /// Signs with a P-256 key in PKCS#8 PEM. Gives the statement and the public key, hexadecimal.
    ///
    /// # Errors
    /// [`SignError`] when the key is unusable or the statement says nothing.
    pub fn sign(self, key_pem: &str) -> Result<(SignedStatement, String), SignError> {
        self.is_sound().map_err(SignError::Statement)?;
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| SignError::Key)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_pkcs8_der())
                .map_err(|_| SignError::Key)?;
        let signature =
            pair.sign(&SystemRandom::new(), &self.bytes()).map_err(|_| SignError::Key)?;
        let public = hex::encode(pair.public_key().as_ref());
        Ok((
            SignedStatement { statement: self, signature: hex::encode(signature.as_ref()) },
            public,
        ))
    }

    fn is_sound(&self) -> Result<(), &'static str> {
        if !matches!(self.verdict, Verdict::Pass | Verdict::Fail) {
            return Err("a statement says PASS or FAIL; not knowing needs no statement");
        }
        if self.reason.trim().len() < 20 {
            return Err("a statement needs its reason, in at least a sentence");
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers only, so JSON can hold it")
    }
}

impl SignedStatement {
    /// Checks everything that must hold before the statement counts.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(
        &self,
        known: &KnownAssessors,
        declaration_sha256: &str,
    ) -> Result<&Statement, String> {
        let statement = &self.statement;
        statement.is_sound().map_err(str::to_owned)?;
        if statement.declaration_sha256 != declaration_sha256 {
            return Err("it was made for another declaration".into());
        }
        let key = known
            .get(&statement.assessor)
            .ok_or_else(|| format!("{} is no known assessor", statement.assessor))?;
        let key =
            hex::decode(key).map_err(|_| "the assessor's key is not hexadecimal".to_owned())?;
        let signature = hex::decode(&self.signature)
            .map_err(|_| "its signature is not hexadecimal".to_owned())?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
            .verify(&statement.bytes(), &signature)
            .map_err(|_| "its signature is not that of the assessor".to_owned())?;
        Ok(statement)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            unit: "5.5-1-1 a".into(),
            subject: Some("ComMech-1".into()),
            verdict: Verdict::Pass,
            reason: "telemetry and commands need all five guarantees, and they are claimed".into(),
            assessor: "Ada".into(),
            declaration_sha256: "00".into(),
            at: Timestamp(1),
        }
    }

    #[test]
    fn only_the_known_assessors_own_words_about_this_declaration_count() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let (signed, public) = statement().sign(&key).unwrap();
        let known = KnownAssessors::from([("Ada".into(), public)]);
        assert!(signed.verify(&known, "00").is_ok());
        assert!(signed.verify(&known, "01").unwrap_err().contains("another declaration"));
        assert!(
            signed.verify(&KnownAssessors::new(), "00").unwrap_err().contains("no known assessor")
        );
        let mut changed = signed.clone();
        changed.statement.unit = "5.5-1-1 b".into();
        assert!(changed.verify(&known, "00").unwrap_err().contains("signature"));
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let (forged, _) = statement().sign(&other).unwrap();
        assert!(forged.verify(&known, "00").unwrap_err().contains("signature"));
    }

    #[test]
    fn a_statement_without_a_reason_is_none() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let bare = Statement { reason: "ok".into(), ..statement() };
        assert!(matches!(bare.sign(&key), Err(SignError::Statement(_))));
        let unsure = Statement { verdict: Verdict::Inconclusive, ..statement() };
        assert!(matches!(unsure.sign(&key), Err(SignError::Statement(_))));
    }
}
