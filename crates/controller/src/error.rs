//! What can go wrong, by whose fault.

use countersign_crypto::certificate::CertificateError;
use countersign_crypto::issue::IssueError;
use countersign_crypto::keystore::KeystoreError;
use countersign_crypto::pake::PakeError;
use countersign_crypto::seal::SealError;
use countersign_crypto::secret::ChannelTooWeak;
use countersign_crypto::signature::SignatureError;
use countersign_crypto::tls::TlsError;
use countersign_model::id::PersonName;
use countersign_protocol::invitation::InvitationFailure;
use countersign_protocol::pairing::{InvalidInstallation, PairingFailure, RefusedReason};
use std::path::PathBuf;
use std::time::Duration;

/// Why the controller did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The caller's: not the code on the label.
    #[error(
        "this setup code is not the device's: compare it with the label (one of a few attempts was used)"
    )]
    WrongCode,
    /// The device hears no attempt now.
    #[error("the device is locked after too many wrong codes: {}", wait_text(.0))]
    Locked(Option<Duration>),
    /// The device is being paired by somebody else at this moment.
    #[error("somebody else is pairing with the device right now: try again in a minute")]
    Busy,
    /// None of the given roots is the one on the label.
    #[error(
        "the label names another manufacturer's root: get the device-roots.pem of this device's maker, which holds every root that labels name"
    )]
    NotThisMaker,
    /// Whoever answers is not the device that the label or the list names.
    #[error(
        "whoever answers there is not {0}: check the address, and beware of somebody in between"
    )]
    NotThisDevice(String),
    /// The two crypto policies have nothing in common.
    #[error(
        "{0} and this program have no group, cipher suite or signature in common: the device follows a newer crypto policy, so use a newer countersign"
    )]
    NothingInCommon(String),
    /// The device refused: not permitted, unknown, or not in this state. It does not say which.
    #[error("the device refused: not permitted")]
    Refused,
    /// The device takes this person, but not this value.
    #[error("the device does not take this: {0}")]
    Invalid(String),
    /// The device hears no more of this person, or from this address, for a moment.
    #[error("the device was asked too much: try again in some seconds")]
    TooMany,
    /// The device could not do it.
    #[error("the device answered with status {0}: {1}")]
    Device(u16, String),
    /// The device does not belong to this home, or the person's certificate is not accepted.
    #[error("the device does not accept the certificate of this home ({0})")]
    NotOurs(String),
    /// The device cannot be reached.
    #[error("the device does not answer: {0}")]
    Unreachable(std::io::Error),
    /// The device was too slow.
    #[error("the device did not answer in time")]
    TimedOut,
    /// The device does not speak the protocol.
    #[error("the device does not speak the protocol: {0}")]
    Protocol(String),
    /// The invitation did not lead in.
    #[error("{0}")]
    Invitation(InvitationFailure),
    /// The device may have taken us in, and its last word was lost.
    #[error(
        "the device did not acknowledge: try `control get`; if it refuses, ask for another invitation ({0})"
    )]
    Unacknowledged(String),
    /// The device may have stored this home, and its last word was lost.
    #[error("{0}")]
    Lost(PairingFailure),
    /// The code could not be prepared for the device.
    #[error(transparent)]
    Code(#[from] PakeError),
    /// A secret would travel less protected than it is strong.
    #[error(transparent)]
    Channel(#[from] ChannelTooWeak),
    /// The device's own record does not hold.
    #[error("the device's record cannot be believed: {0}")]
    History(String),
    /// What is to be installed cannot be.
    #[error(transparent)]
    Installation(#[from] InvalidInstallation),
    /// A home is there already.
    #[error("{}: there is a home already", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, std::io::Error),
    /// A file holds something else.
    #[error("{path}: {1}; restore the folder from backup", path = .0.display())]
    Damaged(PathBuf, String),
    /// Nobody of that name.
    #[error("{0} is not a person of this home: issue a certificate first")]
    NoSuchPerson(PersonName),
    /// Nothing of that name.
    #[error("{0} is not paired with this home")]
    NoSuchThing(String),
    /// This machine cannot ask the network.
    #[error(
        "this machine cannot search the network ({0}): give the device's address; the router's list of devices or `device.json` on the device has it"
    )]
    NoMulticast(String),
    /// Nothing announced itself.
    #[error(
        "{0} did not announce itself within {s} s: is it switched on, and is this machine on the same network (guest networks and some routers hold multicast back)? Otherwise give its address",
        s = .1.as_secs()
    )]
    NotFound(String, Duration),
    /// TLS cannot be set up with what we have.
    #[error(transparent)]
    Tls(TlsError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The sealing key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A certificate is none.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

impl ControlError {
    /// Why no channel to `thing` came about.
    pub(crate) fn of_handshake(error: &TlsError, thing: &str) -> Self {
        match error {
            // Nobody is invited there: then nobody speaks that protocol.
            _ if error.alert().as_deref() == Some("NoApplicationProtocol") => {
                Self::Invitation(InvitationFailure::Closed)
            }
            _ if error.alert().as_deref() == Some("HandshakeFailure") => {
                Self::NothingInCommon(thing.to_owned())
            }
            TlsError::Handshake(io) if io.get_ref().is_none() => {
                Self::Unreachable(std::io::Error::from(io.kind()))
            }
            _ => Self::NotThisDevice(thing.to_owned()),
        }
    }
}

fn wait_text(wait: &Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("try again in {} s", wait.as_secs_f64().ceil()),
        None => "press its button, or switch its power off and on, to try again".to_owned(),
    }
}

impl From<PairingFailure> for ControlError {
    fn from(failure: PairingFailure) -> Self {
        match failure {
            PairingFailure::WrongCode | PairingFailure::Refused(RefusedReason::WrongCode) => {
                Self::WrongCode
            }
            PairingFailure::Refused(RefusedReason::Locked { wait }) => Self::Locked(wait),
            PairingFailure::Refused(RefusedReason::Busy) => Self::Busy,
            lost @ PairingFailure::Unacknowledged => Self::Lost(lost),
            other => Self::Protocol(other.to_string()),
        }
    }
}
