//! Keys and certificates as files, for whoever connects with ordinary tools.
//!
//! A run that was killed is carried on by the next: a key file without its certificate is used, not replaced, and the
//! authority answers the same key with the same certificate. A run over many names passes over those that are done.

mod requests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::keystore::{exportable_key, key_from_pem};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::grant::Grant;
use countersign_model::id::{OperatorName, ServiceName, ThingId};
use serde_json::json;

use crate::admin::Role;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::issuance::{Ask, issue};
use crate::ledger::Kind;
use crate::profile::ServerNames;
use crate::registration::Claim;
use crate::subject::{Purpose, Subject};

/// The most credentials of one call: more are made in batches, so that a mistake stays small.
pub const MAX_COUNT: u32 = 100_000;

/// How many of one call are made at the same time.
const AT_ONCE: usize = 64;

/// Who gets credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolProfile {
    /// Devices with an operational identity, LDevID.
    Device,
    /// Services at the gateway, with what they may do there.
    Service(Vec<Grant>),
    /// Operators of this authority, and what they are there for.
    Operator(Role),
}

/// Which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolNames {
    /// This one.
    One(String),
    /// `PREFIX` and a number of six digits, from 1.
    Many {
        /// What stands before the number.
        prefix: String,
        /// How many, 1 to [`MAX_COUNT`].
        count: u32,
    },
}

impl EnrolNames {
    fn list(&self) -> Result<Vec<String>, AuthorityError> {
        match self {
            Self::One(name) => Ok(vec![name.clone()]),
            Self::Many { prefix, count } if (1..=MAX_COUNT).contains(count) => {
                Ok((1..=*count).map(|number| format!("{prefix}{number:06}")).collect())
            }
            Self::Many { count, .. } => Err(AuthorityError::Configuration {
                file: "count".to_owned(),
                detail: format!("{count} is out of range: use 1 to {MAX_COUNT}"),
            }),
        }
    }
}

/// What to enrol, and where the files go.
#[derive(Debug, Clone)]
pub struct EnrolRequest {
    /// Who.
    pub profile: EnrolProfile,
    /// Which names.
    pub names: EnrolNames,
    /// The folder for `NAME.key`, `NAME.crt` and `roots.pem`; made if it is not there.
    pub out: PathBuf,
    /// Replace keys that are there.
    pub force: bool,
}

/// One subject's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Who.
    pub subject: Subject,
    /// The private key, PKCS#8 PEM, mode 0600.
    pub key: PathBuf,
    /// Leaf and issuing CA, PEM.
    pub certificate: PathBuf,
    /// The leaf's serial, hexadecimal.
    pub serial: String,
}

/// One subject's credentials to be made in a folder.
pub(crate) struct Credentials<'a> {
    pub(crate) subject: Subject,
    pub(crate) purpose: Purpose,
    pub(crate) grants: Option<Vec<Grant>>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) folder: &'a Path,
    pub(crate) force: bool,
}

impl Credentials<'_> {
    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.subject.name()))
    }
}

