//! Requests of many devices, certified in one turn: for whoever may open the data folder.

use countersign_crypto::csr::VerifiedCsr;
use countersign_model::id::ThingId;

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::issuance::{Ask, Issued, issue_all};
use crate::profile::ServerNames;
use crate::registration::{Claim, Refusal};
use crate::subject::{Purpose, Subject};

impl Authority {
    /// Issues operational certificates for requests, all of them in one turn: they share the waits for the disk. The
    /// answers come in the order of the requests; what one is refused for is its own answer.
    ///
    /// # Errors
    /// What the machine refuses; then none of them is issued.
    pub async fn enrol_requests(
        &self,
        requests: Vec<(ThingId, VerifiedCsr)>,
    ) -> Result<Vec<Result<Issued, AuthorityError>>, AuthorityError> {
        let (mut refused, mut asks) = (Vec::new(), Vec::new());
        for (thing, request) in requests {
            let other = request.common_name().filter(|name| *name != thing.as_str());
            refused.push(other.map(|name| Refusal::OtherSubject(name.to_owned())));
            if other.is_some() {
                continue;
            }
            let ask = Ask {
                subject: Subject::Thing(thing),
                purpose: Purpose::Operation,
                claim: Claim::Local,
                spki_der: request.spki_der().to_vec(),
                request_sha256: hex::encode(request.sha256()),
                grants: None,
                server: ServerNames::default(),
                key_label: String::new(),
            };
            asks.push((ask, None));
        }
        let mut issued = issue_all(&self.core, asks).await?.into_iter();
        let answer = |refused: Option<Refusal>| match refused {
            Some(refusal) => Some(Err(refusal.into())),
            None => issued.next(),
        };
        Ok(refused.into_iter().filter_map(answer).collect())
    }
}
