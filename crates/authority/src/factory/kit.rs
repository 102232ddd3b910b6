//! Handing a batch to a station that works away from the authority: identities that were made here before, and a signed
//! word that the station may hand them out. No key that issues leaves.
//!
//! ```text
//!  KIT/authorisation.cose   signed by the authority's factory key: station, batch, its serials' digest, until when
//!  KIT/factory.key          that key, SubjectPublicKeyInfo DER; the station knows its hash from when it was set up
//!  KIT/SERIAL.factory …     sealed; transport.key travels another way
//! ```

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::cose;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::signature::KeyHandle;
use countersign_model::factory::ENDING;
use countersign_model::time::Timestamp;
use minicbor::{Decoder, Encoder};
use serde_json::json;

use super::items::ItemState;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::store::ItemRecord;
use crate::subject::Purpose;

/// The name of the authorisation in a kit.
pub const AUTHORISATION: &str = "authorisation.cose";
/// The name of the authority's factory key in a kit.
pub const FACTORY_KEY: &str = "factory.key";
/// The longest that a station may work under one authorisation, in days.
pub const MAX_DAYS: u32 = 366;

/// The keystore's label of the key that signs authorisations.
const LABEL: &str = "factory";
const TYPE: &str = "application/countersign-authorisation+cbor";
const VERSION: u8 = 1;

/// What a station may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// Which station.
    pub station: String,
    /// Its key, SubjectPublicKeyInfo DER.
    pub station_spki: Vec<u8>,
    /// Of which batch.
    pub batch: String,
    /// What is made.
    pub product: String,
    /// How many identities: no more than the kit has.
    pub count: u64,
    /// SHA-256 over the kit's serials, sorted, a line each.
    pub serials_sha256: [u8; 32],
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Authorisation {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut Encoder::new(&mut out)).expect("writing to a vector cannot fail");
        out
    }

    fn write<W: minicbor::encode::Write>(
        &self,
        out: &mut Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        out.array(9)?.u8(VERSION)?.str(&self.station)?.bytes(&self.station_spki)?;
        out.str(&self.batch)?.str(&self.product)?.u64(self.count)?.bytes(&self.serials_sha256)?;
        out.u64(self.from.0)?.u64(self.until.0)?;
        Ok(())
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let input = &mut Decoder::new(payload);
        (input.array().ok()?? == 9 && input.u8().ok()? == VERSION).then_some(())?;
        let read = Self {
            station: input.str().ok()?.to_owned(),
            station_spki: input.bytes().ok()?.to_vec(),
            batch: input.str().ok()?.to_owned(),
            product: input.str().ok()?.to_owned(),
            count: input.u64().ok()?,
            serials_sha256: input.bytes().ok()?.try_into().ok()?,
            from: Timestamp(input.u64().ok()?),
            until: Timestamp(input.u64().ok()?),
        };
        (read.encode() == payload).then_some(read)
    }

    /// Signs it.
    pub(crate) fn sign(&self, key: &KeyHandle) -> Result<Vec<u8>, AuthorityError> {
        cose::sign1(key, TYPE, &self.encode())
            .map_err(|error| AuthorityError::Factory(error.to_string()))
    }

    /// Verifies a document under the authority's factory key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(document: &[u8], factory_spki_der: &[u8]) -> Result<Self, String> {
        let payload =
            cose::verify1(document, TYPE, factory_spki_der).map_err(|error| error.to_string())?;
        Self::decode(&payload).ok_or_else(|| "is of another form than this program's".to_owned())
    }
}

/// The digest of a kit's serials.
pub(crate) fn serials_digest<'a>(serials: impl Iterator<Item = &'a str>) -> [u8; 32] {
    let mut all: Vec<&str> = serials.collect();
    all.sort_unstable();
    sha256(all.join("\n").as_bytes())
}

