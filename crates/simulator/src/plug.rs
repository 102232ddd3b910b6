//! A smart plug: the product's machines around one relay.

use countersign_authority::factory::FactoryIdentity;
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::digest::sha256;
use countersign_crypto::keystore::exportable_key;
use countersign_crypto::pake::VerifierRecord;
use countersign_crypto::retirement::{Lasts, Signatures};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::TlsIdentity;
use countersign_device::uplink::core::Incoming;
use countersign_device::uplink::outbox::{Outgoing, Weight};
use countersign_model::id::ThingId;
use countersign_model::label::Label;
use countersign_model::state::DeviceState;
use countersign_model::thing::{ACCESS, INVITE, ThingDescription};
use countersign_model::time::Timestamp;
use countersign_model::topic::{ThingTopic, Topic};
use countersign_protocol::command::{CommandInbox, FreshCommand, Receipt};
use countersign_protocol::enrolment::{Enrolment, Phase};
use countersign_protocol::invitation::{Door, Offer};
use countersign_protocol::pairing::{Attempts, Installation, Installed};
use countersign_protocol::permit::device::{
    AccessList, CommandPermit, ConfigurePermit, Permit, ReadPermit, Refusal, Request, Subject,
    Target, judge,
};
use countersign_protocol::rotation::{Jitter, Outlook};
use countersign_protocol::telemetry::{self, TelemetryError};
use serde_json::{Value, json};
use std::time::Duration;

const DESCRIPTION: &[u8] = include_bytes!("../../model/tests/things/plug.td.json");

/// A key, and its certificate once it has one.
#[derive(Debug, Clone)]
pub struct SlotContent {
    pub key: KeyHandle,
    pub chain: Option<CertificateChain>,
}

impl SlotContent {
    pub(crate) fn made_with(algorithm: SignatureAlgorithm) -> Self {
        Self { key: exportable_key(algorithm).unwrap().0, chain: None }
    }

    pub(crate) fn identity(&self) -> Option<TlsIdentity> {
        TlsIdentity::new(self.chain.clone()?, self.key.clone()).ok()
    }
}

pub(crate) fn new_key() -> KeyHandle {
    exportable_key(SignatureAlgorithm::EcdsaP256Sha256).unwrap().0
}

pub struct Plug {
    pub thing: ThingId,
    pub description: ThingDescription,
    pub state: DeviceState,
    pub attempts: Attempts,
    pub installed: Option<Box<Installation>>,
    pub access: Option<AccessList>,
    pub door: Door,
    pub current: Option<SlotContent>,
    pub next: Option<SlotContent>,
    pub enrolment: Enrolment,
    pub inbox: CommandInbox,
    pub relay: bool,
    pub(crate) factory: FactoryIdentity,
    pub(crate) factory_key: KeyHandle,
    label: Option<Label>,
}

impl Plug {
    pub(crate) fn new(thing: ThingId, key: KeyHandle, mut factory: FactoryIdentity) -> Self {
        let empty = Label::new(
            thing.clone(),
            countersign_model::label::SetupCode::from_entropy([0; 17]),
            factory.label.root(),
        );
        let label = std::mem::replace(&mut factory.label, empty);
        Self {
            inbox: CommandInbox::new(thing.clone(), Timestamp(0)),
            thing,
            description: ThingDescription::parse(DESCRIPTION).unwrap(),
            state: DeviceState::FactoryDefault,
            attempts: Attempts::default(),
            installed: None,
            access: None,
            door: Door::default(),
            current: None,
            next: None,
            enrolment: Enrolment::new(Phase::Settled, None, Jitter(0)),
            relay: false,
            factory,
            factory_key: key,
            label: Some(label),
        }
    }

    /// The label, once: after that it is with its owner.
    /// Hears what signatures a policy allows: when that has its identity renewed early, if it does.
    pub fn hears_of(
        &mut self,
        allowed: &Signatures,
        spread: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let leaf = self.current.as_ref()?.chain.as_ref()?.leaf();
        let successor = allowed.for_new(now, Timestamp(u64::MAX)).map(|one| allowed.lasts(one));
        let successor = successor.unwrap_or(Lasts::Ended);
        let [high, low, ..] = leaf.fingerprint();
        let outlook = Outlook::new(allowed.lasts_for(leaf), successor, now);
        let at = outlook.renewal_at(spread, Jitter(u16::from_be_bytes([high, low])));
        self.enrolment.retires_at(at);
        at
    }

    pub fn take_label(&mut self) -> Label {
        self.label.take().unwrap()
    }

    pub(crate) fn factory_identity(&self) -> TlsIdentity {
        TlsIdentity::new(self.factory.chain.clone(), self.factory_key.clone()).unwrap()
    }

