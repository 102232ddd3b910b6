//! Who may publish, subscribe to and receive what at the gateway. Pure judgement over identities and topics.
//!
//! A device's rights follow from its name alone: it speaks on its own topics and hears what is said on them. A service has
//! what it was granted, and never a device's voice. The broker's functions demand the permits made here.

use countersign_model::grant::Grant;
use countersign_model::id::{ServiceName, ThingId};
use countersign_model::topic::{
    AnchorTopic, DescriptionTopic, Filter, PolicyTopic, ThingTopic, Topic,
};
use std::fmt;

/// Somebody with a session at the gateway, as the certificate and the directory say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessagingSubject {
    /// A device with its operational identity.
    Device(ThingId),
    /// A backend or integration with its grants.
    Service {
        /// Its name.
        name: ServiceName,
        /// What it may do.
        grants: Vec<Grant>,
    },
}

impl MessagingSubject {
    /// The name alone: the thing's id or the service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Device(thing) => thing.as_str(),
            Self::Service { name, .. } => name.as_str(),
        }
    }
}

/// `thing:NAME` or `service:NAME`, as in stamps, sessions and records.
impl fmt::Display for MessagingSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(thing) => write!(f, "thing:{thing}"),
            Self::Service { name, .. } => write!(f, "service:{name}"),
        }
    }
}

//= specs/house.md#house-permits
//# A refusal MUST NOT tell an unknown name from a forbidden one.
/// The answer "no". It does not tell an unknown topic from a forbidden one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not authorised")]
pub struct Refused;

//= specs/house.md#house-permits
//# A permit MUST have private fields and come only from the function that authorises.
/// One message of one subject may be published to one topic.
///
/// ```compile_fail
/// use countersign_protocol::permit::messaging::PublishPermit;
/// fn forge(topic: countersign_model::topic::Topic) -> PublishPermit {
///     PublishPermit { subject: "service:boss".to_owned(), topic, command: true }
/// }
/// ```
#[derive(Debug)]
pub struct PublishPermit {
    subject: String,
    topic: Topic,
    command: bool,
}

impl PublishPermit {
    /// Who publishes, as `thing:NAME` or `service:NAME`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Where to.
    #[must_use]
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Whether the message asks a device to act, so that it is stamped with who asks and when.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        self.command
    }
}

/// One filter may be subscribed to.
///
/// ```compile_fail
/// use countersign_protocol::permit::messaging::SubscribePermit;
/// fn forge(filter: countersign_model::topic::Filter) -> SubscribePermit {
///     SubscribePermit { filter }
/// }
/// ```
#[derive(Debug)]
pub struct SubscribePermit {
    filter: Filter,
}

impl SubscribePermit {
    /// What may be subscribed to.
    #[must_use]
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What may be subscribed to, by move.
    #[must_use]
    pub fn into_filter(self) -> Filter {
        self.filter
    }
}

/// A message of one topic may be handed to one subject.
///
/// ```compile_fail
/// let forged = countersign_protocol::permit::messaging::DeliverPermit(());
/// ```
#[derive(Debug)]
pub struct DeliverPermit(());

//= specs/house.md#house-mqtt
//# A device MUST publish and subscribe only beneath its own topics.
//= specs/house.md#house-gate
//# What no rule allows MUST be refused.
/// Judges a publication.
///
/// A device publishes its own properties, events, receipts, its description, the state of its policy and that of its anchors. A service publishes where a grant says so, except that a
/// thing's own topics are the thing's alone: under `things/` only commands remain. `$`-topics are nobody's.
///
/// # Errors
/// [`Refused`], for whatever reason.
pub fn judge_publish(subject: &MessagingSubject, topic: &Topic) -> Result<PublishPermit, Refused> {
    if topic.is_reserved() {
        return Err(Refused);
    }
    let meaning = ThingTopic::parse(topic);
    let command = meaning.as_ref().is_some_and(ThingTopic::is_command);
    let allowed = match subject {
        MessagingSubject::Device(me) => {
            let own = meaning.as_ref().is_some_and(|topic| topic.thing() == me);
            let described = DescriptionTopic::parse(topic).is_some_and(|topic| topic.0 == *me);
            let policy = PolicyTopic::parse(topic) == Some(PolicyTopic::State(me.clone()));
            let anchors = AnchorTopic::parse(topic) == Some(AnchorTopic::State(me.clone()));
            (!command && own) || described || policy || anchors
        }
        MessagingSubject::Service { grants, .. } => {
            let things_own = !command && topic.levels().next() == Some("things");
            !things_own && grants.iter().any(|grant| grant.allows_publish(topic))
        }
    };
    if !allowed {
        return Err(Refused);
    }
    Ok(PublishPermit { subject: subject.to_string(), topic: topic.clone(), command })
}

