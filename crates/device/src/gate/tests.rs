//! A gate with its store, and nothing on the network.

use super::*;
use crate::data::{BUILD_FLOOR, Home};
use crate::functions::SimulatedPlug;
use countersign_crypto::certificate::{Certificate, certificates_from_pem};
use countersign_crypto::issue::{CaTemplate, Serial, self_signed_ca};
use countersign_crypto::pake::{PakeParams, derive};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::secret::Strength;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::label::SetupCode;
use countersign_model::time::Validity;
use countersign_protocol::discovery::ThingKey;
use countersign_protocol::invitation::{
    InvitationDevice, InvitationJoiner, InvitationOutput, JoinerOutput, Joining, MIN_LIFE, Offer,
};
use countersign_protocol::pairing::Binding;
use std::time::Duration;

const THING: &str = "plug-000001";

struct Device {
    gate: Gate,
    _folder: tempfile::TempDir,
}

fn anchor() -> Certificate {
    let template = CaTemplate {
        common_name: "home".to_owned(),
        organisation: "home".to_owned(),
        country: "DE".to_owned(),
        validity: Validity { not_before: Timestamp(0), not_after: Validity::FOREVER },
        serial: Serial::random(&mut SystemRandom),
    };
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    self_signed_ca(&template, &key).unwrap()
}

fn name(text: &str) -> PersonName {
    text.parse().unwrap()
}

fn code() -> SetupCode {
    SetupCode::from_entropy([7; 17])
}