impl Authority {
    /// Makes keys and certificates as files; also while another process serves from the same data folder.
    ///
    /// `progress` hears how many of how many are done.
    ///
    /// # Errors
    /// [`AuthorityError::Exists`] for a key that is there without `force`, unless it is one of many and belongs to a
    /// certificate that counts; [`AuthorityError::Refused`] for a subject that may not enrol. What was written before,
    /// and at the same time, stays and is whole.
    pub async fn enrol(
        &self,
        request: &EnrolRequest,
        mut progress: impl FnMut(u32, u32) + Send,
    ) -> Result<Vec<Enrolled>, AuthorityError> {
        let algorithm = self.core.algorithm_for(match &request.profile {
            EnrolProfile::Device => Purpose::Operation,
            EnrolProfile::Service(_) => Purpose::Service,
            EnrolProfile::Operator(_) => Purpose::Operator,
        })?;
        let names = request.names.list()?;
        let subjects: Vec<Subject> =
            names.iter().map(|name| subject(&request.profile, name)).collect::<Result<_, _>>()?;
        std::fs::create_dir_all(&request.out).map_err(AuthorityError::io(&request.out))?;
        let roots = request.out.join("roots.pem");
        let pem = self.core.authorities()?.roots_pem();
        file::write_atomic(&roots, pem.as_bytes(), file::PUBLIC)
            .map_err(AuthorityError::io(&roots))?;
        let total = u32::try_from(subjects.len()).unwrap_or(u32::MAX);
        let mut done = Vec::with_capacity(subjects.len());
        let request = Arc::new(request.clone());
        for subjects in subjects.chunks(AT_ONCE) {
            // At the same time, so that they share the waits for the disk.
            let one = |subject: &Subject| {
                let (authority, request) = (self.clone(), Arc::clone(&request));
                let subject = subject.clone();
                tokio::spawn(async move { authority.enrol_one(&request, subject, algorithm).await })
            };
            let running: Vec<_> = subjects.iter().map(one).collect();
            let mut made = Vec::with_capacity(running.len());
            for one in running {
                made.push(one.await.map_err(|_| AuthorityError::Worker)?);
            }
            for one in made {
                done.push(one?);
                progress(u32::try_from(done.len()).unwrap_or(u32::MAX), total);
            }
        }
        Ok(done)
    }

    async fn enrol_one(
        &self,
        request: &EnrolRequest,
        subject: Subject,
        algorithm: SignatureAlgorithm,
    ) -> Result<Enrolled, AuthorityError> {
        let (purpose, grants) = match &request.profile {
            EnrolProfile::Device => (Purpose::Operation, None),
            EnrolProfile::Service(grants) => (Purpose::Service, Some(grants.clone())),
            EnrolProfile::Operator(_) => (Purpose::Operator, None),
        };
        let (folder, force) = (request.out.as_path(), request.force);
        let wanted =
            Credentials { subject: subject.clone(), purpose, grants, algorithm, folder, force };
        let finished = match &request.names {
            EnrolNames::Many { .. } if !force => self.finished(&wanted).await?,
            _ => None,
        };
        let chain = match finished {
            Some(chain) => chain,
            None => self.credentials(&wanted).await?,
        };
        // Last: until it has a role, an operator may call nothing.
        if let (EnrolProfile::Operator(role), Subject::Operator(name)) =
            (&request.profile, &subject)
        {
            self.assign_role(name, *role).await?;
        }
        Ok(Enrolled {
            subject,
            key: wanted.file("key"),
            certificate: wanted.file("crt"),
            serial: chain.leaf().serial_hex(),
        })
    }

    /// What an earlier run made for this subject, if it is whole and still counts.
    async fn finished(
        &self,
        wanted: &Credentials<'_>,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        let (Ok(pem), Ok(crt)) =
            (std::fs::read(wanted.file("key")), std::fs::read(wanted.file("crt")))
        else {
            return Ok(None);
        };
        let (Ok(key), Ok(chain)) = (key_from_pem(&pem), CertificateChain::from_pem(&crt)) else {
            return Ok(None);
        };
        let mut turn = self.core.store.exclusive().await?;
        let record = turn.certificate(&chain.leaf().serial_hex()).await?;
        let counts = record.is_some_and(|record| {
            record.certificate == *chain.leaf()
                && record.subject == wanted.subject
                && record.purpose == wanted.purpose
                && record.is_good(self.core.now())
        });
        Ok((counts && key.spki_der() == chain.leaf().spki_der()).then_some(chain))
    }

