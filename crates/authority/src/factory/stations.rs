//! Stations of the factory: who may take how many identities.

use countersign_crypto::csr;
use countersign_model::id::ServiceName;
use serde_json::json;

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::store::{BatchRecord, ItemRecord, StationRecord};

/// A station, and what it has taken of its quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationUse {
    /// The station.
    pub station: StationRecord,
    /// Identities that it took, in all batches.
    pub used: u64,
}

impl Authority {
    /// Registers a station. With `request`, a PKCS#10 request that is signed with its key, it may work away from here.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] for a name that is taken or no name, [`AuthorityError::Request`].
    pub async fn add_station(
        &self,
        name: &str,
        quota: u64,
        request: Option<&[u8]>,
    ) -> Result<StationRecord, AuthorityError> {
        let wrong = |detail: String| AuthorityError::Configuration {
            file: format!("station {name}"),
            detail,
        };
        let _: ServiceName = name.parse().map_err(|error| wrong(format!("{error}")))?;
        let spki = match request {
            None => String::new(),
            Some(der) => {
                let request = csr::verify(der)?;
                if request.common_name() != Some(name) {
                    let detail = "the request's common name is another station's".to_owned();
                    return Err(wrong(detail));
                }
                hex::encode(request.spki_der())
            }
        };
        let mut turn = self.core.store.exclusive().await?;
        if turn.station(name).await?.is_some() {
            return Err(wrong(
                "is registered already: use `station set` to change its quota".to_owned(),
            ));
        }
        let record = StationRecord {
            name: name.to_owned(),
            spki,
            open: true,
            quota,
            created_at: self.core.now(),
        };
        let body = json!({"station": name, "quota": quota, "spki": record.spki, "state": "open"});
        self.core.record(Kind::Station, body).await?;
        turn.put_station(&record).await?;
        turn.commit().await?;
        Ok(record)
    }

    /// Gives a station another quota, or closes or opens it. A quota below what it has taken is fine: it takes no more.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`].
    pub async fn set_station(
        &self,
        name: &str,
        quota: Option<u64>,
        open: Option<bool>,
    ) -> Result<StationRecord, AuthorityError> {
        let mut turn = self.core.store.exclusive().await?;
        let mut record = known(turn.station(name).await?, name)?;
        record.quota = quota.unwrap_or(record.quota);
        record.open = open.unwrap_or(record.open);
        let state = if record.open { "open" } else { "closed" };
        let body = json!({"station": name, "quota": record.quota, "state": state});
        self.core.record(Kind::Station, body).await?;
        turn.put_station(&record).await?;
        turn.commit().await?;
        Ok(record)
    }

    /// Every station with what it has taken.
    ///
    /// # Errors
    /// [`AuthorityError::Store`].
    pub async fn stations(&self) -> Result<Vec<StationUse>, AuthorityError> {
        let mut turn = self.core.store.exclusive().await?;
        let mut all = Vec::new();
        for station in self.core.store.stations().await? {
            let used = turn.used_by_station(&station.name).await?;
            all.push(StationUse { station, used });
        }
        Ok(all)
    }

    /// Every batch.
    ///
    /// # Errors
    /// [`AuthorityError::Store`].
    pub async fn batches(&self) -> Result<Vec<BatchRecord>, AuthorityError> {
        Ok(self.core.store.batches().await?)
    }

    /// Every item of a batch.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`].
    pub async fn batch_items(
        &self,
        name: &str,
    ) -> Result<(BatchRecord, Vec<ItemRecord>), AuthorityError> {
        let batch = self.core.store.batches().await?.into_iter().find(|batch| batch.name == name);
        let batch = batch.ok_or_else(|| AuthorityError::Unknown(format!("batch {name}")))?;
        Ok((batch, self.core.store.items(name).await?))
    }
}

/// The station, or an error that names it.
pub(crate) fn known(
    found: Option<StationRecord>,
    name: &str,
) -> Result<StationRecord, AuthorityError> {
    found.ok_or_else(|| AuthorityError::Configuration {
        file: format!("station {name}"),
        detail: "is not registered: `countersign authority station add` first".to_owned(),
    })
}
