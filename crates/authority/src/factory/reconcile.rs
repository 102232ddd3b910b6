//! What a station says became of a batch, held against what was issued. All of a manifest is taken, or nothing.
//!
//! ```text
//!  verify       every record, under the station's key                                   manifest
//!  goes on      from the records that were taken before, with more
//!  each record  the batch's serial, key and verifier; in the authorisation's time; an outcome that can be
//!  revoke       what was scrapped
//!  record       ledger, then database
//! ```

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::digest::sha256;
use serde_json::json;

use super::items::{ItemState, Outcome};
use super::kit::Authorisation;
use super::manifest::{self, Record, VerifiedManifest};
use super::stations::known;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::Reason;
use crate::revocation::Target;
use crate::store::{BatchRecord, ItemRecord};
use crate::subject::Subject;

/// What a manifest changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// The batch.
    pub batch: String,
    /// Records that were new.
    pub records: u64,
    /// Identities that are shipped now and were not before.
    pub shipped: u64,
    /// Identities that are scrapped, and revoked, now and were not before.
    pub scrapped: u64,
}

impl Authority {
    /// Takes a station's manifest.
    ///
    /// # Errors
    /// [`AuthorityError::Manifest`] names the record and serial that it is refused for; then nothing is changed.
    pub async fn reconcile(&self, bytes: &[u8]) -> Result<Reconciliation, AuthorityError> {
        let refused = |why: String| AuthorityError::Manifest(why);
        let name = manifest::claimed(bytes)
            .ok_or_else(|| refused("is no manifest, or holds no record".to_owned()))?;
        // Outside the writer's turn: every record's signature is verified, and there may be very many.
        let (batch, items) = match self.batch_items(&name).await {
            Err(AuthorityError::Unknown(_)) => {
                return Err(refused(format!("batch {name} is not known here")));
            }
            found => found?,
        };
        let stations = self.core.store.stations().await?;
        let station = stations.into_iter().find(|station| station.name == batch.station);
        let station = known(station, &batch.station)?;
        let spki = hex::decode(&station.spki).unwrap_or_default();
        let verified =
            VerifiedManifest::verify(bytes, &spki).map_err(|fault| refused(fault.to_string()))?;
        let judged = judge(&batch, &verified, &items, &self.factory_key()?).map_err(refused)?;

        //= specs/house.md#house-factory
        //# An identity that was scrapped MUST be revoked.
        // Before it is recorded: one that is killed here is repeated, and revoking twice is fine.
        for item in judged.changed.iter().filter(|item| item.state == ItemState::Scrapped) {
            if let Ok(thing) = item.serial.parse() {
                let target = Target::Subject(Subject::Thing(thing));
                self.revoke(&target, Reason::CessationOfOperation).await?;
            }
        }

        let mut turn = self.core.store.exclusive().await?;
        let now = (turn.factory_batch(&name).await?, turn.items(&name).await?);
        if (now.0.as_ref(), &now.1) != (Some(&batch), &items) {
            return Err(refused(
                "somebody else changed this batch at the same time: try again".to_owned(),
            ));
        }
        let outcome = judged.outcome;
        let body = json!({
            "batch": name, "station": batch.station, "records": verified.records().len(),
            "head": hex::encode(verified.last()), "manifest_sha256": hex::encode(sha256(bytes)),
            "shipped": outcome.shipped, "scrapped": outcome.scrapped,
        });
        self.core.record(Kind::Reconciled, body).await?;
        for item in &judged.changed {
            turn.put_item(item).await?;
        }
        let records = verified.records().len() as u64;
        let head = hex::encode(verified.last());
        turn.put_factory_batch(&BatchRecord { records, head, ..batch }).await?;
        turn.commit().await?;
        Ok(outcome)
    }
}

struct Judged {
    changed: Vec<ItemRecord>,
    outcome: Reconciliation,
}

/// Holds a verified manifest against the batch. Says what is wrong, and with which serial.
fn judge(
    batch: &BatchRecord,
    verified: &VerifiedManifest,
    items: &[ItemRecord],
    factory_spki: &[u8],
) -> Result<Judged, String> {
    let records = verified.records();
    let taken = usize::try_from(batch.records).unwrap_or(usize::MAX);
    let head = verified.head(taken).map(hex::encode);
    if records.len() < taken
        || (records.len() == taken && head.as_deref() == Some(batch.head.as_str()))
    {
        return Err(format!(
            "holds nothing new: {taken} records of batch {} were taken before",
            batch.name
        ));
    }
    if taken > 0 && head.as_deref() != Some(batch.head.as_str()) {
        return Err(format!(
            "does not go on from the {taken} records of batch {} that were taken before: the station has written its past anew",
            batch.name
        ));
    }
    let document = BASE64.decode(&batch.authorisation).unwrap_or_default();
    let authorisation = Authorisation::verify(&document, factory_spki)
        .map_err(|_| format!("batch {} was never handed to a station", batch.name))?;
    let digest = sha256(&document);
    let mut known: HashMap<&str, ItemRecord> =
        items.iter().map(|item| (item.serial.as_str(), item.clone())).collect();
    let mut outcome = Reconciliation { batch: batch.name.clone(), ..Reconciliation::default() };
    let mut changed: Vec<&str> = Vec::new();
    for record in &records[taken..] {
        let named = |why: &str| format!("record {}, {}: {why}", record.number, record.serial);
        if record.station != batch.station {
            return Err(named("is of another station"));
        }
        if record.authorisation != digest {
            return Err(named("was not done under this batch's authorisation"));
        }
        if record.at < authorisation.from || record.at > authorisation.until {
            return Err(named("was done outside the authorisation's time"));
        }
        let Some((serial, item)) = known.get_key_value(record.serial.as_str()) else {
            return Err(named("is no serial of this batch"));
        };
        let serial = *serial;
        let next = apply(item, record).map_err(|why| named(&why))?;
        outcome.records += 1;
        match (item.state, next.state) {
            (ItemState::Issued, ItemState::Shipped) => outcome.shipped += 1,
            (before, ItemState::Scrapped) => {
                outcome.scrapped += 1;
                outcome.shipped -=
                    u64::from(before == ItemState::Shipped && changed.contains(&serial))
                        .min(outcome.shipped);
            }
            _ => {}
        }
        changed.push(serial);
        known.insert(serial, next);
    }
    changed.sort_unstable();
    changed.dedup();
    let changed = changed.into_iter().filter_map(|serial| known.remove(serial)).collect();
    Ok(Judged { changed, outcome })
}

fn apply(item: &ItemRecord, record: &Record) -> Result<ItemRecord, String> {
    if hex::encode(record.spki_sha256) != item.spki_sha256
        || hex::encode(record.verifier_sha256) != item.verifier_sha256
    {
        return Err("has another key or verifier than was issued".to_owned());
    }
    let handed_out = item.note.starts_with(HANDED_OUT);
    let state = item
        .state
        .after(record.outcome)
        .filter(|_| !(record.outcome == Outcome::Issued && handed_out));
    let state =
        state.ok_or_else(|| format!("cannot be {} now: it is {}", record.outcome, item.state))?;
    let note = match record.outcome {
        Outcome::Issued => HANDED_OUT.to_owned(),
        _ => record.note.clone(),
    };
    Ok(ItemRecord { state, note, ..item.clone() })
}

/// What the station has put into a device, and has not said more of.
const HANDED_OUT: &str = "handed out";
