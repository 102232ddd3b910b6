//! Other people: inviting, joining, and the device's record of both.

use crate::door::{JOINING, binding};
use crate::error::ControlError;
use crate::home::{Home, PairedThing};
use crate::pairing::send;
use crate::session::Session;
use countersign_crypto::certificate::Certificate;
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::tls::{Clock, SecureChannel, SystemClock};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::invite::Invite;
use countersign_model::label::{RootFingerprint, SetupCode};
use countersign_model::role::Role;
use countersign_model::thing::{HISTORY, INVITE, NETWORK};
use countersign_protocol::hex;
use countersign_protocol::invitation::{
    InvitationFailure, InvitationJoiner, JoinerOutput, Offer, SESSION_TIMEOUT, Welcome,
};
use countersign_protocol::journal::{Grown, Journal};
use countersign_protocol::pairing::NetworkCredentials;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What an invited person was given.
#[derive(Debug)]
pub enum Invitation {
    /// The text of the QR code.
    Text(Invite),
    /// The device, the code and the address, for people without a camera; the roots are trusted as given.
    Typed(ThingId, SetupCode, SocketAddr),
}

/// What somebody became who joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub thing: ThingId,
    /// Under which name.
    pub person: PersonName,
    /// As what.
    pub role: Role,
}

impl Session {
    /// Invites one person, once, for `life`: leaves the verifier of a fresh code at the device and gives the code. Owners
    /// only.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when that name has a role already; [`ControlError::Refused`] and the others of a request.
    pub async fn invite(
        &mut self,
        thing: &ThingId,
        person: PersonName,
        role: Role,
        life: Duration,
    ) -> Result<SetupCode, ControlError> {
        let random: &mut dyn Random = &mut SystemRandom;
        let code = SetupCode::from_entropy(random.array());
        let offer = Offer::new(&code, thing, (person, role), life, random)?;
        let input = offer.to_input(self.negotiated().strength)?;
        self.invoke(INVITE, Some(&input)).await?;
        Ok(code)
    }

    /// The device's record of who changed who may what. Owners only.
    ///
    /// # Errors
    /// [`ControlError::History`] when its chain does not hold; those of a request.
    pub async fn history(&mut self) -> Result<Journal, ControlError> {
        let value = self.get(HISTORY).await?;
        serde_json::from_value(value).map_err(|error| ControlError::History(error.to_string()))
    }

    /// Replaces the credentials of the network that the device joins. Owners only.
    ///
    /// # Errors
    /// [`ControlError::Channel`] before anything is sent when the channel is weaker than the key; those of a request.
    //= specs/en-303-645.md#5.5-7
    //# What protects a critical security parameter in transit MUST be at least as strong as the parameter.
    pub async fn replace_network(
        &mut self,
        network: &NetworkCredentials,
    ) -> Result<(), ControlError> {
        let strength = self.negotiated().strength;
        let key = network.key.reveal_to(strength, |key| String::from_utf8(key.to_vec()))?;
        let key = key.map_err(|_| ControlError::Invalid("the key is no text".to_owned()))?;
        self.set(NETWORK, &json!({ "ssid": network.ssid, "key": key })).await
    }
}

impl Home {
    /// What the invited person is given: the code, with the maker's root and the device's address.
    ///
    /// # Errors
    /// [`ControlError::NotThisDevice`] when the device leads to none of the maker's roots that we know.
    pub async fn invite_text(
        &self,
        code: SetupCode,
        by: &PersonName,
        thing: &ThingId,
        via: Option<SocketAddr>,
    ) -> Result<Invite, ControlError> {
        let address = via.unwrap_or(self.thing(thing)?.address);
        let roots = self.roots(thing)?;
        for root in &roots {
            let only = std::slice::from_ref(root);
            if roots.len() == 1 || self.session_under(only, by, thing, via).await.is_ok() {
                let root = RootFingerprint::from_sha256(&root.fingerprint());
                return Ok(Invite::new(thing.clone(), code, root, address));
            }
        }
        Err(ControlError::NotThisDevice(thing.to_string()))
    }