//= specs/house.md#house-mqtt
//# A device MUST publish and subscribe only beneath its own topics.
//= specs/house.md#house-mqtt
//# A service MUST be held to its grants, filter by filter.
/// Judges a subscription: a device hears what lies beneath its own topic, unshared; a service what a single grant covers.
///
/// # Errors
/// [`Refused`], for whatever reason.
pub fn judge_subscribe(
    subject: &MessagingSubject,
    filter: &Filter,
) -> Result<SubscribePermit, Refused> {
    let allowed = match subject {
        MessagingSubject::Device(me) => {
            filter.share_group().is_none() && beneath(me).covers(filter)
        }
        MessagingSubject::Service { grants, .. } => {
            grants.iter().any(|grant| grant.allows_subscribe(filter))
        }
    };
    allowed.then(|| SubscribePermit { filter: filter.clone() }).ok_or(Refused)
}

/// Judges the handing over of one message. It is asked again for every message, kept or fresh, since a right may be
/// gone by the time the message leaves.
///
/// # Errors
/// [`Refused`], for whatever reason.
pub fn judge_deliver(subject: &MessagingSubject, topic: &Topic) -> Result<DeliverPermit, Refused> {
    let allowed = match subject {
        MessagingSubject::Device(me) => beneath(me).matches(topic),
        MessagingSubject::Service { grants, .. } => {
            grants.iter().any(|grant| grant.allows_receive(topic))
        }
    };
    allowed.then_some(DeliverPermit(())).ok_or(Refused)
}

//= specs/house.md#house-policy
//# Only the gateway MUST be able to publish on a device's policy topic.
/// The gateway's own voice: a signed policy for one device. Nobody else is ever permitted on that topic.
#[must_use]
pub fn permit_policy(thing: &ThingId) -> PublishPermit {
    let topic = PolicyTopic::Document(thing.clone()).topic();
    PublishPermit { subject: GATEWAY.to_owned(), topic, command: false }
}

//= specs/house.md#house-anchors
//# Only the gateway MUST be able to publish on the topic by which roots reach a device.
/// The gateway's own voice: how roots name their successors, for one device. Nobody else is ever permitted on that topic.
#[must_use]
pub fn permit_anchors(thing: &ThingId) -> PublishPermit {
    let topic = AnchorTopic::Chain(thing.clone()).topic();
    PublishPermit { subject: GATEWAY.to_owned(), topic, command: false }
}

/// The gateway's own word about a device, for those who are granted its topic. It counts against that device. None on the
/// topics of things, which are theirs alone, and on reserved ones.
#[must_use]
pub fn permit_about(thing: &ThingId, topic: &Topic) -> Option<PublishPermit> {
    let theirs = topic.is_reserved() || topic.levels().next() == Some("things");
    let subject = MessagingSubject::Device(thing.clone()).to_string();
    (!theirs).then(|| PublishPermit { subject, topic: topic.clone(), command: false })
}

/// Who publishes policies and roots, in stamps and records.
pub const GATEWAY: &str = "gateway";

