//! The trial: one handshake with the gateway under the policy that waits.

use super::Policies;
use crate::anchors::Anchors;
use crate::backoff::Backoff;
use crate::clock::DeviceClock;
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::policy::Use;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::{TlsClient, TlsError, TlsIdentity};
use countersign_protocol::pairing::GatewayAddress;
use countersign_protocol::policy::{Event, Next, PreparedPolicy};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long a handshake may take, on a bad link.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How long the gateway may take to refuse our certificate: in TLS 1.3 its verdict comes after our side of the handshake.
const VERDICT: Duration = Duration::from_millis(500);
/// How long hanging up may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Longest sleep in one piece: clocks jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// First and longest pause while the gateway is out of reach: that says nothing about a policy.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Carries out the trials of a device that has a gateway.
pub(crate) struct Trial {
    pub(crate) policies: Arc<Policies>,
    pub(crate) gateway: GatewayAddress,
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) clock: Arc<DeviceClock>,
}

/// How a trial ended.
enum Outcome {
    Succeeded,
    Failed(String),
    OutOfReach,
}

impl Trial {
    /// For ever.
    pub(crate) async fn run(&self, mut identity: watch::Receiver<Option<TlsIdentity>>) {
        let mut news = self.policies.news();
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            news.mark_unchanged();
            let present = identity.borrow_and_update().clone();
            let pause = match (self.policies.next(), present) {
                (Next::Try(policy), Some(present)) => {
                    let digest = policy.digest();
                    match self.attempt(&policy, &present).await {
                        Outcome::Succeeded => {
                            backoff.reset();
                            self.policies.report(Event::TrialSucceeded(digest));
                            continue;
                        }
                        Outcome::Failed(why) => {
                            tracing::warn!(version = policy.version(), %why, "policy trial failed");
                            self.policies.report(Event::TrialFailed(digest, why));
                            continue;
                        }
                        Outcome::OutOfReach => backoff.next(&mut SystemRandom),
                    }
                }
                (Next::Wait(until), _) => until.since(self.policies.now()).min(LONGEST_SLEEP),
                _ => LONGEST_SLEEP,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = news.changed() => if changed.is_err() { return },
                changed = identity.changed() => if changed.is_err() { return },
            }
        }
    }

    //= specs/house.md#house-policy
    //# A policy MUST be tried in a handshake before it is in force.
    async fn attempt(&self, policy: &PreparedPolicy, identity: &TlsIdentity) -> Outcome {
        let failed = |error: TlsError| Outcome::Failed(error.to_string());
        let client = TlsClient::with_clock(
            policy.compiled(),
            Use::DeviceUplink,
            Some(identity),
            &self.anchors.roots(),
            &[IdentityKind::Server],
            "mqtt",
            self.clock.clone(),
        );
        let client = match client {
            Ok(client) => client,
            Err(error) => return failed(error),
        };
        let stream =
            match tokio::time::timeout(HANDSHAKE, TcpStream::connect(&self.gateway.mqtt)).await {
                Ok(Ok(stream)) => stream,
                _ => return Outcome::OutOfReach,
            };
        let handshake = client.connect(&self.gateway.server_name, stream);
        let mut channel = match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return failed(error),
            Err(_) => return Outcome::Failed("no answer to the handshake in time".to_owned()),
        };
        let outcome = match tokio::time::timeout(VERDICT, channel.read_u8()).await {
            // A gateway says nothing before we do.
            Err(_) => Outcome::Succeeded,
            Ok(Ok(_)) => Outcome::Failed("the gateway spoke out of turn".to_owned()),
            Ok(Err(error)) => failed(TlsError::Handshake(error)),
        };
        let _ = tokio::time::timeout(FAREWELL, channel.shutdown()).await;
        outcome
    }
}
