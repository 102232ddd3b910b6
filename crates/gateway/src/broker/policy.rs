//! The crypto policy on its way: documents to devices, and what devices say of theirs.

use super::message::{Message, Payload, Properties, Qos};
use super::status::ChannelFacts;
use super::{Broker, ConnId, Context, Output};
use countersign_model::id::ThingId;
use countersign_model::topic::PolicyTopic;
use countersign_protocol::permit::messaging::{MessagingSubject, permit_policy};
use std::time::Duration;

/// How long a document waits for a device that is away. The next connection says which policy it holds, and is given the
/// newest then; an older one that still waited would only be refused.
const DOCUMENT_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// One open connection, as far as a change of policy looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) conn: ConnId,
    /// The device, if it is one: services have no policy of ours.
    pub(crate) thing: Option<ThingId>,
    pub(crate) channel: ChannelFacts,
}

impl Broker {
    /// Every open connection, for a change of policy.
    pub(crate) fn connections(&self) -> Vec<Judged> {
        let all = self.conns.iter().map(|(conn, open)| Judged {
            conn: *conn,
            thing: self.thing_of(*conn),
            channel: open.channel.clone(),
        });
        all.collect()
    }

    /// Which device a connection is, while its session is open. A trial of a policy is a connection without one.
    pub(crate) fn thing_of(&self, conn: ConnId) -> Option<ThingId> {
        let open = self.conns.get(&conn).filter(|open| open.session.is_some())?;
        match &open.subject {
            MessagingSubject::Device(thing) => Some(thing.clone()),
            MessagingSubject::Service { .. } => None,
        }
    }

    /// Publishes a signed policy to one device, at least once.
    #[must_use]
    pub(crate) fn tell_policy(
        &mut self,
        context: &mut Context<'_>,
        thing: &ThingId,
        document: &Payload,
    ) -> Vec<Output> {
        let permit = permit_policy(thing);
        let message = Message {
            topic: permit.topic().clone(),
            payload: document.clone(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            expires_at: Some(context.now.wall.plus(DOCUMENT_LIFETIME)),
            origin: permit.subject().into(),
        };
        self.publish(permit, message, None, context);
        self.finish()
    }

    /// Passes on what a device says of its policy; it was permitted to say it.
    pub(super) fn notice_policy_state(&mut self, conn: ConnId, message: &Message) {
        if let Some(PolicyTopic::State(thing)) = PolicyTopic::parse(&message.topic) {
            let payload = message.payload.clone();
            self.out.push(Output::PolicyState { conn, thing, payload });
        }
    }
}