impl Authority {
    /// The key that signs authorisations, SubjectPublicKeyInfo DER; made when it is asked for first.
    ///
    /// # Errors
    /// [`AuthorityError::Keystore`].
    pub fn factory_key(&self) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.factory_signer()?.spki_der().to_vec())
    }

    fn factory_signer(&self) -> Result<KeyHandle, AuthorityError> {
        self.core.authorities()?;
        self.key(LABEL, self.key_algorithm(Purpose::FactoryIdentity)?)
    }

    /// Makes the kit of a batch for its station in `kit`, from the sealed files in `made`; how many identities it has.
    /// Once a batch has left, the same kit is given again while its authorisation is good, so that the station's records go on.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] where the station has no key, the batch is not whole, or it was handed out before and
    /// the authorisation has ended or is for other identities.
    //= specs/house.md#house-factory
    //# A station that works away from the authority MUST NOT hold a key that issues.
    pub async fn export_kit(
        &self,
        batch: &str,
        made: &Path,
        kit: &Path,
        days: u32,
    ) -> Result<u64, AuthorityError> {
        let wrong = |detail: String| AuthorityError::Configuration {
            file: format!("batch {batch}"),
            detail,
        };
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(wrong(format!("{days} days: an authorisation is for 1 to {MAX_DAYS}")));
        }
        let signer = self.factory_signer()?;
        let mut turn = self.core.store.exclusive().await?;
        let record = turn.factory_batch(batch).await?;
        let mut record = record.ok_or_else(|| AuthorityError::Unknown(format!("batch {batch}")))?;
        let station =
            super::stations::known(turn.station(&record.station).await?, &record.station)?;
        if !station.open || station.spki.is_empty() {
            return Err(wrong(format!(
                "station {} is closed, or has no key: register it with its request (`station init` there, `station add --request` here)",
                station.name
            )));
        }
        let items: Vec<ItemRecord> = turn.items(batch).await?;
        if items.iter().any(|item| item.state == ItemState::Reserved) {
            return Err(wrong("is not whole: provision it to its end first".to_owned()));
        }
        // What the station said of them already changes nothing about what it was given.
        let given: Vec<&ItemRecord> =
            items.iter().filter(|item| item.state != ItemState::Refused).collect();
        let mut files = Vec::with_capacity(given.len() + 2);
        for item in &given {
            let name = format!("{}.{ENDING}", item.serial);
            let path = made.join(&name);
            files.push((name, std::fs::read(&path).map_err(AuthorityError::io(&path))?));
        }
        let now = self.core.now();
        let until = now.plus(Duration::from_secs(u64::from(days) * 24 * 60 * 60));
        let spki = signer.spki_der();
        let wanted = Authorisation {
            station: station.name.clone(),
            station_spki: hex::decode(&station.spki).unwrap_or_default(),
            batch: batch.to_owned(),
            product: record.product.clone(),
            count: given.len() as u64,
            serials_sha256: serials_digest(given.iter().map(|item| item.serial.as_str())),
            from: now,
            until,
        };
        let document = if record.authorisation.is_empty() {
            wanted.sign(&signer)?
        } else {
            // A second authorisation would leave every record under the first one without its own.
            let before = BASE64.decode(&record.authorisation).unwrap_or_default();
            let good = Authorisation::verify(&before, spki).ok().filter(|one| one.until > now);
            let good = good.ok_or_else(|| {
                wrong("its authorisation has ended, and its station may have said already what became of a part: make what is missing in another batch".to_owned())
            })?;
            if (good.count, good.serials_sha256) != (wanted.count, wanted.serials_sha256) {
                return Err(wrong(
                    "was handed out already with other identities: make the new ones in another batch".to_owned(),
                ));
            }
            before
        };
        let body = json!({
            "what": "kit", "batch": batch, "station": station.name, "count": given.len(),
            "authorisation_sha256": hex::encode(sha256(&document)), "key": hex::encode(spki),
        });
        self.core.record(Kind::Exported, body).await?;
        record.authorisation = BASE64.encode(&document);
        turn.put_factory_batch(&record).await?;
        turn.commit().await?;
        let count = files.len() as u64;
        files.push((FACTORY_KEY.to_owned(), spki.to_vec()));
        // Last: a kit with an authorisation is whole.
        files.push((AUTHORISATION.to_owned(), document));
        file::private_folder(kit).map_err(AuthorityError::io(kit))?;
        file::write_all_atomic(kit, &files, file::PRIVATE).map_err(AuthorityError::io(kit))?;
        Ok(count)
    }
}
