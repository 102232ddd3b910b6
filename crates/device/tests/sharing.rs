//! People who come by invitation, those who keep silent beside them, and names that they have no right to.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::pake::{PakeParams, derive};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::Strength;
use countersign_crypto::tls::{SecureChannel, TlsClient, TlsIdentity};
use countersign_device::api::MAX_CONNECTIONS_OF_ONE;
use countersign_model::label::SetupCode;
use countersign_model::role::Role;
use countersign_protocol::invitation::{
    ALPN, InvitationFailure, InvitationJoiner, JoinerOutput, MIN_LIFE, Offer,
};
use countersign_protocol::pairing::Binding;
use std::net::SocketAddr;
use support::client::{ask, channel, pair};
use support::maker::Ca;
use support::{Running, THING, World, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Channel = SecureChannel<TcpStream>;

fn invitation() -> SetupCode {
    SetupCode::from_entropy([9; 17])
}

/// A device of ada's that has invited sam.
struct Inviting {
    device: Running,
    api: SocketAddr,
    root: Certificate,
    ada: TlsIdentity,
}

impl Inviting {
    async fn new(world: &World) -> Self {
        let (device, home) = (world.start(), Ca::home("home"));
        let root = world.maker.root.clone();
        pair(device.pairing().await, &root, code(), &home, None).await.unwrap();
        let (api, ada) = (device.api().await, home.person("ada", None));
        let thing = THING.parse().unwrap();
        let params = PakeParams::new([2; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap();
        let record = derive(&invitation(), &thing, &params).unwrap().record().to_secret();
        let person = "sam".parse().unwrap();
        let offer = Offer { person, role: Role::Viewer, life: MIN_LIFE, params, record };
        let input = offer.to_input(Strength(128)).unwrap().to_string();
        let invited = ask(api, &root, Some(&ada), "POST", "/actions/invite", input.as_bytes());
        assert_eq!(invited.await.unwrap().0, 204);
        Self { device, api, root, ada }
    }

    /// Where the invited come in.
    async fn door(&self) -> Channel {
        let kinds = [IdentityKind::IdevId, IdentityKind::Thing];
        let (policy, roots) = (CompiledPolicy::built_in(), std::slice::from_ref(&self.root));
        let client = TlsClient::new(&policy, Use::Pairing, None, roots, &kinds, ALPN).unwrap();
        let stream = TcpStream::connect(self.api).await.unwrap();
        client.connect(&format!("{THING}.local"), stream).await.unwrap()
    }

    async fn join(&self, theirs: &Ca) -> Result<(), InvitationFailure> {
        let mut channel = self.door().await;
        let binding = Binding {
            exporter: channel.channel_binding().unwrap(),
            device: THING.parse().unwrap(),
            device_certificate: channel.peer().unwrap().certificate().fingerprint(),
            strength: channel.strength(),
        };
        let anchor = theirs.certificate.der();
        let (mut machine, first) = InvitationJoiner::start(invitation(), binding, anchor);
        channel.write_all(&first).await.unwrap();
        let mut buffer = [0; 4096];
        loop {
            channel.flush().await.unwrap();
            let read = channel.read(&mut buffer).await.unwrap_or(0);
            assert!(read > 0, "hung up on");
            for output in machine.receive(&buffer[..read], &mut SystemRandom) {
                match output {
                    JoinerOutput::Send(bytes) => channel.write_all(&bytes).await.unwrap(),
                    JoinerOutput::Welcome(_) => {}
                    JoinerOutput::Joined => return Ok(()),
                    JoinerOutput::Failed(failure) => return Err(failure),
                }
            }
        }
    }

    async fn connect(&self, who: &TlsIdentity) -> Channel {
        channel(self.api, &self.root, Some(who), "http/1.1").await.unwrap()
    }
}

/// The status of one more request over an open connection; none when it was ended.
async fn status(channel: &mut Channel) -> Option<String> {
    channel.write_all(b"GET /properties/relay HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    channel.flush().await.ok()?;
    let mut buffer = [0; 4096];
    let read = channel.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
    Some(String::from_utf8_lossy(&buffer[9..read.min(12)]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_does_not_keep_an_invited_person_out() {
    let world = World::new([127, 69, 0, 1]).await;
    let inviting = Inviting::new(&world).await;
    let silent = [inviting.door().await, inviting.door().await];
    assert_eq!(inviting.join(&Ca::home("sam's")).await, Ok(()));
    drop(silent);
    inviting.device.stop().await.unwrap();
}

//= specs/house.md#house-gate
//= type=test
//# Failures and rates MUST be bounded per subject and per address.
#[tokio::test(flavor = "multi_thread")]
async fn who_signs_another_s_name_uses_up_nothing_of_theirs() {
    let world = World::new([127, 69, 0, 2]).await;
    let (inviting, theirs) = (Inviting::new(&world).await, Ca::home("sam's"));
    inviting.join(&theirs).await.unwrap();
    let mut sam = inviting.connect(&theirs.person("sam", None)).await;
    assert_eq!(status(&mut sam).await.as_deref(), Some("200"));
    let mut ada = inviting.connect(&inviting.ada).await;
    assert_eq!(status(&mut ada).await.as_deref(), Some("200"));
    // As many connections as ada may have, with certificates of sam's making.
    let false_ada = theirs.person("ada", None);
    let mut all = Vec::new();
    for _ in 0..MAX_CONNECTIONS_OF_ONE {
        let mut channel = inviting.connect(&false_ada).await;
        assert_eq!(status(&mut channel).await.as_deref(), Some("403"));
        all.push(channel);
    }
    assert_eq!(status(&mut ada).await.as_deref(), Some("200"), "she had to go");
    inviting.device.stop().await.unwrap();
}
