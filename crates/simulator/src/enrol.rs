//! The device's shell for enrolment: carries out what the machine asks for, and reports.

use crate::gateway::SimGateway;
use crate::maker::{EstAnswer, Maker};
use crate::plug::{Plug, SlotContent};
use crate::wire::Adversary;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_crypto::tls::{Clock, TlsIdentity};
use countersign_crypto::{csr, pkcs7};
use countersign_model::time::{Timestamp, Validity};
use countersign_protocol::enrolment::{Action, Event, Identity, Next, Retire};
use countersign_protocol::rotation::Jitter;

/// Does what is due now, once; what was done and what came of it. `None` when there is nothing to do.
pub(crate) async fn one_step(
    maker: &Maker,
    gateway: &mut SimGateway,
    plug: &mut Plug,
    adversary: Adversary,
) -> Result<(Action, Event), Timestamp> {
    let now = maker.clock.now();
    let action = match plug.enrolment.next(now) {
        Next::Do(action) => action,
        Next::Wait(until) => return Err(until),
    };
    let event = match action {
        Action::MakeKey => {
            plug.next = Some(SlotContent::made_with(wanted(maker, plug).await));
            Event::KeyMade
        }
        Action::Request { with } => request(maker, plug, with, adversary).await,
        Action::Prove => {
            let identity = plug.next.as_ref().and_then(SlotContent::identity).unwrap();
            match maker.est(&identity, "cacerts", None, adversary).await {
                EstAnswer::Body(_) => Event::ProofSucceeded,
                EstAnswer::Refused => Event::ProofRefused,
                EstAnswer::Broken => Event::Unreachable,
            }
        }
        Action::Swap => {
            std::mem::swap(&mut plug.current, &mut plug.next);
            Event::SlotsSwapped
        }
        Action::Connect => match gateway.connect_plug(maker, plug).await {
            Ok(()) => Event::Acknowledged,
            Err(_) => Event::CurrentRefused,
        },
    };
    report(plug, event, now);
    Ok((action, event))
}

/// Tells the machine, and keeps the slots in step with it.
pub(crate) fn report(plug: &mut Plug, event: Event, now: Timestamp) {
    let retire = plug.enrolment.report(event, now, Jitter(0)).unwrap();
    match retire {
        Retire::Nothing => {}
        Retire::Next => plug.next = None,
        Retire::NewOne => plug.current = plug.next.take(),
    }
    if event == Event::SlotsSwapped || retire == Retire::NewOne {
        plug.enrolment.current_is(validity(plug), Jitter(0));
    }
}

/// What the authority wants the next key to be made with.
async fn wanted(maker: &Maker, plug: &Plug) -> SignatureAlgorithm {
    let identity = plug.factory_identity();
    match maker.est(&identity, "csrattrs", None, Adversary::honest()).await {
        EstAnswer::Body(body) => csr::wanted(&STANDARD.decode(body.trim()).unwrap()).unwrap(),
        other => panic!("csrattrs: {other:?}"),
    }
}

fn validity(plug: &Plug) -> Option<Validity> {
    Some(plug.current.as_ref()?.chain.as_ref()?.leaf().validity())
}

async fn request(maker: &Maker, plug: &mut Plug, with: Identity, adversary: Adversary) -> Event {
    let (identity, path): (TlsIdentity, _) = match with {
        Identity::Idevid => (plug.factory_identity(), "simpleenroll"),
        Identity::Current => {
            (plug.current.as_ref().and_then(SlotContent::identity).unwrap(), "simplereenroll")
        }
    };
    let next = plug.next.as_mut().unwrap();
    let request = csr::request(&next.key, plug.thing.as_str()).unwrap();
    match maker.est(&identity, path, Some(&STANDARD.encode(request)), adversary).await {
        EstAnswer::Body(body) => {
            let issued = STANDARD.decode(body.trim()).ok();
            let issued = issued.and_then(|der| pkcs7::parse_certs_only(&der).ok());
            let Some(leaf) = issued
                .and_then(|all| all.into_iter().find(|one| one.spki_der() == next.key.spki_der()))
            else {
                return Event::Unreachable;
            };
            next.chain = maker.authority.authorities().unwrap().chain(leaf).ok();
            // The gateway hears of it by a task of its own: let that run, so that every run is the same.
            let registry = maker.authority.registry();
            let key = hex::encode(countersign_crypto::digest::sha256(next.key.spki_der()));
            let mut changed = registry.changed();
            while registry.key_owner(&key).is_none() {
                changed.changed().await.unwrap();
            }
            Event::CertificateStored
        }
        EstAnswer::Refused => Event::RequestRefused,
        EstAnswer::Broken => Event::Unreachable,
    }
}
