//! What an owner leaves at the device: whom, as what, for how long, and the verifier of the code.

use crate::hex;
use countersign_crypto::pake::{PakeError, PakeParams, RECORD_LEN, VerifierRecord, derive};
use countersign_crypto::random::Random;
use countersign_crypto::secret::{ChannelTooWeak, Secret, Strength};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::label::SetupCode;
use countersign_model::role::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// An invitation as an owner makes it. It holds the verifier of the code and never the code.
#[derive(Debug)]
pub struct Offer {
    /// The name that the invited person will have at this device.
    pub person: PersonName,
    /// Their role.
    pub role: Role,
    /// For how long.
    pub life: Duration,
    /// The cost of the code's derivation.
    pub params: PakeParams,
    /// The verifier's bytes.
    pub record: Secret,
}

/// What came with the action `invite` is no offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an invitation: {0}")]
pub struct InvalidOffer(&'static str);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Input {
    person: PersonName,
    role: Role,
    seconds: u32,
    salt: String,
    memory: u32,
    passes: u32,
    lanes: u32,
    verifier: String,
}

impl Offer {
    /// An offer for who knows `code`. Takes the time and memory of the derivation.
    ///
    /// # Errors
    /// [`PakeError::Environment`] when the memory is not there.
    pub fn new(
        code: &SetupCode,
        thing: &ThingId,
        (person, role): (PersonName, Role),
        life: Duration,
        random: &mut dyn Random,
    ) -> Result<Self, PakeError> {
        let params = PakeParams::fresh(random);
        let record = derive(code, thing, &params)?.record().to_secret();
        Ok(Self { person, role, life, params, record })
    }

    /// The input of the action `invite`, for a channel of strength `channel`.
    ///
    /// # Errors
    /// [`ChannelTooWeak`]: the verifier would travel less protected than the code is strong.
    //= specs/en-303-645.md#5.5-7
    pub fn to_input(&self, channel: Strength) -> Result<Value, ChannelTooWeak> {
        let verifier = self.record.reveal_to(channel, hex::write)?;
        Ok(json!(Input {
            person: self.person.clone(),
            role: self.role,
            seconds: u32::try_from(self.life.as_secs()).unwrap_or(u32::MAX),
            salt: hex::write(self.params.salt()),
            memory: self.params.memory_kib(),
            passes: self.params.passes(),
            lanes: self.params.lanes(),
            verifier,
        }))
    }

    /// Reads the input of the action `invite`.
    ///
    /// # Errors
    /// [`InvalidOffer`], with the part that is wrong.
    pub fn from_input(input: &Value) -> Result<Self, InvalidOffer> {
        let input = Input::deserialize(input).map_err(|_| InvalidOffer("a part is missing"))?;
        let salt = hex::read(&input.salt).ok_or(InvalidOffer("salt"))?;
        let params = PakeParams::new(salt, input.memory, input.passes, input.lanes);
        let record: [u8; RECORD_LEN] =
            hex::read(&input.verifier).ok_or(InvalidOffer("verifier"))?;
        let record = Secret::new(record.to_vec(), Strength(128));
        // A record that cannot be used is found now, while its maker is there to hear of it.
        record.expose(VerifierRecord::from_bytes).map_err(|_| InvalidOffer("verifier"))?;
        Ok(Self {
            person: input.person,
            role: input.role,
            life: Duration::from_secs(u64::from(input.seconds)),
            params: params.map_err(|_| InvalidOffer("memory, passes or lanes"))?,
            record,
        })
    }
}
