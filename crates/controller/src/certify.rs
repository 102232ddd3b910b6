//! The home's own CA: small, self-made, and known to the home's devices only.

use crate::error::ControlError;
use countersign_crypto::certificate::{Certificate, IdentityKind, IdentityName};
use countersign_crypto::issue::{CaTemplate, Eku, Serial, Template, prepare, self_signed_ca, sign};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::KeyHandle;
use countersign_crypto::tls::{Clock, SystemClock};
use countersign_model::id::PersonName;
use countersign_model::time::{Timestamp, Validity};
use std::time::Duration;

/// Backdating, for devices whose clocks are a little behind.
const SKEW: Duration = Duration::from_secs(300);
/// Life of the home's anchor: longer than any device of the home.
const ANCHOR_LIFE: Duration = Duration::from_secs(30 * 365 * 86_400);
/// Life of a person's certificate: telephones are replaced sooner.
const PERSON_LIFE: Duration = Duration::from_secs(365 * 86_400);

fn validity(life: Duration) -> Validity {
    let now = Timestamp::from_secs(SystemClock.now().as_secs());
    let not_before = Timestamp(now.as_millis().saturating_sub(SKEW.as_millis() as u64));
    Validity { not_before, not_after: now.plus(life) }
}

/// The home's trust anchor.
pub(crate) fn anchor(key: &KeyHandle) -> Result<Certificate, ControlError> {
    let serial = Serial::random(&mut SystemRandom);
    let template = CaTemplate {
        // Every home is called the same: the serial and key tell them apart, and a device learns no surname.
        common_name: format!("Home {}", &serial.hex()[..8]),
        organisation: "countersign home".to_owned(),
        country: "ZZ".to_owned(),
        validity: validity(ANCHOR_LIFE),
        serial,
    };
    Ok(self_signed_ca(&template, key)?)
}

/// A person's certificate for `spki_der`.
pub(crate) fn person(
    name: &PersonName,
    spki_der: Vec<u8>,
    anchor: &Certificate,
    key: &KeyHandle,
) -> Result<Certificate, ControlError> {
    let identity = IdentityName::new(IdentityKind::Person, name.as_str())
        .map_err(|error| ControlError::Protocol(error.to_string()))?;
    let template = Template {
        common_name: name.as_str().to_owned(),
        identity,
        dns: Vec::new(),
        ips: Vec::new(),
        eku: Eku { server: false, client: true },
        validity: validity(PERSON_LIFE),
        serial: Serial::random(&mut SystemRandom),
        spki_der,
    };
    Ok(sign(prepare(&template, anchor, key.algorithm())?, key)?)
}
