//! The OCSP responder: whose certificate, its standing, the issuing CA's signature.

use std::time::Duration;

use countersign_crypto::ocsp::{self, Failure, Request, Status};

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::store::Standing;

/// How long an answer stands. The database knows better at once; whoever must know at once sends a nonce and asks again.
pub(super) const ANSWER_LIFE: Duration = Duration::from_secs(600);

impl Authority {
    /// The answer to a request, DER: signed, or one of the failures that bear no signature.
    ///
    /// A certificate that this authority did not issue is *unknown*, never good. An issuer that is not ours is refused.
    //= specs/house.md#house-revocation
    //# A certificate that the authority did not issue MUST NOT be called good.
    pub async fn ocsp(&self, request: &[u8]) -> Vec<u8> {
        self.ocsp_answer(request).await.0
    }

    /// The same, and whether it is for everybody: signed, and without a nonce, which makes it an answer to one request.
    pub(super) async fn ocsp_answer(&self, request: &[u8]) -> (Vec<u8>, bool) {
        let Ok(request) = Request::from_der(request) else {
            return (ocsp::failure(Failure::MalformedRequest), false);
        };
        match self.answer(&request).await {
            Ok(Some(answer)) => (answer, !request.has_nonce()),
            Ok(None) => (ocsp::failure(Failure::Unauthorized), false),
            Err(error) => {
                tracing::error!(%error, "OCSP could not answer");
                (ocsp::failure(Failure::TryLater), false)
            }
        }
    }

    async fn answer(&self, request: &Request) -> Result<Option<Vec<u8>>, AuthorityError> {
        let core = &self.core;
        let authorities = core.authorities()?;
        let asked = request.asked();
        let issuer = authorities.labelled().into_iter().find(|(_, one)| asked[0].is_of(one));
        let Some((label, certificate)) = issuer else { return Ok(None) };
        if !asked.iter().all(|one| one.is_of(&certificate)) {
            return Ok(None);
        }
        let Some(key) = core.keys.load(&label)? else { return Ok(None) };
        let mut statuses = Vec::with_capacity(asked.len());
        for one in asked {
            statuses.push(match core.store.standing(&one.serial_hex(), &label).await? {
                None => Status::Unknown,
                Some(Standing::Counts) => Status::Good,
                Some(Standing::Revoked { at, reason }) => {
                    Status::Revoked { at, reason: reason.code() }
                }
            });
        }
        let now = core.now();
        let until = now.plus(ANSWER_LIFE);
        Ok(Some(ocsp::answer(request, &statuses, &certificate, &key, now, until)?))
    }
}