/// Everything of one device.
fn beneath(thing: &ThingId) -> Filter {
    format!("things/{thing}/#").parse().expect("a thing's id is safe in a filter")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn device(name: &str) -> MessagingSubject {
        MessagingSubject::Device(name.parse().unwrap())
    }

    fn service(grants: &[&str]) -> MessagingSubject {
        MessagingSubject::Service {
            name: "backend".parse().unwrap(),
            grants: grants.iter().map(|grant| grant.parse().unwrap()).collect(),
        }
    }

    fn may_publish(subject: &MessagingSubject, topic: &str) -> bool {
        judge_publish(subject, &topic.parse().unwrap()).is_ok()
    }

    fn may_subscribe(subject: &MessagingSubject, filter: &str) -> bool {
        judge_subscribe(subject, &filter.parse().unwrap()).is_ok()
    }

    //= specs/house.md#house-mqtt
    //= type=test
    //# A device MUST publish and subscribe only beneath its own topics.
    #[test]
    fn a_device_has_its_own_topics_and_no_others() {
        let plug = device("plug-1");
        for own in [
            "things/plug-1/properties/power",
            "things/plug-1/events/overload",
            "things/plug-1/actions/on/receipt",
            "things/plug-1/policy/state",
            "things/plug-1/anchors/state",
            "things/plug-1/description",
        ] {
            assert!(may_publish(&plug, own), "{own}");
        }
        for foreign in [
            "things/plug-2/properties/power",
            "things/plug-1/actions/on",
            "things/plug-1/properties/power/set",
            "things/plug-2/policy/state",
            "things/plug-2/description",
            "things/plug-1/description/x",
            "things/plug-1/policy",
            "things/plug-1/anchors",
            "things/plug-2/anchors/state",
            "things/plug-1",
            "$SYS/x",
            "home/plug-1",
            "things/PLUG-1/events/x",
        ] {
            assert!(!may_publish(&plug, foreign), "{foreign}");
        }
        for own in [
            "things/plug-1/actions/+",
            "things/plug-1/properties/+/set",
            "things/plug-1/actions/on",
            "things/plug-1/properties/+",
            "things/plug-1/#",
        ] {
            assert!(may_subscribe(&plug, own), "{own}");
        }
        for foreign in [
            "things/+/actions/+",
            "things/plug-2/actions/+",
            "#",
            "+/+/+/+",
            "$share/g/things/plug-1/actions/+",
            "things/plug-10/actions/+",
            "things/PLUG-1/#",
        ] {
            assert!(!may_subscribe(&plug, foreign), "{foreign}");
        }
    }

    //= specs/house.md#house-mqtt
    //= type=test
    //# A service MUST be held to its grants, filter by filter.
    //= specs/house.md#house-gate
    //= type=test
    //# What no rule allows MUST be refused.
    #[test]
    fn a_service_has_what_it_was_granted() {
        let backend = service(&["subscribe things/+/properties/#", "publish things/+/actions/+"]);
        assert!(may_subscribe(&backend, "$share/g/things/+/properties/power"));
        assert!(!may_subscribe(&backend, "things/#"));
        assert!(may_publish(&backend, "things/plug-1/actions/on"));
        assert!(!may_publish(&backend, "things/plug-1/properties/limit/set"));
        assert!(!may_publish(&service(&[]), "things/plug-1/actions/on"));
    }

    //= specs/house.md#house-policy
    //= type=test
    //# Only the gateway MUST be able to publish on a device's policy topic.
    //= specs/house.md#house-anchors
    //= type=test
    //# Only the gateway MUST be able to publish on the topic by which roots reach a device.
    #[test]
    fn no_grant_gives_a_service_the_voice_of_a_device() {
        let greedy = service(&["publish #", "publish things/#", "publish $SYS/#"]);
        for forged in [
            "things/plug-1/properties/power",
            "things/plug-1/actions/on/receipt",
            "things/plug-1/x",
            "things/plug-1/policy",
            "things/plug-1/policy/state",
            "things/plug-1/anchors",
            "things/plug-1/anchors/state",
            "things/plug-1/description",
            "things",
            "$SYS/x",
        ] {
            assert!(!may_publish(&greedy, forged), "{forged}");
        }
        assert!(may_publish(&greedy, "homeassistant/status"));
    }

    #[test]
    fn the_gateway_s_word_about_a_device_is_never_the_device_s() {
        let about = |topic: &str| permit_about(&"plug-1".parse().unwrap(), &topic.parse().unwrap());
        let permit = about("homeassistant/switch/plug-1/relay/config").unwrap();
        assert_eq!((permit.subject(), permit.is_command()), ("thing:plug-1", false));
        for theirs in ["things/plug-1/properties/relay", "things/plug-1/actions/on", "$SYS/x"] {
            assert!(about(theirs).is_none(), "{theirs}");
        }
    }

    #[test]
    fn commands_are_known_as_such() {
        let backend = service(&["publish #"]);
        let permit = |topic: &str| judge_publish(&backend, &topic.parse().unwrap()).unwrap();
        assert!(permit("things/plug-1/actions/on").is_command());
        assert!(permit("things/plug-1/properties/limit/set").is_command());
        assert!(!permit("homeassistant/status").is_command());
        assert_eq!(permit("homeassistant/status").subject(), "service:backend");
    }

    #[test]
    fn delivery_is_judged_by_itself() {
        let topic: Topic = "things/plug-1/actions/on".parse().unwrap();
        assert!(judge_deliver(&device("plug-1"), &topic).is_ok());
        assert!(judge_deliver(&device("plug-2"), &topic).is_err());
        assert!(judge_deliver(&service(&["publish #"]), &topic).is_err());
        assert!(judge_deliver(&service(&["subscribe things/#"]), &topic).is_ok());
    }
}