    /// The factory identity as the content of a slot, for those who try it where it does not belong.
    pub fn factory_slot(&self) -> SlotContent {
        SlotContent { key: self.factory_key.clone(), chain: Some(self.factory.chain.clone()) }
    }

    pub(crate) fn record(&self) -> VerifierRecord {
        self.factory.verifier.to_secret().expose(VerifierRecord::from_bytes).unwrap()
    }

    pub(crate) fn install(&mut self, installation: Box<Installation>) -> Installed {
        self.access = Some(AccessList::first_owner(installation.owner.clone()));
        self.installed = Some(installation);
        self.state = DeviceState::Initialised;
        Installed { thing: self.thing.clone(), local_port: 8443, td_sha256: sha256(DESCRIPTION) }
    }

    /// Judges and handles one request: there is no other way to the relay.
    pub fn handle(
        &mut self,
        subject: &Subject,
        request: &Request,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        match judge(self.state, subject, &self.description, request, now)? {
            Permit::Read(permit) => Ok(self.read(&permit)),
            Permit::Command(permit) => Ok(self.command(&permit)),
            Permit::Configure(permit) => Ok(self.configure(&permit)),
        }
    }

    fn read(&self, permit: &ReadPermit) -> Value {
        let Target::Affordance { name, .. } = permit.target() else { return json!({}) };
        match name.as_str() {
            "relay" => json!(self.relay),
            ACCESS => serde_json::to_value(&self.access).unwrap(),
            _ => json!(if self.relay { 60.0 } else { 0.0 }),
        }
    }

    fn command(&mut self, permit: &CommandPermit) -> Value {
        let on = |value: Option<&Value>| value.and_then(Value::as_bool);
        match permit.name().as_str() {
            "relay" => self.relay = on(permit.input()).unwrap(),
            "setRelay" => self.relay = on(permit.input().and_then(|v| v.get("on"))).unwrap(),
            _ => self.relay = !self.relay,
        }
        json!({"on": self.relay})
    }

    fn configure(&mut self, permit: &ConfigurePermit) -> Value {
        if permit.name().as_str() == INVITE {
            let (offer, access) =
                (Offer::from_input(permit.input().unwrap()), self.access.as_ref());
            let opened = self.door.open(permit, offer.unwrap(), access.unwrap(), permit.at());
            return json!({"invited": opened.is_ok()});
        }
        if permit.name().as_str() != ACCESS {
            return Value::Null;
        }
        let list = serde_json::from_value::<AccessList>(permit.input().unwrap().clone());
        let kept = self.access.as_mut().unwrap();
        match list.map(|list| kept.replace(permit, list)) {
            Ok(Ok(())) => json!({"changed": true}),
            Ok(Err(error)) => json!({"refused": error.to_string()}),
            Err(error) => json!({"refused": error.to_string()}),
        }
    }

    /// A reading for the gateway.
    pub fn reading(&self, name: &str, now: Timestamp) -> Result<Outgoing, TelemetryError> {
        let value = match name {
            "relay" => json!(self.relay),
            ACCESS => serde_json::to_value(&self.access).unwrap(),
            _ => json!(if self.relay { 60.0 } else { 0.0 }),
        };
        let published =
            telemetry::property(&self.thing, &self.description, self.state, name, &value, now)?;
        let mut message = outgoing(&published.topic, published.payload, Weight::Reading, None);
        message.retain = published.retain;
        Ok(message)
    }

    /// A message on a command topic; the receipt, if it deserves one.
    pub fn commanded(&mut self, message: &Incoming, now: Timestamp) -> Option<Outgoing> {
        let topic: Topic = message.topic.parse().unwrap();
        let properties: Vec<(&str, &str)> =
            message.user_properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let receipt = match self.inbox.accept(&topic, &message.payload, properties.clone(), now) {
            Ok(fresh) => self.carry_out(&fresh, now),
            Err(refusal) => refusal.receipt(&topic, properties, now)?,
        };
        let topic = receipt.topic(&self.thing);
        Some(outgoing(&topic, receipt.to_json(), Weight::Kept, message.correlation.clone()))
    }

    fn carry_out(&mut self, fresh: &FreshCommand, now: Timestamp) -> Receipt {
        match self.handle(fresh.subject(), fresh.request(), now) {
            Ok(output) => fresh.done(Some(output), now),
            Err(refusal) => fresh.refused(&refusal, now),
        }
    }

    pub(crate) fn command_filters(&self) -> Vec<String> {
        ThingTopic::command_filters(&self.thing).iter().map(ToString::to_string).collect()
    }
}

fn outgoing(
    topic: &Topic,
    payload: Vec<u8>,
    weight: Weight,
    correlation: Option<Vec<u8>>,
) -> Outgoing {
    Outgoing { topic: topic.to_string(), payload, retain: false, correlation, weight }
}
