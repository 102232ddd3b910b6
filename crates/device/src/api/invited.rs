//! One conversation with somebody who is invited and not known yet.

use super::Doors;
use crate::gate::Gate;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::SecureChannel;
use countersign_protocol::invitation::{
    InvitationClose, InvitationDevice, InvitationOutput, Joining, SESSION_TIMEOUT,
};
use countersign_protocol::pairing::Binding;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a peer may take for its first word: what is silent from the start does not come from a person.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// How long a peer may be silent later: a memory-hard derivation on a slow telephone.
const SILENCE: Duration = Duration::from_secs(20);
/// How long the last words may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the local API may take to know somebody new.
const KNOWN: Duration = Duration::from_secs(5);

/// The whole conversation, bounded in time.
pub(super) async fn converse(
    mut channel: SecureChannel<TcpStream>,
    doors: &Doors,
    tls: watch::Receiver<Doors>,
    gate: &Gate,
) -> InvitationClose {
    let Ok(exporter) = channel.channel_binding() else { return InvitationClose::Protocol };
    let binding = Binding {
        exporter,
        device: gate.thing().clone(),
        device_certificate: doors.certificate,
        strength: channel.strength(),
    };
    let (td_sha256, discovery) = (doors.td_sha256, doors.discovery.clone());
    let mut machine = InvitationDevice::new(binding, td_sha256, discovery, gate.uptime());
    let talk = Talk { machine: &mut machine, channel: &mut channel, tls, gate };
    let ended = timeout(SESSION_TIMEOUT, talk.run()).await.unwrap_or(InvitationClose::Timeout);
    let _ = timeout(FAREWELL, channel.shutdown()).await;
    ended
}

struct Talk<'a> {
    machine: &'a mut InvitationDevice,
    channel: &'a mut SecureChannel<TcpStream>,
    tls: watch::Receiver<Doors>,
    gate: &'a Gate,
}

impl Talk<'_> {
    async fn run(mut self) -> InvitationClose {
        let (mut buffer, mut patience) = ([0; 4096], FIRST_WORD);
        loop {
            let read = match timeout(patience, self.channel.read(&mut buffer)).await {
                Ok(Ok(read)) if read > 0 => read,
                Ok(_) => return InvitationClose::Protocol,
                Err(_) => return InvitationClose::Timeout,
            };
            patience = SILENCE;
            let mut outputs = {
                let (now, mut door) = (self.gate.uptime(), self.gate.door());
                let outputs =
                    self.machine.receive(&buffer[..read], &mut door, now, &mut SystemRandom);
                VecDeque::from(outputs)
            };
            while let Some(output) = outputs.pop_front() {
                match output {
                    InvitationOutput::Send(bytes) => {
                        let sent = self.channel.write_all(&bytes).await;
                        if sent.is_err() || self.channel.flush().await.is_err() {
                            return InvitationClose::Protocol;
                        }
                    }
                    InvitationOutput::Ended(ended) => {
                        if self.gate.end("the device", Some(ended)).is_err() {
                            return InvitationClose::Storage;
                        }
                    }
                    InvitationOutput::Store(joining) => outputs.extend(self.store(&joining).await),
                    InvitationOutput::Close(reason) => return reason,
                }
            }
        }
    }

    /// Stored, and known at the local API's door, before it is acknowledged.
    async fn store(&mut self, joining: &Joining) -> Vec<InvitationOutput> {
        if let Err(error) = self.gate.join(joining) {
            tracing::warn!(%error, "invitation: nobody was taken in");
            return self.machine.not_stored();
        }
        let anchor = joining.anchor_sha256();
        let known = self.tls.wait_for(|doors| doors.anchors.contains(&anchor));
        if timeout(KNOWN, known).await.is_err() {
            tracing::warn!("invitation: the local API is slow to know somebody new");
        }
        self.machine.stored()
    }
}
