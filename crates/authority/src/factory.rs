//! Making devices: a factory identity for a key that the device made, and the setup code of its label.
//!
//! ```text
//!  device's folder ── request (PKCS#10) ──► manufacture ──► chain, roots, SPAKE2+ verifier ──► device's folder
//!                                               └─────────► Label ── write_label ──► paper; forgotten here
//! ```
//!
//! Of one device the private key never leaves its folder, and the setup code never enters the authority's: it is on the
//! label and nowhere else. The device stores a verifier.
//!
//! A batch is made by `run`, in which a kill at any instant spoils nothing; its codes are sealed in a `job` until their
//! labels are printed:
//!
//! ```text
//!  batch file ─► Batch ─► reserve (quota) ─► make ─► job ─► issue ─► SERIAL.factory        label ─► sheet (PDF, SVG)
//!  away from here:   kit ─► station ─► manifest ─► reconcile: shipped, scrapped (revoked), unaccounted
//! ```

mod items;
mod label;

pub mod batch;
mod job;
pub mod kit;
mod labels;
pub mod manifest;
mod reconcile;
pub mod requests;
mod run;
pub mod sheet;
pub mod station;
mod stations;

use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::csr;
use countersign_crypto::digest::sha256;
use countersign_crypto::pake::{self, PakeParams, VerifierRecord};
use countersign_crypto::random::Random;
use countersign_model::id::ThingId;
use countersign_model::label::{Label, RootFingerprint, SetupCode};
use serde_json::json;

pub use self::batch::Batch;
pub use self::items::{ItemState, Outcome};
pub use self::label::{LabelFiles, label_svg, label_text};
pub use self::reconcile::Reconciliation;
pub use self::run::BatchReport;
pub use self::sheet::Layout;
pub use self::stations::StationUse;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::issuance::{Ask, issue};
use crate::ledger::Kind;
use crate::profile::ServerNames;
use crate::registration::{Claim, Refusal};
use crate::subject::{Purpose, Subject};

/// What a device and its label get from the factory.
#[derive(Debug)]
pub struct FactoryIdentity {
    /// IDevID certificate and its CA.
    pub chain: CertificateChain,
    /// The manufacturer's roots.
    pub roots: Vec<Certificate>,
    /// Cost and salt of the setup code's derivation.
    pub params: PakeParams,
    /// What the device stores instead of the code.
    pub verifier: VerifierRecord,
    /// The label, with the code in it. Write it, then drop it.
    pub label: Label,
}

impl Authority {
    /// Makes the factory identity for a device's request; its common name is the serial.
    ///
    /// Asking again with the same key gives the same certificate and a new setup code: the label that was written before
    /// is then to be thrown away.
    ///
    /// # Errors
    /// [`AuthorityError::Request`], or [`AuthorityError::Refused`] for a serial or key that is taken.
    pub async fn manufacture(&self, request_der: &[u8]) -> Result<FactoryIdentity, AuthorityError> {
        // 1. The device holds the key, and says who it is.
        let request = csr::verify(request_der)?;
        let name = request.common_name().unwrap_or_default();
        let thing: ThingId = name.parse().map_err(|_| Refusal::OtherSubject(name.to_owned()))?;
        // 2. The certificate, through the issuance steps.
        let ask = Ask {
            subject: Subject::Thing(thing.clone()),
            purpose: Purpose::FactoryIdentity,
            claim: Claim::Factory,
            spki_der: request.spki_der().to_vec(),
            request_sha256: hex::encode(sha256(request_der)),
            grants: None,
            server: ServerNames::default(),
            key_label: String::new(),
        };
        let issued = issue(&self.core, ask).await?;
        // 3. Setup code and verifier; the derivation takes memory and time, off the async threads.
        let (entropy, params) = self.core.with_random(|random: &mut dyn Random| {
            (random.array::<{ SetupCode::ENTROPY_BYTES }>(), PakeParams::fresh(random))
        });
        let code = SetupCode::from_entropy(entropy);
        let serial = thing.clone();
        let derived = tokio::task::spawn_blocking(move || {
            let verifier = pake::derive(&code, &serial, &params).map(|secret| secret.record());
            verifier.map(|verifier| (code, verifier))
        });
        let (code, verifier) = derived
            .await
            .map_err(|_| AuthorityError::Worker)?
            .map_err(|error| AuthorityError::Factory(error.to_string()))?;
        //= specs/en-303-645.md#5.5-8
        //# Provisioning MUST leave a record.
        //= specs/house.md#house-ledger
        //# A secret MUST NOT be in the ledger.
        // 4. That it was made is recorded; the code is not.
        let roots = self.core.authorities()?.roots_of(&issued.chain);
        let certificate = issued.chain.leaf().serial_hex();
        let body = json!({"thing": thing.as_str(), "serial": certificate, "fresh": issued.fresh});
        self.core.record(Kind::FactoryIdentity, body).await?;
        let label = Label::new(thing, code, RootFingerprint::from_sha256(&roots[0].fingerprint()));
        Ok(FactoryIdentity { chain: issued.chain, roots, params, verifier, label })
    }
}

#[cfg(test)]
mod tests;
