//! The crypto policy in force, as the authority follows it: which keys it makes and which it certifies.

use std::sync::{Arc, Mutex, PoisonError};

use countersign_crypto::known_keys::known_from;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::retirement::Signatures;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::{Day, Timestamp, Validity};

use crate::authorities::Authorities;
use crate::authority::{Authority, Core};
use crate::error::AuthorityError;
use crate::profile::{issuer, life};
use crate::registration::Refusal;
use crate::subject::Purpose;

/// The policy that was read last, by its document's bytes, as of the day for which it was compiled.
#[derive(Default)]
pub(crate) struct InForce(Mutex<Option<(Vec<u8>, Arc<CompiledPolicy>)>>);

/// Where certificates of a purpose are verified, the most important place first.
pub(crate) const fn uses(purpose: Purpose) -> &'static [Use] {
    match purpose {
        Purpose::FactoryIdentity => &[Use::Pairing, Use::Est],
        Purpose::Operation => &[Use::DeviceUplink, Use::LocalApi, Use::Est],
        Purpose::Service => &[Use::DeviceUplink, Use::Est],
        Purpose::Operator => &[Use::Service],
        Purpose::Server => &[Use::DeviceUplink, Use::Est, Use::Service],
    }
}

impl Authority {
    /// The algorithm of the next key of a purpose, by the policy in force.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the policy allows none.
    pub fn key_algorithm(&self, purpose: Purpose) -> Result<SignatureAlgorithm, AuthorityError> {
        self.core.algorithm_for(purpose)
    }
}

impl Core {
    /// The signed policy in the data folder; the built-in one while there is none.
    pub(crate) fn policy_in_force(&self) -> Result<Arc<CompiledPolicy>, AuthorityError> {
        let path = self.layout.policy();
        let document = match std::fs::read(&path) {
            Ok(document) => document,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Arc::new(CompiledPolicy::built_in()));
            }
            Err(source) => return Err(AuthorityError::Io { path, source }),
        };
        let mut known = self.in_force.0.lock().unwrap_or_else(PoisonError::into_inner);
        let today = Day::of(self.now());
        let same =
            |one: &&(Vec<u8>, Arc<CompiledPolicy>)| one.0 == document && one.1.day() == today;
        if let Some((_, policy)) = known.as_ref().filter(same) {
            return Ok(policy.clone());
        }
        let damaged = |detail: String| AuthorityError::Damaged { path: path.clone(), detail };
        let authorities = self.authorities()?;
        let (verified, _) =
            authorities.verify_policy(&document).map_err(|error| damaged(error.to_string()))?;
        let policy = verified.into_policy();
        let compiled = CompiledPolicy::for_provider(policy, today).map_err(|faults| {
            damaged(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let compiled = Arc::new(compiled);
        *known = Some((document, compiled.clone()));
        Ok(compiled)
    }

    /// What the policy in force allows for certificates of a purpose.
    pub(crate) fn signatures(&self, purpose: Purpose) -> Result<Signatures, AuthorityError> {
        Ok(Signatures::of(&*self.policy_in_force()?, uses(purpose)))
    }

    /// What the next key of a purpose is made with: the same as its CA's where that lasts for the certificate's life,
    /// else what the policy prefers of what does.
    pub(crate) fn algorithm_for(
        &self,
        purpose: Purpose,
    ) -> Result<SignatureAlgorithm, AuthorityError> {
        let (signatures, now) = (self.signatures(purpose)?, self.now());
        let end = life(purpose, &self.config).map_or(Validity::FOREVER, |life| now.plus(life));
        let authorities = self.authorities()?;
        let of_issuer = authorities.certificate(issuer(purpose)).key_algorithm();
        let of_issuer = of_issuer.filter(|algorithm| signatures.lasts(*algorithm).at(end));
        of_issuer.or_else(|| signatures.for_new(now, end)).ok_or_else(|| {
            AuthorityError::Configuration {
                file: self.layout.policy().display().to_string(),
                detail: format!(
                    "no signature algorithm is allowed at all of {}: allow one at each",
                    uses(purpose).iter().map(|use_| use_.as_str()).collect::<Vec<_>>().join(", ")
                ),
            }
        })
    }
}

/// Whether a key may be certified anew, where the policy in force allows these signatures.
//= specs/house.md#house-issuance
//# A key whose algorithm the policy in force does not allow MUST NOT be certified.
pub(crate) fn admits_key(
    signatures: &Signatures,
    authorities: &Authorities,
    (spki_der, spki_sha256): (&[u8], &str),
    now: Timestamp,
) -> Result<(), Refusal> {
    // Keys whose private half others have: published ones, and our own.
    if let Some(source) = known_from(spki_sha256) {
        return Err(Refusal::BadKey(source));
    }
    if authorities.is_own_key(spki_der) {
        return Err(Refusal::BadKey("it is an authority's own"));
    }
    let algorithm = SignatureAlgorithm::of_spki(spki_der);
    match algorithm {
        Some(algorithm) if signatures.lasts(algorithm).at(now) => Ok(()),
        other => Err(Refusal::KeyAlgorithm {
            found: other.map_or("another kind", SignatureAlgorithm::name),
            allowed: signatures.names(),
        }),
    }
}