    /// Accepts an invitation, with a key and an authority of our own that never leave this home. `at` replaces the
    /// invitation's address. `roots` are the maker's; with the text of a QR code only the one that it names counts.
    ///
    /// # Errors
    /// [`ControlError::NotThisMaker`] and [`ControlError::NotThisDevice`] before the code was used;
    /// [`ControlError::Invitation`]; [`ControlError::Unacknowledged`] when the last word was lost.
    //= specs/en-303-645.md#5.5-7
    //# What is derived from a setup code and sent MUST NOT help to find the code.
    //= specs/house.md#house-sharing
    //# The key of an invited person MUST be made on their side and never leave it.
    pub async fn join(
        &self,
        invitation: Invitation,
        at: Option<SocketAddr>,
        roots: &[Certificate],
    ) -> Result<Membership, ControlError> {
        // 1. Which maker, by the invitation.
        let (thing, code, address, roots) = chosen(invitation, roots)?;
        let address = at.unwrap_or(address);
        // 2. Which device, by its certificate.
        let mut channel = self.open_door(&JOINING, &thing, address, &roots).await?;
        let binding = binding(&thing, &channel)?;
        // 3. Both prove the code over this very channel; then the device knows our anchor.
        let (machine, first) = InvitationJoiner::start(code, binding, self.anchor().der());
        let mut welcomed = None;
        let talk =
            self.converse(&mut channel, machine, &first, (&thing, address, &roots), &mut welcomed);
        let ended = tokio::time::timeout(SESSION_TIMEOUT, talk).await;
        match (ended.unwrap_or(Err(ControlError::TimedOut)), welcomed) {
            (Ok(()), Some(Welcome { person, role, .. })) => Ok(Membership { thing, person, role }),
            (Ok(()), None) => Err(ControlError::Invitation(InvitationFailure::Protocol)),
            (Err(ControlError::Invitation(failure)), _) => Err(ControlError::Invitation(failure)),
            (Err(error), Some(_)) => Err(ControlError::Unacknowledged(error.to_string())),
            (Err(error), None) => Err(error),
        }
    }

    async fn converse(
        &self,
        channel: &mut SecureChannel<TcpStream>,
        mut machine: InvitationJoiner,
        first: &[u8],
        (thing, address, roots): (&ThingId, SocketAddr, &[Certificate]),
        welcomed: &mut Option<Welcome>,
    ) -> Result<(), ControlError> {
        send(channel, first).await?;
        let mut buffer = [0; 4096];
        loop {
            let read = channel.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return Err(ControlError::Protocol("it closed the connection".to_owned()));
            }
            for output in machine.receive(&buffer[..read], &mut SystemRandom) {
                match output {
                    JoinerOutput::Send(bytes) => send(channel, &bytes).await?,
                    // Kept before the last step, whose answer may be lost.
                    JoinerOutput::Welcome(welcome) => {
                        self.issue_person(welcome.person.clone())?;
                        let paired = PairedThing {
                            thing: thing.clone(),
                            address,
                            paired_at: SystemClock.now(),
                            description_sha256: hex::write(&welcome.td_sha256),
                            person: Some(welcome.person.clone()),
                            discovery: Some(welcome.discovery.clone()),
                        };
                        self.remember(&paired, roots)?;
                        *welcomed = Some(welcome);
                    }
                    JoinerOutput::Joined => return Ok(()),
                    JoinerOutput::Failed(failure) => {
                        return Err(ControlError::Invitation(failure));
                    }
                }
            }
        }
    }

    /// Whether a device's record continues what this home saw before; from now on this one counts.
    ///
    /// # Errors
    /// [`ControlError::History`] when it does not; what was seen before then stays.
    pub fn compare_history(&self, thing: &ThingId, read: &Journal) -> Result<Grown, ControlError> {
        let seen = self.seen_history(thing)?.unwrap_or_default();
        let grown =
            read.grew_from(&seen).map_err(|error| ControlError::History(error.to_string()))?;
        self.saw_history(thing, read.head())?;
        Ok(grown)
    }
}

type Chosen = (ThingId, SetupCode, SocketAddr, Vec<Certificate>);

fn chosen(invitation: Invitation, roots: &[Certificate]) -> Result<Chosen, ControlError> {
    match invitation {
        Invitation::Typed(thing, code, address) => Ok((thing, code, address, roots.to_vec())),
        Invitation::Text(invite) => {
            let (thing, code, fingerprint, address) = invite.into_parts();
            let named = roots.iter().find(|root| fingerprint.matches_sha256(&root.fingerprint()));
            let root = named.ok_or(ControlError::NotThisMaker)?;
            Ok((thing, code, address, vec![root.clone()]))
        }
    }
}
