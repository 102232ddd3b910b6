//! TLS identities of the platform's own servers: gateway, EST, admin. The keys stay in the keystore.

use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::digest::sha256;
use countersign_crypto::tls::{PeerAnchors, TlsIdentity};
use countersign_model::id::ServiceName;
use serde_json::json;

use crate::authorities::IssuingCa;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::issuance::{Ask, in_renewal, issue};
use crate::ledger::Kind;
use crate::profile::{ServerNames, issuer};
use crate::registration::Claim;
use crate::store::CertificateRecord;
use crate::subject::{Purpose, Subject};

impl Authority {
    /// The identity of the server `name` for these host names and addresses: the one at hand, or a new one with a new
    /// key when there is none, less than a third of its life is left, the names differ, the Service CA was rolled, or the
    /// policy retires its algorithm.
    ///
    /// The key before the last is destroyed; the last is kept for processes that still serve with it.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn server_identity(
        &self,
        name: &ServiceName,
        names: &ServerNames,
    ) -> Result<TlsIdentity, AuthorityError> {
        let core = &self.core;
        let authorities = core.authorities()?;
        let subject = Subject::Server(name.clone());
        let earlier = {
            let mut turn = core.store.exclusive().await?;
            turn.certificates_of(&subject, Purpose::Server).await?
        };
        // 1. What is at hand.
        let algorithm = core.algorithm_for(Purpose::Server)?;
        let active = authorities.label(issuer(Purpose::Server));
        let serves = |record: &&CertificateRecord| {
            record.issuer == active
                && record.certificate.key_algorithm() == Some(algorithm)
                && self.serves(record, names)
        };
        if let Some(current) = earlier.iter().find(serves)
            && let Some(key) = core.keys.load(&current.key_label)?
        {
            let chain = authorities.served(authorities.chain(current.certificate.clone())?)?;
            return Ok(TlsIdentity::new(chain, key)?);
        }
        // 2. A new key under a label of its own, so that a kill leaves either pair whole.
        let label = format!("server-{}-{}", short(name), &core.serial().hex()[..12]);
        let key = core.keys.generate(&label, algorithm)?;
        // 3. Its certificate.
        let ask = Ask {
            subject,
            purpose: Purpose::Server,
            claim: Claim::Local,
            spki_der: key.spki_der().to_vec(),
            request_sha256: String::new(),
            grants: None,
            server: names.clone(),
            key_label: label,
        };
        let chain = core.authorities()?.served(issue(core, ask).await?.chain)?;
        //= specs/en-303-645.md#5.5-8
        //# Decommissioning MUST destroy what is no longer needed.
        // 4. Keys that no process can still need.
        for old in earlier.iter().skip(1) {
            if core.keys.load(&old.key_label)?.is_some() {
                core.keys.destroy(&old.key_label)?;
                core.record(Kind::KeyDestroyed, json!({"label": old.key_label})).await?;
            }
        }
        Ok(TlsIdentity::new(chain, key)?)
    }

    fn serves(&self, record: &CertificateRecord, names: &ServerNames) -> bool {
        let certificate = &record.certificate;
        record.is_good(self.core.now())
            && !in_renewal(&certificate.validity(), self.core.now())
            && certificate.dns_names() == names.dns
            && certificate.ip_addresses() == names.ips
    }

    /// Whom EST admits: factory identities, operational identities and services, each under its own CA.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony.
    pub fn est_anchors(&self) -> Result<PeerAnchors, AuthorityError> {
        self.anchors(&[IdentityKind::IdevId, IdentityKind::Thing, IdentityKind::Service])
    }

    /// Whom the gateway admits: operational identities and services.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony.
    pub fn gateway_anchors(&self) -> Result<PeerAnchors, AuthorityError> {
        self.anchors(&[IdentityKind::Thing, IdentityKind::Service])
    }

    /// Whom the admin interface admits: operators.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony.
    pub fn admin_anchors(&self) -> Result<PeerAnchors, AuthorityError> {
        self.anchors(&[IdentityKind::Operator])
    }

    fn anchors(&self, kinds: &[IdentityKind]) -> Result<PeerAnchors, AuthorityError> {
        let authorities = self.core.authorities()?;
        Ok(kinds.iter().fold(PeerAnchors::new(), |anchors, kind| {
            let ca = match kind {
                IdentityKind::IdevId => IssuingCa::FactoryIdentity,
                IdentityKind::Thing => IssuingCa::Operation,
                _ => IssuingCa::Service,
            };
            anchors.with(*kind, &authorities.verifiers(ca))
        }))
    }
}

/// A name that fits into a keystore label, whatever its length.
fn short(name: &ServiceName) -> String {
    let text = name.as_str();
    if text.len() <= 24 { text.to_owned() } else { hex::encode(&sha256(text.as_bytes())[..12]) }
}

#[cfg(test)]
mod tests;
