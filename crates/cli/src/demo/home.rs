//! The owner's side: the label, pairing by it, and the device that then enrols by itself.

use std::net::SocketAddr;
use std::path::Path;

use countersign_assessor::evidence::TlsServerFacts;
use countersign_assessor::probe::tls::examine;
use countersign_assessor::relay::{Recording, Relay};
use countersign_controller::{ControlError, Home, Session, Setup, What};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::label::{Label, SetupCode};
use countersign_protocol::hex;
use countersign_protocol::pairing::{GatewayAddress, NetworkCredentials};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::net::TcpStream;

use super::assessment::declaration;
use super::platform::{Made, Platform};
use super::stage::Teller;
use crate::failure::{Ended, Failure};

/// A home and the device that was paired with it.
pub(super) struct Paired {
    pub(super) home: Home,
    /// Where the device really is: pairing went through the relay.
    pub(super) api: SocketAddr,
    /// What the pairing interface offered while it was open.
    pub(super) pairing_interface: TlsServerFacts,
    /// What went over the wire while pairing.
    pub(super) recording: Recording,
    /// The network's key: it must not be found in the recording.
    pub(super) canary: Vec<u8>,
}

impl Paired {
    /// A person's connection to the device's local API.
    pub(super) async fn session(&self, person: &str, made: &Made) -> Ended<Session> {
        Ok(self.home.session(&person.parse()?, &made.thing, Some(self.api)).await?)
    }
}

pub(super) fn show_label(made: &Made, tell: Teller) -> Ended {
    let qr = QrCode::new(made.label.qr_text().as_bytes())?;
    let drawn =
        qr.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    for line in drawn.lines() {
        tell.line(&format!("  {line}"));
    }
    tell.line(&format!("  serial  {}", made.thing));
    tell.line(&format!("  code    {}", made.label.code().printed().as_str()));
    Ok(())
}

pub(super) async fn pair(
    platform: &mut Platform,
    made: &mut Made,
    data: &Path,
    tell: Teller,
) -> Ended<Paired> {
    let home = Home::create(&data.join("home"), "owner".parse()?)?;
    let pairing =
        made.status.read()?.pairing.ok_or_else(|| Failure::found("no pairing interface"))?;
    // 0. A look at the interface from outside, while it is there.
    let declared = declaration(made, Vec::new())?;
    let listener = declared
        .listeners
        .iter()
        .find(|listener| listener.port == pairing.port())
        .ok_or_else(|| Failure::found("the pairing interface is not declared"))?;
    let roots: Vec<_> = platform.roots.iter().map(|root| root.der().to_vec().into()).collect();
    let pairing_interface = examine(pairing, listener, &roots, SystemClock.now()).await;
    tell.saw(&format!(
        "{} offers examined at the pairing interface",
        pairing_interface.groups.len()
    ));
    // 1. A wrong code first.
    let random: &mut dyn Random = &mut SystemRandom;
    let wrong = Setup::Code(made.thing.clone(), SetupCode::from_entropy(random.array()));
    match home.pair(wrong, pairing, &platform.roots, What::default()).await {
        Err(ControlError::WrongCode) => {
            tell.refused("a wrong setup code", "one attempt of a few is used")
        }
        Err(other) => return Err(Failure::found(format!("a wrong code: {other}"))),
        Ok(_) => return Err(Failure::found("a wrong code was accepted")),
    }
    // 2. The right one, through a recording relay: what it records is searched for the secret afterwards. It has the
    //    device's own address, which the home remembers.
    let relay = Relay::start((pairing.ip(), 0).into(), pairing).await?;
    let canary = hex::write(&random.array::<16>()).into_bytes();
    let key = Secret::new(canary.clone(), Strength(128));
    let network = Some(NetworkCredentials { ssid: "Home of the demo".to_owned(), key });
    let gateway = Some(GatewayAddress {
        mqtt: format!("localhost:{}", platform.ready.mqtt.port()),
        est: format!("localhost:{}", platform.ready.est.port()),
        server_name: "localhost".to_owned(),
    });
    let label = Label::parse(&made.label.qr_text())?;
    let what = What { network, gateway };
    home.pair(Setup::Label(label), relay.address(), &platform.roots, what).await?;
    let recording = relay.stop().await;
    let bytes: usize = recording.streams.iter().map(Vec::len).sum();
    tell.saw(&format!("SPAKE2+ bound to the TLS channel; {bytes} bytes on the wire, recorded"));
    tell.saw("installed: the home's trust anchor, network credentials, the first owner");
    // 3. The pairing interface is gone.
    let now = made
        .status
        .reached(&mut made.process, |now| now.api.is_some() && now.pairing.is_none())
        .await?;
    if TcpStream::connect(pairing).await.is_ok() {
        return Err(Failure::found(format!("the pairing interface {pairing} still answers")));
    }
    tell.saw(&format!("{}; the pairing interface is gone", now.state));
    let api = now.api.ok_or_else(|| Failure::found("no local API"))?;
    Ok(Paired { home, api, pairing_interface, recording, canary })
}

pub(super) async fn enrolled(made: &mut Made, tell: Teller) -> Ended {
    let now = made.status.reached(&mut made.process, |now| now.uplink == "connected").await?;
    let identity = now.identity.unwrap_or_default();
    tell.saw(&format!("LDevID {identity} by EST, proven in a handshake, then activated"));
    let negotiated = now
        .negotiated
        .ok_or_else(|| Failure::found("connected without saying what was negotiated"))?;
    tell.saw(&format!(
        "MQTT over mutual {} · {} · {}",
        negotiated.version, negotiated.group, negotiated.suite
    ));
    if !negotiated.group.contains("MLKEM") {
        return Err(Failure::found(format!("{} is no hybrid group", negotiated.group)));
    }
    Ok(())
}
