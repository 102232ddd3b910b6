//! Where the report's facts come from: certificates of the authority, the database, the policy in force.

use std::time::Duration;

use countersign_model::time::Validity;

use super::{Expiring, Report, What};
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::probe::PROBE;
use crate::subject::Purpose;

impl Authority {
    /// What expires when, looking so far ahead.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony, [`AuthorityError::Store`].
    pub async fn expiry(&self, within: Duration) -> Result<Report, AuthorityError> {
        let core = &self.core;
        let authorities = core.authorities()?;
        let (root, roots) = (authorities.root(), authorities.device_roots());
        let mut all = Vec::new();
        for certificate in authorities.all() {
            let mut name = certificate.subject_cn().unwrap_or_default();
            // By its key: a root that signs no more is one still, and so is what the root before says of it.
            let of_a_root = roots.iter().find(|one| one.spki_der() == certificate.spki_der());
            let what = if of_a_root.is_some() { What::Root } else { What::IssuingCa };
            if of_a_root.is_some_and(|one| *one != certificate) {
                name.push_str(" (cross-certificate)");
            }
            all.push(Expiring { what, name, validity: certificate.validity() });
        }
        let policy = core.policy_in_force()?;
        let name = format!("version {}", policy.policy().version);
        let validity =
            Validity { not_before: root.validity().not_before, not_after: policy.expires() };
        all.push(Expiring { what: What::Policy, name, validity });
        for one in core.store.newest_certificates().await? {
            let what = match one.purpose {
                Purpose::Server => What::Server,
                Purpose::Operator => What::Operator,
                // Made anew whenever a policy is tried.
                Purpose::Service if one.subject.name() == PROBE => continue,
                Purpose::Service => What::Service,
                Purpose::Operation => What::Device,
                // Without end, by intent.
                Purpose::FactoryIdentity => continue,
            };
            all.push(Expiring {
                what,
                name: one.subject.name().to_owned(),
                validity: one.validity,
            });
        }
        Ok(Report::of(all, core.now(), within))
    }
}
