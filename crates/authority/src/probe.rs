//! The identity with which the gateway tries a policy on itself, before any client must: a service without a grant, whose
//! certificate comes by the same issuance as everybody's, so that a policy which its own authorities do not fulfil fails.

use countersign_crypto::tls::TlsIdentity;

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::issuance::{Ask, issue};
use crate::profile::{ServerNames, issuer};
use crate::registration::Claim;
use crate::subject::{Purpose, Subject};

/// Its name among the services, and the label of its key in the keystore.
pub(crate) const PROBE: &str = "policy-probe";

impl Authority {
    /// That identity: the one at hand, or a new certificate when less than a third of its life is left.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn probe_identity(&self) -> Result<TlsIdentity, AuthorityError> {
        let core = &self.core;
        let authorities = core.authorities()?;
        let algorithm = authorities.key(issuer(Purpose::Service)).algorithm();
        // The key is that of the present issuing algorithm: one label each.
        let label = format!("{PROBE}-{}", algorithm.name());
        let key = self.key(&label, algorithm)?;
        let name = PROBE.parse().map_err(|_| AuthorityError::Unknown(PROBE.to_owned()))?;
        let ask = Ask {
            subject: Subject::Service(name),
            purpose: Purpose::Service,
            claim: Claim::Local,
            spki_der: key.spki_der().to_vec(),
            request_sha256: String::new(),
            grants: Some(Vec::new()),
            server: ServerNames::default(),
            key_label: label,
        };
        let chain = issue(core, ask).await?.chain;
        Ok(TlsIdentity::new(chain, key)?)
    }
}
