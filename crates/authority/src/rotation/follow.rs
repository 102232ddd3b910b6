//! What the policy in force demands of the authority's own keys, and doing it: issuing CAs first, then servers; devices
//! and services follow by their own renewal.
//!
//! Two things are found and cannot be done here. *The root*: everybody carries it, in firmware and on labels, and
//! verifies servers and devices up to it; where its algorithm ends, so does every connection that is verified up to it.
//! Its roll ([`super::root`]) gives new devices another; those that carry the old one verify up to that for ever. *Factory identities*: a
//! device has one for life; where its algorithm ends at enrolment, a device that comes out of a drawer cannot enrol.

use std::time::Duration;

use countersign_crypto::certificate::Certificate;
use countersign_crypto::policy::Use;
use countersign_crypto::retirement::{Lasts, Signatures};
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::Timestamp;

use super::{PUBLICATION, Rolled};
use crate::authorities::IssuingCa;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::in_force::uses;
use crate::root::RootNeed;
use crate::subject::Purpose;

/// How long before the end of its algorithm an issuing CA is rolled: devices renew from thirty days before the end on,
/// and must find the new one issuing.
pub const CA_LEAD: Duration = Duration::from_secs(90 * 86_400);

/// How early people are told that the root will be needed: custodians travel, and take leave.
pub const ROOT_NOTICE: Duration = Duration::from_secs(182 * 86_400);

/// What stands against the policy in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The key: a CA's label, `root`, `policy` or `factory identities`.
    pub key: String,
    /// What it was made with.
    pub algorithm: &'static str,
    /// What is wrong, and the mend.
    pub what: String,
    /// Whether rolling issuing CAs mends it.
    pub mended_by_roll: bool,
}

/// What following the policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Followed {
    /// Labels of the issuing CAs that took over.
    pub rolled: Vec<String>,
    /// What cannot be mended here.
    pub findings: Vec<Finding>,
}

/// Where certificates of a CA are verified.
pub(crate) fn uses_of(ca: IssuingCa) -> &'static [Use] {
    match ca {
        IssuingCa::FactoryIdentity => uses(Purpose::FactoryIdentity),
        IssuingCa::Operation => uses(Purpose::Operation),
        // Its servers are verified wherever its services and operators are.
        IssuingCa::Service => uses(Purpose::Server),
    }
}

