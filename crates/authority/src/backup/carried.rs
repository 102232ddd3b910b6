//! What the old ledger tells of is in force in the restored database.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_model::time::Timestamp;

use super::compare::{Compared, Had, Order, Told};
use crate::authorities::generations;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::registration::Reason;
use crate::revocation::many::Many;
use crate::store::{RevocationRecord, Store};

/// What a restored database has, to be compared.
pub(super) async fn had(store: &Store, told: &Told) -> Result<Had, AuthorityError> {
    let mut ordered = BTreeSet::new();
    for target in told.targets.iter().filter_map(|target| target.parse().ok()) {
        ordered.extend(store.serials_of(&target).await?);
    }
    let revoked = store.revocations_since(0).await?;
    let subjects = store.subjects_since(0).await?;
    Ok(Had {
        issued: store.serials().await?.into_iter().collect(),
        revoked: revoked.into_iter().map(|record: RevocationRecord| record.serial).collect(),
        ordered,
        states: subjects.into_iter().map(|one| (one.subject.to_string(), one.state)).collect(),
    })
}

/// Revocations that the ledger tells of and the database does not have.
//= specs/house.md#house-backup
//# A revocation that the ledger tells of MUST be in force in a restored authority.
pub(super) async fn take_over(
    store: &Store,
    compared: &Compared,
    orders: &[Order],
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let mut turn = store.exclusive().await?;
    for (serial, holder) in &compared.superseded {
        let known = turn.certificate(serial).await?.map(|record| record.subject);
        if let Some(subject) = known.as_ref().or(holder.as_ref()) {
            turn.mark_revoked(serial).await?;
            turn.put_revocation(now, subject, serial, Reason::Superseded).await?;
        }
    }
    for (serial, subject, reason) in &compared.revocations {
        turn.mark_revoked(serial).await?;
        turn.put_revocation(now, subject, serial, *reason).await?;
    }
    for (subject, state) in &compared.barred {
        let known = turn.subject(subject).await?;
        let grants = known.map(|known| known.grants).unwrap_or_default();
        turn.put_subject(subject, *state, &grants, now).await?;
    }
    let issuing = generations(&turn.issuing().await?);
    for order in orders {
        // Below a CA that was made after the backup nothing counts here; another will have its label.
        let known = |label: &String| issuing.iter().any(|row| row.label == *label);
        if matches!(&order.target, Many::Issuer(label) if !known(label)) {
            continue;
        }
        let hit = turn.hit(&order.target, order.reason).await?;
        turn.give_order(order.at, &order.target, order.reason, hit.certificates).await?;
    }
    Ok(turn.commit().await?)
}

/// Carries out the orders that are left; what the root is missing for.
pub(super) async fn carry_out(authority: &Authority) -> Result<Vec<String>, AuthorityError> {
    let mut findings = Vec::new();
    for order in authority.core.store.left_orders(authority.core.now()).await? {
        let Many::Issuer(label) = &order.target else { continue };
        match authority.step_aside(label).await {
            Ok(()) => {}
            Err(AuthorityError::RootNeeded(_)) => findings.push(format!(
                "issuing CA {label} was revoked and still issues, and what it issues is revoked: prepare and activate a successor with `authority rotate` before anybody enrols"
            )),
            Err(error) => return Err(error),
        }
    }
    authority.carry_on_orders(Duration::ZERO).await?;
    Ok(findings)
}
