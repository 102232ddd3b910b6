//! Taking a certificate back while it is in use, and letting the device come again.

use std::time::Instant;

use countersign_authority::registration::Reason;
use countersign_authority::revocation::Target;
use countersign_authority::subject::Subject;

use super::platform::{Made, Platform};
use super::stage::Teller;
use crate::console::millis;
use crate::failure::{Ended, Failure};

/// DESIGN: from the order to the closed socket.
const WITHIN_MILLIS: u64 = 1_000;

pub(super) async fn show(platform: &mut Platform, made: &mut Made, tell: Teller) -> Ended {
    let subject = Subject::Thing(made.thing.clone());
    let before = made.status.reached(&mut made.process, |now| now.uplink == "connected").await?;
    // 1. Revoke, from this process; authority and gateway run in another.
    let ordered = Instant::now();
    let target = Target::Subject(subject.clone());
    let revoked = platform.authority.revoke(&target, Reason::KeyCompromise).await?;
    tell.saw(&format!(
        "revoked {} in {} ms",
        revoked.serials.join(", "),
        millis(ordered.elapsed())
    ));
    // 2. The open session closes.
    made.status.reached(&mut made.process, |now| now.uplink != "connected").await?;
    let closed = millis(ordered.elapsed());
    tell.saw(&format!("the open session closed {closed} ms after the order"));
    // 3. The next handshake fails.
    let now = made.status.reached(&mut made.process, |now| now.uplink == "refused").await?;
    let refused = millis(ordered.elapsed());
    let how = now.detail.unwrap_or_default();
    tell.refused(&format!("the next handshake, {refused} ms after the order"), &how);
    if closed > WITHIN_MILLIS {
        return Err(Failure::found(format!("the session closed only after {closed} ms")));
    }
    // 4. Re-instatement: the device enrols anew by its factory identity.
    let reinstated = Instant::now();
    platform.authority.reinstate(&subject).await?;
    let after = made
        .status
        .reached(&mut made.process, |now| {
            now.uplink == "connected" && now.identity != before.identity
        })
        .await?;
    tell.saw(&format!(
        "re-instated: new LDevID {}, connected after {} ms",
        after.identity.unwrap_or_default(),
        millis(reinstated.elapsed())
    ));
    Ok(())
}
