//! The labels of a batch: drawn from its sealed job, as often as paper jams, until they are said to be printed.

use std::collections::{HashMap, HashSet};

use countersign_crypto::seal::SealKey;
use countersign_model::id::ThingId;
use countersign_model::label::{Label, RootFingerprint};
use serde_json::json;

use super::items::ItemState;
use super::job::Job;
use super::run::job_folder;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;

impl Authority {
    /// The labels of a batch's identities, by serial; of `only` these where it is not empty. That they leave is in the
    /// ledger first; the codes are not.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for a batch that nobody knows, or whose codes are destroyed;
    /// [`AuthorityError::Busy`] while it is being made.
    //= specs/house.md#house-ledger
    //# What leaves the authority MUST be in the ledger before it leaves.
    pub async fn batch_labels(
        &self,
        batch: &str,
        only: &[ThingId],
    ) -> Result<Vec<Label>, AuthorityError> {
        let (_, items) = self.batch_items(batch).await?;
        let job = self.open_job(batch)?;
        let only: HashSet<&str> = only.iter().map(ThingId::as_str).collect();
        // The root below which each identity hangs: since it was issued, the root may have been rolled.
        let issuers = self.core.store.issuers(batch).await?;
        let authorities = self.core.authorities()?;
        let above = |(label, ca)| {
            let root = authorities.root_of(&ca)?;
            Some((label, RootFingerprint::from_sha256(&root.fingerprint())))
        };
        let roots: HashMap<String, RootFingerprint> =
            authorities.labelled().into_iter().filter_map(above).collect();
        let mut labels = Vec::new();
        for item in items {
            let wanted = only.is_empty() || only.contains(item.serial.as_str());
            // A scrapped identity gets no label, nor one that was never issued, or whose CA counts no more.
            let root = issuers.get(&item.serial).and_then(|issuer| roots.get(issuer));
            let has_one = matches!(item.state, ItemState::Issued | ItemState::Shipped);
            let thing: ThingId = match item.serial.parse() {
                Ok(thing) if wanted && has_one => thing,
                _ => continue,
            };
            if let (Some(record), Some(root)) = (job.get(&thing), root) {
                labels.push(Label::new(thing, record.code(), *root));
            }
        }
        if let Some(absent) =
            only.iter().find(|one| labels.iter().all(|l| l.thing().as_str() != **one))
        {
            return Err(AuthorityError::Unknown(format!("a label of {absent} in batch {batch}")));
        }
        let body = json!({"what": "labels", "batch": batch, "count": labels.len()});
        self.core.record(Kind::Exported, body).await?;
        Ok(labels)
    }

    /// Destroys the setup codes of a batch, and the keys that were made here for it: its labels are printed, and its
    /// devices have their files. Nobody gets another label for one of them afterwards. How many codes they were.
    ///
    /// # Errors
    /// As [`Authority::batch_labels`].
    //= specs/house.md#house-factory
    //# The setup codes of a batch MUST be destroyed when its labels are printed.
    pub async fn destroy_labels(&self, batch: &str) -> Result<usize, AuthorityError> {
        let (_, items) = self.batch_items(batch).await?;
        let job = self.open_job(batch)?;
        let codes =
            items.iter().filter(|item| item.state == ItemState::Issued).count().min(job.len());
        let body = json!({"what": "factory job", "batch": batch, "codes": codes});
        self.core.record(Kind::KeyDestroyed, body).await?;
        job.destroy()?;
        Ok(codes)
    }

    fn open_job(&self, batch: &str) -> Result<Job, AuthorityError> {
        let folder = job_folder(self, batch);
        if !Job::is_there(&folder) {
            let what = format!(
                "a setup code of batch {batch} (they are destroyed once labels are printed)"
            );
            return Err(AuthorityError::Unknown(what));
        }
        Job::open(&folder, &SealKey::load(&self.core.layout.seal_key())?)
    }
}
