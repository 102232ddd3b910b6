//! The second half of a chunk: seal, issue, package.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::csr;
use countersign_crypto::custody;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal;
use countersign_crypto::secret::Rated;
use countersign_crypto::signature::KeyHandle;
use countersign_model::factory::{PURPOSE, Package, SetupRecord};
use countersign_model::id::ThingId;
use zeroize::Zeroizing;

use super::{BatchReport, Run, file_name};
use crate::authority::Authority;
use crate::error::{AuthorityError, Fault};
use crate::factory::batch::KeySource;
use crate::factory::items::ItemState;
use crate::factory::job::JobRecord;
use crate::issuance::{Ask, issue_all};
use crate::profile::ServerNames;
use crate::registration::{Claim, Refusal};
use crate::store::BatchItem;
use crate::subject::{Purpose, Subject};

impl Run<'_> {
    /// Seals what is new, issues, and writes the packages.
    pub(super) async fn finish(
        &mut self,
        serials: Vec<ThingId>,
        made: Vec<JobRecord>,
        report: &mut BatchReport,
    ) -> Result<(), AuthorityError> {
        //= specs/house.md#house-factory
        //# A serial's setup code MUST be on the disk, sealed, before anything is made from it.
        self.job.as_mut().ok_or(AuthorityError::Worker)?.append(made)?;
        let (mut asks, mut asking, mut chains) = (Vec::new(), Vec::new(), Vec::new());
        let mut refused = Vec::new();
        for thing in serials {
            if self.is_issued(&thing) {
                match (self.record(&thing), chain_of(self.authority, &thing).await?) {
                    (Err(error), _) => refused.push((thing, error.to_string())),
                    (_, Some(chain)) => chains.push((thing, chain)),
                    (_, None) => refused.push((thing, "its certificate is revoked".to_owned())),
                }
                continue;
            }
            match self.ask(&thing) {
                Ok(ask) => {
                    asks.push(ask);
                    asking.push(thing);
                }
                Err(error) if error.fault() == Fault::Environment => return Err(error),
                Err(error) => refused.push((thing, error.to_string())),
            }
        }
        report.completed += chains.len() as u64;
        let answers = issue_all(&self.authority.core, asks).await?;
        for (thing, answer) in asking.into_iter().zip(answers) {
            match answer {
                Ok(issued) => {
                    report.made += 1;
                    chains.push((thing, issued.chain));
                }
                Err(error) => refused.push((thing, error.to_string())),
            }
        }
        self.write(chains).await?;
        if !refused.is_empty() {
            let mut turn = self.authority.core.store.exclusive().await?;
            for (thing, why) in refused {
                if !self.is_issued(&thing) {
                    turn.put_item(&self.item(&thing, ItemState::Refused, &why)).await?;
                }
                report.refused.push((thing.as_str().to_owned(), why));
            }
            turn.commit().await?;
        }
        Ok(())
    }

    /// What issuance is asked for a serial: with the key of the job, the token, or the device's request.
    fn ask(&self, thing: &ThingId) -> Result<(Ask, Option<BatchItem>), AuthorityError> {
        let record = self.record(thing)?;
        let (spki_der, request_sha256) = match (self.batch.keys(), &record.key, &self.token) {
            (KeySource::Station, Some(pkcs8), _) => {
                let key = KeyHandle::from_pkcs8(self.algorithm, pkcs8)?;
                (key.spki_der().to_vec(), String::new())
            }
            (KeySource::Token(_), _, Some(token)) => {
                let key = match token.load(thing.as_str())? {
                    Some(key) => key,
                    None => token.generate(thing.as_str(), self.algorithm)?,
                };
                (key.spki_der().to_vec(), String::new())
            }
            _ => {
                let der = self.requests.found.get(thing.as_str());
                let der =
                    der.ok_or_else(|| AuthorityError::Unknown(format!("{thing}'s request")))?;
                let request = csr::verify(der)?;
                if request.common_name() != Some(thing.as_str()) {
                    let name = request.common_name().unwrap_or_default().to_owned();
                    return Err(Refusal::OtherSubject(name).into());
                }
                (request.spki_der().to_vec(), hex::encode(sha256(der)))
            }
        };
        let ask = Ask {
            subject: Subject::Thing(thing.clone()),
            purpose: Purpose::FactoryIdentity,
            claim: Claim::Factory,
            spki_der,
            request_sha256,
            grants: None,
            server: ServerNames::default(),
            key_label: String::new(),
        };
        let verifier_sha256 =
            record.verifier.to_secret().expose(|verifier| hex::encode(sha256(verifier)));
        let (batch, station) = (self.batch.name().to_owned(), self.batch.station().to_owned());
        Ok((ask, Some(BatchItem { batch, station, verifier_sha256 })))
    }

    fn record(&self, thing: &ThingId) -> Result<&JobRecord, AuthorityError> {
        let job = self.job.as_ref().ok_or(AuthorityError::Worker)?;
        job.get(thing).ok_or_else(|| {
            AuthorityError::Factory(format!(
                "{thing}: its setup code was destroyed when its label was printed: scrap it and make another"
            ))
        })
    }

    /// Writes the sealed packages of a chunk.
    async fn write(&self, chains: Vec<(ThingId, CertificateChain)>) -> Result<(), AuthorityError> {
        let transport = self.transport.as_ref().ok_or(AuthorityError::Worker)?;
        let authorities = self.authority.core.authorities()?;
        let mut files = Vec::with_capacity(chains.len());
        // By issuing CA: which root is above it costs signatures.
        let mut above: HashMap<Option<[u8; 32]>, Vec<Vec<u8>>> = HashMap::new();
        for (thing, chain) in chains {
            let record = self.record(&thing)?;
            let roots = above
                .entry(chain.certificates().last().map(Certificate::fingerprint))
                .or_insert_with(|| ders(&authorities.roots_of(&chain)));
            let package = self.package(record, &chain, roots.clone());
            // A package holds a key of at most this strength, and what a setup code is verified by.
            let plain = Rated::<{ custody::BITS }>::new(std::mem::take(&mut *package.encode()));
            let sealed = seal::seal_rated(transport, PURPOSE, &plain, &mut SystemRandom)?;
            files.push((file_name(&thing), sealed));
        }
        let out: Arc<Path> = self.batch.out().into();
        let written = tokio::task::spawn_blocking(move || {
            file::write_all_atomic(&out, &files, file::PRIVATE).map_err(AuthorityError::io(&*out))
        });
        written.await.map_err(|_| AuthorityError::Worker)?
    }

    fn package(
        &self,
        record: &JobRecord,
        chain: &CertificateChain,
        roots: Vec<Vec<u8>>,
    ) -> Package {
        let params = &record.params;
        let verifier = record.verifier.to_secret().expose(<[u8]>::to_vec);
        Package {
            thing: record.thing.clone(),
            chain: ders(chain.certificates()),
            roots,
            setup: SetupRecord {
                salt: *params.salt(),
                memory_kib: params.memory_kib(),
                passes: params.passes(),
                lanes: params.lanes(),
                verifier: Zeroizing::new(verifier),
            },
            policy: self.policy.clone(),
            key: record.key.as_ref().map(|key| Zeroizing::new(key.expose(<[u8]>::to_vec))),
        }
    }
}

fn ders(certificates: &[Certificate]) -> Vec<Vec<u8>> {
    certificates.iter().map(|one| one.der().to_vec()).collect()
}

/// The factory identity that counts, of a thing that has one.
async fn chain_of(
    authority: &Authority,
    thing: &ThingId,
) -> Result<Option<CertificateChain>, AuthorityError> {
    let subject = Subject::Thing(thing.clone());
    let mut turn = authority.core.store.exclusive().await?;
    let all = turn.certificates_of(&subject, Purpose::FactoryIdentity).await?;
    let now = authority.core.now();
    match all.into_iter().find(|record| record.is_good(now)) {
        Some(record) => Ok(Some(authority.core.authorities()?.chain(record.certificate)?)),
        None => Ok(None),
    }
}
