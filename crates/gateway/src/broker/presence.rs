//! What Home Assistant is told, where the configuration wants it: a device's entities, and whether it is there. The
//! messages count against the device whose they are, and go to whoever is granted their topics.

use super::message::{Message, Properties, Qos};
use super::{Broker, ConnId, Context};
use crate::home_assistant::{Prefix, entities};
use countersign_model::id::ThingId;
use countersign_model::thing::MAX_DOCUMENT;
use countersign_model::topic::{DescriptionTopic, Filter, Topic};
use countersign_protocol::permit::messaging::{MessagingSubject, permit_about};
use std::collections::BTreeSet;
use std::sync::Arc;

const ONLINE: &[u8] = b"online";
const OFFLINE: &[u8] = b"offline";

impl Broker {
    /// From here on Home Assistant is told of devices. Nobody is connected yet, whatever was true before the restart.
    #[must_use]
    pub fn telling_home_assistant(mut self, prefix: Option<Prefix>) -> Self {
        if let Some(prefix) = &prefix {
            self.retained.replace_payloads(OFFLINE, |topic| prefix.is_availability(topic));
        }
        self.home_assistant = prefix;
        self
    }

    /// A device has described itself; it was permitted to.
    pub(super) fn notice_description(&mut self, message: &Message, context: &mut Context<'_>) {
        let Some(prefix) = self.home_assistant.clone() else { return };
        let Some(DescriptionTopic(thing)) = DescriptionTopic::parse(&message.topic) else { return };
        if message.payload.len() > MAX_DOCUMENT {
            return;
        }
        let told = entities(&prefix, &thing, &message.payload);
        let topics: BTreeSet<&Topic> = told.iter().map(|(topic, _)| topic).collect();
        let filter = prefix.entities_of(&thing).parse::<Filter>();
        let known = filter.map(|filter| self.retained.matching(&filter, context.now.wall));
        let gone = known.unwrap_or_default().into_iter().map(|message| message.topic.clone());
        let gone: Vec<Topic> = gone.filter(|topic| !topics.contains(topic)).collect();
        for topic in gone {
            // An empty message takes an entity away.
            self.tell_about(&thing, topic, Vec::new(), context);
        }
        for (topic, config) in told {
            self.tell_about(&thing, topic, config, context);
        }
    }

    /// A device's session has begun.
    pub(super) fn notice_presence(&mut self, conn: ConnId, context: &mut Context<'_>) {
        let (Some(prefix), Some(thing)) = (self.home_assistant.clone(), self.thing_of(conn)) else {
            return;
        };
        // What it said before all this was switched on.
        if let Some(described) = self.retained.get(&DescriptionTopic(thing.clone()).topic()) {
            self.notice_description(&described, context);
        }
        self.tell_about(&thing, prefix.availability(&thing), ONLINE.to_vec(), context);
    }

    /// A connection of `subject` is gone.
    pub(super) fn notice_absence(&mut self, subject: &MessagingSubject, context: &mut Context<'_>) {
        let (Some(prefix), MessagingSubject::Device(thing)) =
            (self.home_assistant.clone(), subject)
        else {
            return;
        };
        let still_here = self.conns.values().any(|open| {
            open.session.is_some()
                && matches!(&open.subject, MessagingSubject::Device(other) if other == thing)
        });
        if !still_here {
            self.tell_about(thing, prefix.availability(thing), OFFLINE.to_vec(), context);
        }
    }

    fn tell_about(
        &mut self,
        thing: &ThingId,
        topic: Topic,
        payload: Vec<u8>,
        context: &mut Context<'_>,
    ) {
        let Some(permit) = permit_about(thing, &topic) else { return };
        // Said already: a device that reconnects often costs nothing.
        if self.retained.get(&topic).is_some_and(|known| *known.payload == payload[..]) {
            return;
        }
        let message = Message {
            topic,
            payload: Arc::from(payload),
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: Properties::default(),
            expires_at: None,
            origin: permit.subject().into(),
        };
        self.publish(permit, message, None, context);
    }
}
