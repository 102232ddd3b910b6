//! The maker's roots on their way: statements to devices, and what devices say of the newest root that they trust.

use super::message::{Message, Properties, Qos};
use super::{Broker, ConnId, Context, Output};
use countersign_model::id::ThingId;
use countersign_model::topic::AnchorTopic;
use countersign_protocol::permit::messaging::permit_anchors;
use std::sync::Arc;
use std::time::Duration;

/// How long statements wait for a device that is away. The next connection names the root that it trusts, and is given what
/// comes after it then.
const CHAIN_LIFETIME: Duration = Duration::from_secs(5 * 60);

impl Broker {
    /// Publishes statements about roots to one device, at least once.
    #[must_use]
    pub(crate) fn tell_anchors(
        &mut self,
        context: &mut Context<'_>,
        thing: &ThingId,
        chain: &[u8],
    ) -> Vec<Output> {
        let permit = permit_anchors(thing);
        let message = Message {
            topic: permit.topic().clone(),
            payload: Arc::from(chain),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            expires_at: Some(context.now.wall.plus(CHAIN_LIFETIME)),
            origin: permit.subject().into(),
        };
        self.publish(permit, message, None, context);
        self.finish()
    }

    /// Passes on what a device says of its roots; it was permitted to say it.
    pub(super) fn notice_anchor_state(&mut self, conn: ConnId, message: &Message) {
        if let Some(AnchorTopic::State(thing)) = AnchorTopic::parse(&message.topic) {
            let payload = message.payload.clone();
            self.out.push(Output::AnchorState { conn, thing, payload });
        }
    }
}
