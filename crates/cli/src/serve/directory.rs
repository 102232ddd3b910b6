//! The authority's registry as the gateway asks it: who is who, and who no longer counts.

use countersign_authority::registration::State;
use countersign_authority::registry::RegistryView;
use countersign_authority::subject::Subject;
use countersign_crypto::certificate::Certificate;
use countersign_crypto::tls::RevocationCheck;
use countersign_gateway::directory::{Directory, PeerFacts, PeerKind, Refusal};
use countersign_protocol::permit::messaging::MessagingSubject;

/// Answers from the registry's live view, which other processes' changes reach within a tenth of a second.
pub(super) struct Registry(pub(super) RegistryView);

impl Directory for Registry {
    fn admit(&self, peer: &PeerFacts) -> Result<MessagingSubject, Refusal> {
        // 1. Is the certificate still good?
        if self.0.revoked(&peer.serial_hex).is_some() {
            return Err(Refusal::Revoked);
        }
        // 2. Whom does it name, and is that somebody?
        let subject = match peer.kind {
            PeerKind::Thing => peer.name.parse().map(Subject::Thing),
            PeerKind::Service => peer.name.parse().map(Subject::Service),
        }
        .map_err(|_| Refusal::Unknown)?;
        let registered = self.0.subject(&subject).ok_or(Refusal::Unknown)?;
        // 3. May that somebody connect?
        match registered.state {
            State::Active => {}
            other => return Err(Refusal::Suspended(other.as_str().to_owned())),
        }
        // 4. Is the key one that was registered for it?
        if self.0.key_owner(&peer.spki_sha256).is_none_or(|owner| owner != subject) {
            return Err(Refusal::ForeignKey);
        }
        match subject {
            Subject::Thing(thing) => Ok(MessagingSubject::Device(thing)),
            Subject::Service(name) => {
                Ok(MessagingSubject::Service { name, grants: registered.grants })
            }
            Subject::Operator(_) | Subject::Server(_) => Err(Refusal::Unknown),
        }
    }

    fn names_other_subject(&self, client_id: &str) -> bool {
        self.0.is_name(client_id)
    }

    fn changed(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.changed()
    }

    fn list_age(&self) -> Option<std::time::Duration> {
        Some(self.0.age())
    }
}

/// The denylist, asked in each handshake.
pub(super) struct Denylist(pub(super) RegistryView);

impl std::fmt::Debug for Denylist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Denylist")
    }
}

impl RevocationCheck for Denylist {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.0.is_revoked(certificate)
    }
}
