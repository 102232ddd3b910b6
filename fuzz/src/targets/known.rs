//! What targets share: randomness that is the same each time, and one pairing that the corpus was recorded from.

use countersign_crypto::pake::{PakeParams, VerifierRecord};
use countersign_crypto::random::Random;
use countersign_crypto::secret::{Secret, Strength};
use countersign_model::id::ThingId;
use countersign_model::label::SetupCode;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{Operation, ThingDescription};
use countersign_model::time::Timestamp;
use countersign_protocol::discovery::ThingKey;
use countersign_protocol::invitation::{Door, Offer};
use countersign_protocol::pairing::{
    Attempts, Binding, Installation, NetworkCredentials, PairingDevice,
};
use countersign_protocol::permit::device::{AccessList, Permit, Request, Subject, judge};
use std::time::Duration;

/// The verifier of [`code`] with [`params`], derived once: deriving it takes longer than a run.
const RECORD: &[u8] = include_bytes!("../../fixtures/verifier.bin");

/// The same bytes for the same seed; not for secrets.
pub struct Known(pub u64);

impl Random for Known {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 =
                self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0xda3e_39cb_94b9_5bdb);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// The instant at which everything happens.
pub const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The device.
pub fn thing() -> ThingId {
    "plug-000001".parse().expect("a name")
}

/// The code on its label.
pub fn code() -> SetupCode {
    SetupCode::from_entropy([0xa5; SetupCode::ENTROPY_BYTES])
}

/// The cost of its derivation, as low as is allowed.
pub fn params() -> PakeParams {
    PakeParams::new([7; PakeParams::SALT_LEN], PakeParams::MIN_MEMORY_KIB, 1, 1).expect("in bounds")
}

/// The channel.
pub fn binding() -> Binding {
    Binding {
        exporter: [1; 32],
        device: thing(),
        device_certificate: [2; 32],
        strength: Strength(128),
    }
}

/// What the honest controller installs.
pub fn installation() -> Installation {
    Installation {
        anchor: vec![0x30; 300],
        owner: "alice".parse().expect("a name"),
        network: Some(NetworkCredentials {
            ssid: "home".to_owned(),
            key: Secret::new(b"correct horse".to_vec(), Strength(40)),
        }),
        gateway: None,
        now: NOW,
    }
}

/// The device's half before its first byte.
pub fn device() -> PairingDevice {
    let record = VerifierRecord::from_bytes(RECORD).expect("the fixture is a record");
    PairingDevice::new(record, params(), binding(), Attempts::default(), NOW)
}

/// The anchor that the honest joiner brings.
pub const ANCHOR: &[u8] = b"an anchor of sam's";

/// What an owner leaves for sam: the same code's verifier.
pub fn offer() -> Offer {
    Offer {
        person: "sam".parse().expect("a name"),
        role: Role::Viewer,
        life: Duration::from_secs(600),
        params: params(),
        record: Secret::new(RECORD.to_vec(), Strength(128)),
    }
}

/// What recognises the device on the network.
pub fn discovery() -> ThingKey {
    ThingKey::from_bytes([5; 32])
}

/// A door that an owner has opened for sam.
pub fn door() -> Door {
    const THING: &[u8] = include_bytes!("../../../crates/model/tests/things/plug.td.json");
    let description = ThingDescription::parse(THING).expect("a description");
    let owner: countersign_model::id::PersonName = "alice".parse().expect("a name");
    let alice = Subject::Person { name: owner.clone(), role: Role::Owner, until: NOW };
    let request = Request::new(Operation::InvokeAction, "reset", b"").expect("a request");
    let judged = judge(DeviceState::Initialised, &alice, &description, &request, NOW);
    let Ok(Permit::Configure(permit)) = judged else { unreachable!("an owner configures") };
    let mut door = Door::default();
    door.open(&permit, offer(), &AccessList::first_owner(owner), NOW).expect("nobody is there");
    door
}
