//! What must fail: each is tried for real, and the refusal is shown. Anything that gets through ends the step.

use std::net::SocketAddr;
use std::path::Path;

use countersign_assessor::probe::tls::{Version, offers};
use countersign_authority::enrol::EnrolProfile;
use countersign_controller::{ControlError, Home};
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::policy::Use;
use countersign_crypto::tls::{TlsClient, TlsIdentity};
use countersign_device::uplink::core::SessionEvent;
use countersign_model::role::Role;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::home::Paired;
use super::platform::{Made, Platform, identity};
use super::service::{Service, within};
use super::stage::Teller;
use crate::failure::{Ended, Failure};

pub(super) async fn all(
    platform: &mut Platform,
    made: &mut Made,
    paired: &Paired,
    data: &Path,
    tell: Teller,
) -> Ended {
    let api = paired.api;
    no_certificate(platform, made, api, tell).await?;
    another_home(platform, made, api, data, tell).await?;
    roles(made, paired, tell).await?;
    foreign_topics(platform, made, tell).await?;
    old_tls(platform, api, tell).await
}

async fn no_certificate(platform: &Platform, made: &Made, api: SocketAddr, tell: Teller) -> Ended {
    let mqtt = platform.ready.mqtt.to_string();
    let tried =
        Service::connect(&mqtt, &platform.policy, None, &platform.roots, "stranger", &[]).await;
    tell.refused("the gateway without a certificate", &refusal(tried)?);
    tell.refused(
        "the local API without a certificate",
        &api_refusal(platform, made, api, None).await?,
    );
    Ok(())
}

async fn another_home(
    platform: &Platform,
    made: &Made,
    api: SocketAddr,
    data: &Path,
    tell: Teller,
) -> Ended {
    // Another home has an owner of the same name; the anchor is what tells them apart.
    let other = Home::create(&data.join("other-home"), "owner".parse()?)?;
    let folder = data.join("other-home").join("exported");
    other.export_person(other.owner(), &folder)?;
    let owner = identity(&folder.join("owner.crt"), &folder.join("owner.key"))?;
    let how = api_refusal(platform, made, api, Some(&owner)).await?;
    tell.refused("the local API with the owner's certificate of another home", &how);
    Ok(())
}

async fn roles(made: &Made, paired: &Paired, tell: Teller) -> Ended {
    let mut owner = paired.session("owner", made).await?;
    for (person, role) in [("vera", Role::Viewer), ("max", Role::Member)] {
        paired.home.issue_person(person.parse()?)?;
        owner.share(&person.parse()?, role).await?;
    }
    let mut viewer = paired.session("vera", made).await?;
    let reading = viewer.get("power").await?;
    tell.saw(&format!("a viewer reads power = {reading}"));
    tell.refused("a viewer who commands", &judged(viewer.invoke("toggle", None).await)?);
    let mut member = paired.session("max", made).await?;
    member.invoke("toggle", None).await?;
    tell.saw("a member commands");
    let limit = member.set("maxPower", &json!(3000)).await;
    tell.refused("configuration without the owner role", &judged(limit)?);
    let grab = member.share(&"max".parse()?, Role::Owner).await;
    tell.refused("a member who makes himself owner", &judged(grab)?);
    let unknown = member.get("noSuchProperty").await;
    tell.refused("an unknown name, in the same words", &judged(unknown)?);
    Ok(())
}

async fn foreign_topics(platform: &Platform, made: &Made, tell: Teller) -> Ended {
    let other = platform.enrol(EnrolProfile::Device, "plug-000002").await?;
    let (mqtt, thing) = (platform.ready.mqtt.to_string(), &made.thing);
    let own = "things/plug-000002/actions/+";
    let (policy, roots) = (&platform.policy, &platform.roots);
    let mut device =
        Service::connect(&mqtt, policy, Some(&other), roots, "plug-000002", &[own]).await?;
    device.publish(&format!("things/{thing}/properties/power"), b"1");
    let reason = device
        .until(|event| match event {
            SessionEvent::PublicationRefused { reason, .. } => Some(*reason),
            _ => None,
        })
        .await?;
    let what = format!("plug-000002 that publishes as {thing}");
    tell.refused(&what, &format!("PUBACK reason 0x{reason:02x}"));
    let foreign = format!("things/{thing}/#");
    let listen =
        Service::connect(&mqtt, policy, Some(&other), roots, "plug-000002", &[&foreign]).await;
    tell.refused(&format!("plug-000002 that listens to {thing}"), &refusal(listen)?);
    Ok(())
}

async fn old_tls(platform: &Platform, api: SocketAddr, tell: Teller) -> Ended {
    for (name, address) in
        [("the gateway", platform.ready.mqtt), ("EST", platform.ready.est), ("the local API", api)]
    {
        let offered = offers(address, Version::Tls12).await?;
        if offered.is_accepted() {
            return Err(Failure::found(format!("{name} accepts TLS 1.2")));
        }
        tell.refused(&format!("{name} by TLS 1.2"), &offered.to_string());
    }
    Ok(())
}

/// A refused connection's words; one that was admitted ends the step.
fn refusal(tried: Ended<Service>) -> Ended<String> {
    match tried {
        Ok(_) => Err(Failure::found("was admitted")),
        Err(failure) => Ok(failure.text),
    }
}

fn judged<T>(tried: Result<T, ControlError>) -> Ended<String> {
    match tried {
        Ok(_) => Err(Failure::found("was admitted")),
        Err(error @ ControlError::Refused) => Ok(error.to_string()),
        Err(other) => Err(Failure::found(format!("was not refused, but: {other}"))),
    }
}

/// Asks the local API over TLS as nobody or somebody, and tells how it ends before any answer.
async fn api_refusal(
    platform: &Platform,
    made: &Made,
    api: SocketAddr,
    identity: Option<&TlsIdentity>,
) -> Ended<String> {
    let kinds = [IdentityKind::Thing, IdentityKind::IdevId];
    let client = TlsClient::new(
        &platform.policy,
        Use::LocalApi,
        identity,
        &platform.roots,
        &kinds,
        "http/1.1",
    )?;
    let attempt = async {
        let tcp = TcpStream::connect(api).await.map_err(|error| error.to_string())?;
        let name = format!("{}.local", made.thing);
        let mut channel = client.connect(&name, tcp).await.map_err(|error| error.to_string())?;
        let request = format!("GET /properties/power HTTP/1.1\r\nhost: {name}\r\n\r\n");
        channel.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = vec![0; 512];
        let count = channel.read(&mut answer).await.map_err(|error| error.to_string())?;
        Ok::<String, String>(String::from_utf8_lossy(&answer[..count]).into_owned())
    };
    match within(attempt).await? {
        Err(how) => Ok(how),
        Ok(answer) if answer.is_empty() => Ok("closed without a word".to_owned()),
        Ok(answer) => Err(Failure::found(format!("was answered: {answer}"))),
    }
}
