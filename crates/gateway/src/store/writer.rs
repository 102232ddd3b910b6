//! The task that owns the store: what arrives while one commit runs goes into the next, together.

use super::Store;
use super::fleet::{HeldPolicy, HeldRoot, Sighting};
use crate::broker::record::{Record, Ticket};
use countersign_protocol::fleet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Batches in one commit; a longer one would keep the first acknowledgement waiting for the last record.
const MAX_GROUP: usize = 512;

/// How long to wait before trying again on a disk that failed, for instance because it is full.
const RETRY: Duration = Duration::from_secs(1);

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make durable and confirm.
    Batch { ticket: Ticket, records: Vec<Record> },
    /// Note who was seen; nobody waits for it.
    Note(Box<Sighting>),
    /// Note which policy somebody holds; nobody waits for it.
    Policy(HeldPolicy),
    /// Note which root a device trusts; nobody waits for it, and the device says it again with its next connection.
    Root(HeldRoot),
    /// Read all notes.
    Fleet(oneshot::Sender<Vec<fleet::Record>>),
}

/// Works until every sender of `jobs` is gone, then returns the store. `confirm` hears the highest ticket that is durable.
///
/// A failing disk loses nothing: the group is tried again until it succeeds, and nobody is told that it is stored.
pub(crate) async fn run(
    mut store: Store,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    confirm: impl Fn(Ticket) + Send,
) -> Store {
    while let Some(first) = jobs.recv().await {
        let mut group = vec![first];
        while group.len() < MAX_GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        let (mut records, mut notes, mut last) = (Vec::new(), Vec::new(), None);
        let (mut policies, mut roots, mut readers) = (Vec::new(), Vec::new(), Vec::new());
        for job in group {
            match job {
                Job::Batch { ticket, records: more } => {
                    records.extend(more);
                    last = Some(ticket);
                }
                Job::Note(note) => notes.push(*note),
                Job::Policy(held) => policies.push(held),
                Job::Root(held) => roots.push(held),
                Job::Fleet(reader) => readers.push(reader),
            }
        }
        if let Some(ticket) = last {
            while let Err(error) = store.apply(&records).await {
                tracing::error!(%error, "cannot store; acknowledgements wait, trying again");
                tokio::time::sleep(RETRY).await;
            }
            confirm(ticket);
        }
        if !notes.is_empty()
            && let Err(error) = store.note(&notes).await
        {
            tracing::warn!(%error, "cannot note who was seen");
        }
        for held in policies {
            if let Err(error) = store.note_policy(&held).await {
                tracing::warn!(%error, "cannot note which policy is held");
            }
        }
        for held in roots {
            if let Err(error) = store.note_root(&held).await {
                tracing::warn!(%error, "cannot note which root is trusted");
            }
        }
        for reader in readers {
            let records = store.fleet().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot read who was seen");
                Vec::new()
            });
            // The asker may have gone; then nobody misses the answer.
            let _ = reader.send(records);
        }
    }
    store
}