    /// Key, certificate, files: in an order in which a kill loses nothing.
    pub(crate) async fn credentials(
        &self,
        wanted: &Credentials<'_>,
    ) -> Result<CertificateChain, AuthorityError> {
        let (key_file, certificate_file) = (wanted.file("key"), wanted.file("crt"));
        if wanted.force {
            // 1. The certificate first: while it is not there, the old pair stays.
            let (key, pem) = exportable_key(wanted.algorithm)?;
            let chain = self.certify(wanted, &key).await?;
            self.record_export(wanted, &key).await?;
            pem.expose(|pem| file::write_atomic(&key_file, pem, file::PRIVATE))
                .map_err(AuthorityError::io(&key_file))?;
            return write_chain(&certificate_file, chain);
        }
        // 1. The key's file: a new one, or the one that an interrupted run left without its certificate.
        let mut made_now = false;
        let key = match std::fs::read(&key_file) {
            Ok(pem) if !certificate_file.exists() => {
                key_from_pem(&pem).map_err(|_| AuthorityError::Exists(key_file.clone()))?
            }
            Ok(_) if self.is_ceremony_left(wanted, &certificate_file) => {
                return Ok(CertificateChain::from_pem(
                    &std::fs::read(&certificate_file)
                        .map_err(AuthorityError::io(&certificate_file))?,
                )?);
            }
            Ok(_) => return Err(AuthorityError::Exists(key_file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (key, pem) = exportable_key(wanted.algorithm)?;
                self.record_export(wanted, &key).await?;
                pem.expose(|pem| file::create_new(&key_file, pem, file::PRIVATE))
                    .map_err(AuthorityError::io(&key_file))?;
                made_now = true;
                key
            }
            Err(source) => return Err(AuthorityError::Io { path: key_file, source }),
        };
        // 2. The certificate. 3. Its file.
        match self.certify(wanted, &key).await {
            Ok(chain) => write_chain(&certificate_file, chain),
            Err(error) => {
                // A new key that was refused is of no use to anybody.
                if made_now {
                    let _ = std::fs::remove_file(&key_file);
                }
                Err(error)
            }
        }
    }

    /// A private key is about to stand in a file for somebody: in the ledger before it does.
    async fn record_export(
        &self,
        wanted: &Credentials<'_>,
        key: &KeyHandle,
    ) -> Result<(), AuthorityError> {
        let spki = hex::encode(sha256(key.spki_der()));
        let body = json!({
            "what": "private key", "subject": wanted.subject.to_string(), "spki_sha256": spki,
        });
        self.core.record(Kind::Exported, body).await.map(drop)
    }

    /// In an unfinished ceremony, the operator's files may be there already, and then they are the ceremony's own.
    fn is_ceremony_left(&self, wanted: &Credentials<'_>, certificate: &Path) -> bool {
        wanted.purpose == Purpose::Operator
            && !crate::ceremony::is_finished(&self.core.layout)
            && certificate.exists()
    }

    async fn certify(
        &self,
        wanted: &Credentials<'_>,
        key: &KeyHandle,
    ) -> Result<CertificateChain, AuthorityError> {
        let ask = Ask {
            subject: wanted.subject.clone(),
            purpose: wanted.purpose,
            claim: Claim::Local,
            spki_der: key.spki_der().to_vec(),
            request_sha256: String::new(),
            grants: wanted.grants.clone(),
            server: ServerNames::default(),
            key_label: String::new(),
        };
        Ok(issue(&self.core, ask).await?.chain)
    }
}

fn write_chain(path: &Path, chain: CertificateChain) -> Result<CertificateChain, AuthorityError> {
    file::write_atomic(path, chain.to_pem().as_bytes(), file::PUBLIC)
        .map_err(AuthorityError::io(path))?;
    Ok(chain)
}

fn subject(profile: &EnrolProfile, name: &str) -> Result<Subject, AuthorityError> {
    let refused = |error: countersign_model::id::InvalidId| AuthorityError::Configuration {
        file: format!("name {name:?}"),
        detail: error.to_string(),
    };
    match profile {
        EnrolProfile::Device => name.parse::<ThingId>().map(Subject::Thing).map_err(refused),
        EnrolProfile::Service(_) => {
            name.parse::<ServiceName>().map(Subject::Service).map_err(refused)
        }
        EnrolProfile::Operator(_) => {
            name.parse::<OperatorName>().map(Subject::Operator).map_err(refused)
        }
    }
}

#[cfg(test)]
mod tests;
