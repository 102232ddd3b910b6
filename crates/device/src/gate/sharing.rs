//! Invitations, the network's credentials and the record, behind the gate.

use super::{Failure, Gate};
use crate::data::{Record, StoreError};
use crate::functions::FunctionError;
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::tls::{Clock as _, trust_anchor};
use countersign_model::id::PersonName;
use countersign_model::time::Timestamp;
use countersign_protocol::invitation::{Door, Ended, Joining, Offer, Why};
use countersign_protocol::journal::{Note, What};
use countersign_protocol::pairing::NetworkCredentials;
use countersign_protocol::permit::device::{AccessError, ConfigurePermit, ReadPermit};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, MutexGuard, PoisonError};

/// How strong a network's key counts: WPA's pairwise master key derives from it, and no channel of ours is weaker.
const NETWORK_KEY_STRENGTH: Strength = Strength(128);
/// Who joins, for the record.
const BY_CODE: &str = "the invitation's code";
/// Who ends invitations by the clock, for the record.
const BY_DEVICE: &str = "the device";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    ssid: String,
    key: String,
}

impl Gate {
    /// The device's own record, under a permit to read the property `history`.
    #[must_use]
    pub fn history(&self, _permit: &ReadPermit) -> Value {
        self.store.with(|record| json!(record.journal))
    }

    /// Opens the door for one person. Who invited whom is on disk before anybody is told.
    ///
    /// # Errors
    /// [`Failure::Invite`], [`Failure::Function`] for an offer that is none; [`Failure::Store`]: nobody is invited then.
    pub(super) fn invite(&self, permit: &ConfigurePermit, input: &Value) -> Result<(), Failure> {
        let offer = Offer::from_input(input).map_err(|e| FunctionError::Input(e.to_string()))?;
        let (person, role, life) = (offer.person.clone(), offer.role, offer.life);
        let access = self.store.with(|record| record.home.as_ref().map(|home| home.access.clone()));
        let access = access.ok_or(AccessError::LastOwner)?;
        let now = self.clock.now();
        let mut door = self.door();
        let before = door.open(permit, offer, &access, self.uptime())?;
        let by = permit.by().to_string();
        let stored = self.store.update_by(&by, |record| {
            if let Some(before) = before {
                note_end(record, now, &by, before);
            }
            let note = Note::new(What::Invited).of(person.clone()).to(role);
            let note = note.detail(&format!("for {} seconds", life.as_secs()));
            record.journal.append(now, &by, note);
            record.invited = Some((person, role));
        });
        stored.map_err(|error| {
            door.withdraw();
            error.into()
        })
    }

    /// Withdraws the invitation of this person, if it is they who are invited.
    pub(super) fn uninvite(
        &self,
        permit: &ConfigurePermit,
        person: &PersonName,
    ) -> Result<(), Failure> {
        let mut door = self.door();
        if door.invited().is_none_or(|(invited, ..)| invited != person) {
            return Ok(());
        }
        let ended = door.withdraw();
        Ok(self.end(&permit.by().to_string(), ended)?)
    }

    /// Stores who proved the code, and lets everybody know.
    ///
    /// # Errors
    /// [`Failure::Access`] when somebody has got that name meanwhile; [`Failure::Store`]; [`Failure::Function`] for what is
    /// no anchor.
    pub(crate) fn join(&self, joining: &Joining) -> Result<(), Failure> {
        let anchor = trust_anchor(joining.anchor()).ok_or_else(|| {
            FunctionError::Input("no usable self-signed CA certificate".to_owned())
        })?;
        let joined = self.store.update_by(BY_CODE, |record| {
            let Some(home) = &mut record.home else { return Err(AccessError::LastOwner) };
            home.access.join(joining)?;
            record.guests.push(anchor);
            record.invited = None;
            Ok(())
        })?;
        joined?;
        self.rights.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Whether somebody is invited at this moment.
    pub(crate) fn door_is_open(&self) -> bool {
        self.look_at_door();
        self.door().invited().is_some()
    }

    /// Ends an invitation that is over, and records it.
    pub(crate) fn look_at_door(&self) {
        let access = self.store.with(|record| record.home.as_ref().map(|home| home.access.clone()));
        let mut door = self.door();
        let ended = match &access {
            Some(access) => door.look(access, self.uptime()),
            None => door.withdraw(),
        };
        if let Err(error) = self.end(BY_DEVICE, ended) {
            tracing::error!(%error, "the end of an invitation could not be recorded");
        }
    }

    /// After a start and at the start of each home: whoever was invited before is so no more.
    pub(crate) fn started(&self) -> Result<(), StoreError> {
        // Whoever a former home invited is nobody's guest here. What it recorded went with it.
        self.door().withdraw();
        let invited = self.store.with(|record| record.invited.clone());
        let ended = invited.map(|(person, role)| Ended { person, role, why: Why::Restarted });
        self.end(BY_DEVICE, ended)
    }

    /// Records how an invitation ended.
    pub(crate) fn end(&self, by: &str, ended: Option<Ended>) -> Result<(), StoreError> {
        let Some(ended) = ended else { return Ok(()) };
        let now = self.clock.now();
        self.store.update_by(by, |record| {
            note_end(record, now, by, ended);
            record.invited = None;
        })
    }

    /// Where the invited come in. Held for moments only.
    pub(crate) fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the network's credentials.
    pub(super) fn replace_network(
        &self,
        permit: &ConfigurePermit,
        input: Value,
    ) -> Result<(), Failure> {
        let Network { ssid, key } = serde_json::from_value(input)
            .map_err(|_| FunctionError::Input("ssid and key are needed".to_owned()))?;
        if key.len() > 64 || ssid.len() > 32 {
            let text = "an ssid has at most 32 bytes, a key at most 64".to_owned();
            return Err(FunctionError::Input(text).into());
        }
        let key = Secret::new(key.into_bytes(), NETWORK_KEY_STRENGTH);
        let network = Arc::new(NetworkCredentials { ssid, key });
        self.store.update_by(&permit.by().to_string(), |record| {
            if let Some(home) = &mut record.home {
                home.network = Some(network);
            }
        })?;
        Ok(())
    }
}

fn note_end(record: &mut Record, at: Timestamp, by: &str, ended: Ended) {
    let Ended { person, role, why } = ended;
    let note = Note::new(What::InvitationEnded).of(person).to(role).detail(why.as_str());
    record.journal.append(at, by, note);
}