impl Authority {
    /// What stands against the policy in force now, or will within [`CA_LEAD`]. Nothing is changed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn policy_findings(&self) -> Result<Vec<Finding>, AuthorityError> {
        let core = &self.core;
        let authorities = core.authorities()?;
        let policy = core.policy_in_force()?;
        let horizon = core.now().plus(CA_LEAD);
        let mut found = Vec::new();
        let mut judge =
            |key: &str, algorithm: Option<SignatureAlgorithm>, lasts: Lasts, what: &str| {
                if !lasts.at(horizon) {
                    let algorithm = algorithm.map_or("unknown", SignatureAlgorithm::name);
                    let mended_by_roll =
                        IssuingCa::ALL.iter().any(|ca| key.starts_with(ca.label()));
                    let what = format!("{algorithm} is {lasts}: {what}");
                    found.push(Finding { key: key.to_owned(), algorithm, what, mended_by_roll });
                }
            };
        let of = |signatures: &Signatures, algorithm: Option<SignatureAlgorithm>| {
            algorithm.map_or(Lasts::Ended, |algorithm| signatures.lasts(algorithm))
        };
        // 1. What rolling mends.
        for ca in IssuingCa::ALL {
            let algorithm = authorities.certificate(ca).key_algorithm();
            let lasts = of(&self.ca_signatures(ca)?, algorithm);
            judge(authorities.label(ca), algorithm, lasts, "the CA is to be rolled");
        }
        // 2. What it does not.
        let root = authorities.root().key_algorithm();
        let everywhere = Signatures::of(&policy, &Use::ALL);
        judge(
            "root",
            root,
            of(&everywhere, root),
            "from then on nobody who follows the policy can verify a server or a device up to the root, and rolling the CAs below it does not help: \
             allow the root's algorithm at every use, or roll the root (`authority rotate root`) or hold another ceremony, and give devices firmware with the new one",
        );
        let signing = Signatures::of_documents(&policy);
        let key = authorities.policy().algorithm();
        judge(
            "policy",
            Some(key),
            signing.lasts(key),
            "from then on no policy is to be signed by this key: roll it (`authority rotate policy-key`), or allow its algorithm under document-signing",
        );
        let enrolment = Signatures::of(&policy, uses(Purpose::FactoryIdentity));
        for certificate in authorities.verifiers(IssuingCa::FactoryIdentity) {
            let algorithm = certificate.key_algorithm();
            judge(
                "factory identities",
                algorithm,
                of(&enrolment, algorithm),
                "a factory identity is for life, and devices that have one of this kind can neither be paired nor enrol by it from then on: allow its algorithm at pairing and est for as long as they are in use",
            );
        }
        Ok(found)
    }

    /// The last day on which a CA's successor is in time: it must be known and issue before certificates of a full life no
    /// longer fit into the CA's own.
    fn last_day(
        &self,
        ca: IssuingCa,
        certificate: &Certificate,
    ) -> Result<Timestamp, AuthorityError> {
        let config = &self.core.config;
        let leaf = match ca {
            IssuingCa::FactoryIdentity => Duration::ZERO,
            IssuingCa::Operation => config.device(),
            IssuingCa::Service => config.service().max(config.operator()).max(config.server()),
        };
        let lead = u64::try_from((leaf + CA_LEAD).as_millis()).unwrap_or(u64::MAX);
        Ok(Timestamp(certificate.validity().not_after.0.saturating_sub(lead)))
    }

    /// What will need the root, and until when, where a program alone cannot use it: custodians hold it, or it is in a file that left
    /// the machine. Nothing where it can.
    ///
    /// # Errors
    /// [`AuthorityError`].
    //= specs/house.md#house-custody
    //# What will need a root that is not at hand MUST be told with its last day, half a year before that day.
    pub fn root_needs(&self) -> Result<Vec<RootNeed>, AuthorityError> {
        let core = &self.core;
        let (authorities, plan) = (core.authorities()?, self.plan()?);
        let mut needs = Vec::new();
        if core.root_is_at_hand(&plan) {
            return Ok(needs);
        }
        for ca in IssuingCa::ALL {
            let last = self.last_day(ca, authorities.certificate(ca))?;
            if core.now().plus(ROOT_NOTICE) >= last {
                let label = authorities.label(ca);
                let word = ca.label().trim_end_matches("-ca");
                needs.push(crate::root::need(label, last, format!(
                    "its successor needs the root, which is not at hand: `countersign authority root request --data DIR --ca {word}`"
                )));
            }
        }
        Ok(needs)
    }

    /// Rolls every issuing CA whose algorithm the policy in force ends within [`CA_LEAD`] or that ends itself, and says what cannot be mended so.
    /// `wait` is given the pause in which verifiers hear of the successors. Done before: nothing is done.
    ///
    /// # Errors
    /// [`AuthorityError`]; asking again carries on.
    //= specs/house.md#house-rotation
    //# When the policy retires a signature algorithm, the issuing authorities MUST be rolled before
    //# the identities below them are renewed.
    pub async fn follow_policy<W: Future<Output = ()> + Send>(
        &self,
        wait: impl FnOnce(Duration) -> W + Send,
    ) -> Result<Followed, AuthorityError> {
        let go_on = |_| std::ops::ControlFlow::Continue(());
        let (mendable, mut findings): (Vec<_>, Vec<_>) =
            self.policy_findings()?.into_iter().partition(|one| one.mended_by_roll);
        let authorities = self.core.authorities()?;
        let mut prepared = Vec::new();
        for ca in IssuingCa::ALL {
            let found = mendable.iter().find(|one| one.key == authorities.label(ca));
            let expires = self.core.now() > self.last_day(ca, authorities.certificate(ca))?;
            if found.is_none() && !expires {
                continue;
            }
            let next = self.ca_algorithm(ca)?;
            // Where nothing lasts longer, a roll would be in vain, again and again.
            let same = authorities.certificate(ca).key_algorithm() == Some(next);
            if let Some(found) = found.filter(|_| same && !expires) {
                findings.push(found.clone());
                continue;
            }
            match self.prepare_ca(ca, Some(next), go_on).await {
                Ok(_) => prepared.push(ca),
                // Not something that a program does: people must be asked, in time.
                Err(AuthorityError::RootNeeded(how)) => findings.push(Finding {
                    key: authorities.label(ca).to_owned(),
                    algorithm: next.name(),
                    what: format!("is to be rolled, and the root is not at hand: {how}"),
                    mended_by_roll: true,
                }),
                Err(error) => return Err(error),
            }
        }
        let mut followed = Followed { rolled: Vec::new(), findings };
        if !prepared.is_empty() {
            wait(PUBLICATION).await;
        }
        for ca in prepared {
            if let Rolled::Done { labels } = self.activate_ca(ca, go_on).await? {
                followed.rolled.extend(labels);
            }
        }
        Ok(followed)
    }
}
