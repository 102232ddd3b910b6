//! What goes wrong, sorted by whose fault it is. EST and the admin API map the fault to a status in one place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_crypto::anchors::AnchorError;
use countersign_crypto::certificate::{CertificateError, InvalidName};
use countersign_crypto::crl::CrlError;
use countersign_crypto::csr::CsrError;
use countersign_crypto::custody::VaultError;
use countersign_crypto::issue::IssueError;
use countersign_crypto::keystore::KeystoreError;
use countersign_crypto::pkcs7::Pkcs7Error;
use countersign_crypto::seal::SealError;
use countersign_crypto::signature::SignatureError;
use countersign_crypto::tls::TlsError;

use crate::ledger::LedgerError;
use crate::lint::LintFailure;
use crate::registration::Refusal;
use crate::root::{NotApproved, RequestError};
use crate::rotation::NotAdmitted;
use crate::store::StoreError;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever asked: the request is malformed.
    Request,
    /// Whoever asked: they may not.
    Refused,
    /// Whoever runs this: a wrong plan, a wrong name, a step out of order.
    Operator,
    /// The machine: disk, permissions, damaged files.
    Environment,
    /// This program.
    Program,
}

/// Why the authority did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certification request is not to be believed.
    #[error(transparent)]
    Request(#[from] CsrError),
    /// There is no permit for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A configuration or plan that cannot be used.
    #[error("{file}: {detail}")]
    Configuration {
        /// The file, or the option.
        file: String,
        /// Field and mend.
        detail: String,
    },
    /// Something needs a ceremony first.
    #[error("{}: no ceremony was held here yet: run `countersign authority ceremony` first", .0.display())]
    NoCeremony(PathBuf),
    /// A file is in the way.
    #[error("{}: exists already and is not overwritten: choose another folder, or say --force", .0.display())]
    Exists(PathBuf),
    /// A station's manifest that is not believed, or says what cannot be.
    #[error("the manifest is refused, and nothing of it taken: {0}")]
    Manifest(String),
    /// Another process is at it.
    #[error("{}: another process is at it: wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// A name or serial that nobody knows.
    #[error("{0} is not known here: see `countersign authority` for what is")]
    Unknown(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file holds what was not written there.
    #[error("{}: {detail}: restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A backup that cannot be made or restored.
    #[error("{}: {detail}", file.display())]
    Backup {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What kept a whole group from being issued.
    #[error(transparent)]
    Shared(Arc<AuthorityError>),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The sealing key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The certificate would break a rule, and was not signed.
    #[error(transparent)]
    Lint(#[from] LintFailure),
    /// What was signed is not what was linted. The certificate was thrown away.
    #[error("the signed certificate differs from the linted one and was thrown away: report this")]
    Mismatch,
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A certificate could not be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A name could not stand in a certificate.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A PKCS#7 message could not be made.
    #[error(transparent)]
    Pkcs7(#[from] Pkcs7Error),
    /// A TLS identity or server could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A factory step failed.
    #[error("factory: {0}")]
    Factory(String),
    /// A revocation list or an OCSP answer could not be made.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// A serial number came a second time. Nothing was signed.
    #[error(
        "a serial number came a second time: the machine's random source has failed; stop issuing and have it looked at"
    )]
    SerialCollision,
    /// A step of a roll out of its order.
    #[error(transparent)]
    Roll(#[from] NotAdmitted),
    /// A crypto policy is not signed or not published. The ledger has it too.
    #[error("policy refused: {0}")]
    Policy(String),
    /// The root may not sign this.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// The root's file does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The roots' statements do not fit together.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// A request for the root's use cannot be read.
    #[error(transparent)]
    RootRequest(#[from] RequestError),
    /// The root is needed and is not here.
    #[error("{0}")]
    RootNeeded(String),
    /// A worker ended before its work did.
    #[error("a worker thread ended before its work was done")]
    Worker,
}

impl AuthorityError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Request(_) => Fault::Request,
            Self::Shared(error) => error.fault(),
            Self::Refused(_) | Self::Policy(_) | Self::NotApproved(_) | Self::Manifest(_) => {
                Fault::Refused
            }
            Self::Configuration { .. }
            | Self::NoCeremony(_)
            | Self::Exists(_)
            | Self::Busy(_)
            | Self::Unknown(_)
            | Self::RootNeeded(_)
            | Self::RootRequest(_)
            | Self::Name(_) => Fault::Operator,
            Self::Io { .. }
            | Self::Damaged { .. }
            | Self::Backup { .. }
            | Self::Store(_)
            | Self::Ledger(_)
            | Self::Keystore(_)
            | Self::Seal(_)
            | Self::Signature(_)
            | Self::Vault(_)
            | Self::Anchor(_)
            | Self::Tls(_) => Fault::Environment,
            Self::Lint(_)
            | Self::Mismatch
            | Self::Issue(_)
            | Self::Certificate(_)
            | Self::Pkcs7(_)
            | Self::Factory(_)
            | Self::Crl(_)
            | Self::SerialCollision
            | Self::Roll(_)
            | Self::Worker => Fault::Program,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
