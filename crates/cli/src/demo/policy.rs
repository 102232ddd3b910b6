//! The crypto policy, replaced while everything runs: forward to hybrid groups alone, nowhere back, and forward again.

use std::time::Instant;

use countersign_authority::{AuthorityError, PolicyOutcome};
use countersign_crypto::file;
use countersign_crypto::policy::{CompiledPolicy, Policy, Use};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::time::Day;
use serde::Serialize;

use super::platform::{Made, Platform, identity};
use super::service::Service;
use super::stage::Teller;
use super::status::Now;
use crate::commands::policy::signing::{heard, outcome};
use crate::console::millis;
use crate::failure::{Ended, Failure, Named as _};

/// What came of it, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Replaced {
    /// The version that the device began with, and its group.
    from: Held,
    /// The version that it followed to, and its group.
    to: Held,
    /// From publishing to the device's session under it.
    millis: u64,
    /// Why the version before was refused, by the authority and by the gateway.
    refused: [String; 2],
    /// The version in force at the end.
    in_force: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Held {
    version: u64,
    group: String,
}

/// What a device that holds a policy says of it.
fn held(now: &Now) -> Held {
    let group = now.negotiated.as_ref().map(|negotiated| negotiated.group.clone());
    Held { version: now.policy.version, group: group.unwrap_or_default() }
}

pub(super) async fn show(
    platform: &mut Platform,
    made: &mut Made,
    tell: Teller,
) -> Ended<Replaced> {
    let before = made.status.reached(&mut made.process, |now| now.uplink == "connected").await?;
    let from = held(&before);
    let path = platform.authority.layout().policy();
    let first = std::fs::read(&path).at(&path)?;
    tell.saw(&format!("policy {} is in force; the device's group is {}", from.version, from.group));
    // 1. The next version: no group without ML-KEM at the uplink, and the other hybrid one preferred, to be seen at once.
    let mut next = Policy::built_in();
    next.maker = Some(platform.authority.maker()?);
    next.version = from.version + 1;
    if let Some(uplink) = next.uses.get_mut(&Use::DeviceUplink) {
        uplink.groups.retain(|group| group.name.contains("MLKEM"));
        uplink.groups.sort_by_key(|group| group.name == from.group);
    }
    let (to, took) = replace(platform, made, &next, tell).await?;
    if !to.group.contains("MLKEM") || to.group == from.group {
        return Err(Failure::found(format!("the device's group is {}", to.group)));
    }
    classical(platform, tell).await?;
    // 2. Nobody goes back: not by the authority, and not past it by whoever can write into the folder.
    let refused = [not_published(platform, &first).await?, not_taken(platform, &first).await?];
    tell.refused(&format!("version {} by the authority", from.version), &refused[0]);
    tell.refused(&format!("version {} slipped in at the gateway", from.version), &refused[1]);
    let now = made.status.reached(&mut made.process, |now| now.uplink == "connected").await?;
    if now.policy.version != to.version {
        return Err(Failure::found(format!("the device holds version {}", now.policy.version)));
    }
    // 3. What the first one allowed comes again as a newer version only: ordinary clients have no hybrid group yet.
    let mut last = Policy::built_in();
    (last.maker, last.version) = (next.maker, next.version + 1);
    replace(platform, made, &last, tell).await?;
    Ok(Replaced { from, to, millis: took, refused, in_force: last.version })
}

/// Signs and publishes; waits for the gateway and for the device.
async fn replace(
    platform: &mut Platform,
    made: &mut Made,
    policy: &Policy,
    tell: Teller,
) -> Ended<(Held, u64)> {
    let version = policy.version;
    let began = Instant::now();
    let earlier = outcome(&platform.authority);
    let document = platform.authority.sign_policy(policy).await?.document;
    platform.authority.publish_policy(&document).await?;
    let taken = said(platform, &document, earlier).await?;
    if !taken.activated() {
        return Err(Failure::found(format!("version {version}: {}: {}", taken.word, taken.text)));
    }
    let at_gateway = millis(began.elapsed());
    platform.process.runs()?;
    tell.saw(&format!(
        "policy {version} signed, published, tried in a handshake and in force after {at_gateway} ms: process {} serves on",
        platform.process.id()
    ));
    let now = made
        .status
        .reached(&mut made.process, |now| now.uplink == "connected" && now.holds(version))
        .await?;
    let (to, took) = (held(&now), millis(began.elapsed()));
    tell.saw(&format!(
        "the device followed after {took} ms: policy {}, group {}",
        to.version, to.group
    ));
    Ok((to, took))
}

/// A service that offers no hybrid group has no session any more.
async fn classical(platform: &Platform, tell: Teller) -> Ended {
    let mut policy = Policy::built_in();
    if let Some(uplink) = policy.uses.get_mut(&Use::DeviceUplink) {
        uplink.groups.retain(|group| !group.name.contains("MLKEM"));
    }
    let policy = CompiledPolicy::compile(policy, Day::of(SystemClock.now()))
        .map_err(|faults| Failure::found(format!("{faults:?}")))?;
    let certs = &platform.certs;
    let backend = identity(&certs.join("backend.crt"), &certs.join("backend.key"))?;
    let address = platform.ready.mqtt.to_string();
    let tried =
        Service::connect(&address, &policy, Some(&backend), &platform.roots, "backend", &[]).await;
    match tried {
        Ok(_) => Err(Failure::found("a client without a hybrid group was let in")),
        Err(refused) => {
            tell.refused("a client without a hybrid group", &refused.text);
            Ok(())
        }
    }
}

/// The authority does not publish what is older than what it has published.
async fn not_published(platform: &Platform, document: &[u8]) -> Ended<String> {
    match platform.authority.publish_policy(document).await {
        Err(AuthorityError::Policy(reason)) => Ok(reason),
        Err(other) => Err(other.into()),
        Ok(_) => Err(Failure::found("an older policy was published")),
    }
}

/// And the gateway does not take it where it is put past the authority.
async fn not_taken(platform: &Platform, document: &[u8]) -> Ended<String> {
    let path = platform.authority.layout().policy_next();
    let earlier = outcome(&platform.authority);
    file::write_atomic(&path, document, file::PUBLIC).at(&path)?;
    let taken = said(platform, document, earlier).await?;
    if taken.activated() {
        return Err(Failure::found("an older policy came into force"));
    }
    Ok(format!("{}: {}", taken.word, taken.text))
}

async fn said(
    platform: &Platform,
    document: &[u8],
    earlier: Option<PolicyOutcome>,
) -> Ended<PolicyOutcome> {
    heard(&platform.authority, document, earlier)
        .await?
        .ok_or_else(|| Failure::found("the gateway did not say what became of the policy"))
}
