//! How the operational identity stands under the policy in force, and what its successor is made with.

use super::{SlotError, Slots};
use crate::est::EstClient;
use countersign_crypto::policy::Use;
use countersign_crypto::retirement::{Lasts, Signatures};
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_crypto::tls::Clock;
use countersign_model::time::Timestamp;
use countersign_protocol::rotation::Outlook;
use std::time::Duration;

/// Where an operational identity is verified: at the gateway, in the home, at enrolment.
const USES: [Use; 3] = [Use::DeviceUplink, Use::LocalApi, Use::Est];

/// The longest life of a certificate that an authority gives: a key is made with what lasts so long, if anything does.
const LONGEST_LIFE: Duration = Duration::from_secs(398 * 86_400);

impl Slots {
    /// How the present identity stands.
    pub(super) fn outlook(&self) -> Outlook {
        let (lasts, successor) = self.lasts();
        Outlook::new(lasts, successor, self.clock.now())
    }

    /// Until when the present identity may be used, and its successor could be.
    pub(super) fn lasts(&self) -> (Lasts, Lasts) {
        let (signatures, now) = (self.signatures(), self.clock.now());
        let present = self.store.with(|record| {
            let chain = record.current.as_ref()?.chain.as_ref()?;
            Some(signatures.lasts_for(chain.leaf()))
        });
        let successor = Self::own_choice(&signatures, now);
        let successor = successor.map_or(Lasts::Ended, |algorithm| signatures.lasts(algorithm));
        // Without an identity nothing is to be renewed: the first one is asked for anyway.
        let at = |lasts: Lasts| if lasts.at(now) { lasts } else { Lasts::Ended };
        (present.map_or(successor, at), successor)
    }

    /// The algorithm of the next key: what the authority asks for, where the policy allows it; else what the policy
    /// prefers of what lasts.
    pub(super) async fn next_algorithm(
        &self,
        est: &EstClient,
    ) -> Result<SignatureAlgorithm, SlotError> {
        let wanted = est.wanted().await?;
        let (signatures, now) = (self.signatures(), self.clock.now());
        wanted
            .filter(|algorithm| signatures.lasts(*algorithm).at(now))
            .or_else(|| Self::own_choice(&signatures, now))
            .ok_or(SlotError::NoAlgorithm)
    }

    fn own_choice(signatures: &Signatures, now: Timestamp) -> Option<SignatureAlgorithm> {
        signatures.for_new(now, now.plus(LONGEST_LIFE))
    }

    fn signatures(&self) -> Signatures {
        Signatures::of(&self.policy.borrow(), &USES)
    }
}
