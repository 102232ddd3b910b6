//! What the gateway sees of clones, told to the authority: an alarm, and what the configuration says of clones.

use std::time::Duration;

use countersign_authority::Authority;
use countersign_authority::subject::Subject;
use countersign_gateway::clones::CloneSeen;
use countersign_gateway::server::RunningGateway;
use serde_json::{Value, json};

/// How long after a try that failed the next one is: a full disk or a database server that is gone passes.
const RETRY: Duration = Duration::from_secs(15);

/// How often it is tried: five minutes. The device tells again within the hour, if it goes on.
const TRIES: usize = 20;

/// Follows the gateway for ever, one clone after the other.
pub(super) async fn follow(authority: &Authority, gateway: &RunningGateway) {
    while let Some(seen) = gateway.next_clone().await {
        tell(authority, &seen).await;
    }
    std::future::pending().await
}

async fn tell(authority: &Authority, seen: &CloneSeen) {
    let subject = Subject::Thing(seen.thing.clone());
    for _ in 0..TRIES {
        match authority.clone_seen(&subject, &seen.places(), detail(seen)).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, %subject, "a clone could not be recorded"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// For the ledger: who was where, since when, and with what.
fn detail(seen: &CloneSeen) -> Value {
    let one = |sighting: &countersign_gateway::clones::Sighting| {
        json!({
            "address": sighting.address.to_string(),
            "since": sighting.since.to_rfc3339(),
            "heard": sighting.heard.to_rfc3339(),
            "serial": sighting.serial,
            "key": sighting.spki_sha256,
        })
    };
    json!({"shown": seen.shown(), "older": one(&seen.older), "newer": one(&seen.newer)})
}