impl Device {
    /// Paired with ada.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seal = SealKey::generate(&mut SystemRandom);
        let path = folder.path().join("state.sealed");
        let store = Arc::new(Store::open(&path, seal, Box::new(SystemRandom)).unwrap());
        let clock = Arc::new(DeviceClock::new(BUILD_FLOOR));
        let description =
            ThingDescription::parse(include_bytes!("../../things/plug.td.json")).unwrap();
        let functions = Arc::new(SimulatedPlug::new());
        let gate = Gate::new(THING.parse().unwrap(), description, store, functions, clock);
        let device = Self { gate, _folder: folder };
        device.pair();
        device
    }

    fn pair(&self) {
        let access = AccessList::first_owner(name("ada"));
        let home = Home { anchor: anchor(), access, network: None, gateway: None };
        let installed = |record: &mut crate::data::Record| {
            record.phase = DeviceState::Initialised;
            record.home = Some(home);
        };
        self.gate.store.update(installed).unwrap();
        self.gate.started().unwrap();
    }

    /// Ada's leave to do something to the device itself.
    fn permit(&self, operation: Operation, name: &str, input: &str) -> ConfigurePermit {
        let until = Validity::FOREVER;
        let ada = Subject::Person { name: "ada".parse().unwrap(), role: Role::Owner, until };
        let request = Request::new(operation, name, input.as_bytes()).unwrap();
        match self.gate.judge(&ada, &request) {
            Ok(Permit::Configure(permit)) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn change(&self, change: AccessChange) {
        let permit =
            self.permit(Operation::WriteProperty, ACCESS, r#"[{"person":"ada","role":"owner"}]"#);
        self.gate.change_person(&permit, change).unwrap();
    }

    async fn invite(&self, person: &str) {
        let thing = THING.parse().unwrap();
        let params = PakeParams::new([2; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap();
        let record = derive(&code(), &thing, &params).unwrap().record().to_secret();
        let offer =
            Offer { person: name(person), role: Role::Viewer, life: MIN_LIFE, params, record };
        let input = offer.to_input(Strength(128)).unwrap().to_string();
        let permit = self.permit(Operation::InvokeAction, INVITE, &input);
        self.gate.configure(permit).await.unwrap();
    }

    /// Somebody who proved the code and brought this anchor.
    fn proven(&self, anchor: &[u8]) -> Joining {
        let binding = || Binding {
            exporter: [1; 32],
            device: THING.parse().unwrap(),
            device_certificate: [9; 32],
            strength: Strength(128),
        };
        let now = self.gate.uptime();
        let mut device =
            InvitationDevice::new(binding(), [4; 32], ThingKey::from_bytes([5; 32]), now);
        let (mut joiner, first) = InvitationJoiner::start(code(), binding(), anchor);
        let mut to_device = vec![first];
        loop {
            let bytes = to_device.pop().expect("the joiner goes on");
            let mut door = self.gate.door();
            for output in device.receive(&bytes, &mut door, now, &mut SystemRandom) {
                let bytes = match output {
                    InvitationOutput::Send(bytes) => bytes,
                    InvitationOutput::Store(joining) => return joining,
                    other => panic!("{other:?}"),
                };
                for output in joiner.receive(&bytes, &mut SystemRandom) {
                    match output {
                        JoinerOutput::Send(bytes) => to_device.push(bytes),
                        JoinerOutput::Welcome(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }

    fn role_of(&self, person: &str) -> Option<Role> {
        self.gate.store.with(|record| record.home.as_ref()?.access.role_of(&name(person)))
    }
}

#[tokio::test]
async fn an_invitation_and_a_reset_of_a_former_home_are_over_with_it() {
    let device = Device::new();
    device.invite("sam").await;
    assert!(device.gate.door_is_open());
    // Two requests that were judged before either was done.
    let permits = [(); 2].map(|()| device.permit(Operation::InvokeAction, RESET, ""));
    for permit in permits {
        device.gate.configure(permit).await.unwrap();
    }
    device.gate.reset_asked().await;
    let fresh = device.gate.store.get().forgotten();
    device.gate.store.update(|record| *record = fresh).unwrap();
    device.pair();
    // The next home's owner has the same name, and asked for nothing.
    assert!(!device.gate.door_is_open());
    let asked = tokio::time::timeout(Duration::from_millis(50), device.gate.reset_asked()).await;
    assert!(asked.is_err(), "the next home is reset at once");
}

#[tokio::test]
async fn an_anchor_that_tls_cannot_take_lets_nobody_in() {
    let device = Device::new();
    device.invite("sam").await;
    let pem = include_bytes!("../../../crypto/src/tls/no_anchor.pem");
    let unusable = certificates_from_pem(pem).unwrap().remove(0);
    let joining = device.proven(unusable.der());
    assert!(device.gate.join(&joining).is_err_and(|failure| failure.is_askers()));
    assert_eq!((device.role_of("sam"), device.gate.store.with(|r| r.guests.len())), (None, 0));
    device.invite("sam").await;
    device.gate.join(&device.proven(anchor().der())).unwrap();
    assert_eq!(device.role_of("sam"), Some(Role::Viewer));
}

#[tokio::test]
async fn unsharing_ends_the_role_and_the_invitation_alike() {
    let device = Device::new();
    device.invite("sam").await;
    device.change(AccessChange::Share(name("sam"), Role::Member));
    assert_eq!(device.role_of("sam"), Some(Role::Member));
    device.change(AccessChange::Unshare(name("sam")));
    assert_eq!(device.role_of("sam"), None);
    assert!(!device.gate.door_is_open());
    // Who is invited only is on no list, and is withdrawn all the same.
    device.invite("sam").await;
    device.change(AccessChange::Unshare(name("sam")));
    assert!(!device.gate.door_is_open());
}

//= specs/house.md#house-sharing
//= type=test
//# An invitation MUST work once, within its minutes, for one person and one role.
#[tokio::test]
async fn no_clock_that_is_set_ends_or_lengthens_an_invitation() {
    let device = Device::new();
    device.invite("sam").await;
    let until = device.gate.door().invited().map(|(.., until)| until).unwrap();
    assert!(until <= device.gate.uptime().plus(MIN_LIFE), "its minutes are the gate's own");
    device.gate.clock.raise(device.gate.now().plus(Duration::from_secs(365 * 86_400)));
    assert!(device.gate.door_is_open());
    device.gate.join(&device.proven(anchor().der())).unwrap();
    assert_eq!(device.role_of("sam"), Some(Role::Viewer));
}
