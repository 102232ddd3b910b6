//! SUBSCRIBE and UNSUBSCRIBE: each filter judged by itself.

use super::message::Qos;
use super::packet::{Outgoing, SubscribeEntry, code};
use super::record::Record;
use super::session::{SessionId, Subscription, brings_retained};
use super::{Broker, CloseReason, ConnId, Context, Now, Target};
use countersign_model::topic::Filter;
use countersign_protocol::permit::messaging::{SubscribePermit, judge_subscribe};

impl Broker {
    pub(super) fn subscribe(
        &mut self,
        conn: ConnId,
        id: SessionId,
        packet_id: u16,
        subscription_id: Option<u32>,
        entries: Vec<SubscribeEntry>,
        context: &mut Context<'_>,
    ) {
        let mut codes = Vec::with_capacity(entries.len());
        let mut fresh = Vec::new();
        for entry in entries {
            let Ok(filter) = entry.filter.parse::<Filter>() else {
                codes.push(code::TOPIC_FILTER_INVALID);
                continue;
            };
            // A shared message has no one place to stay away from (MQTT 5.0 section 3.8.3.1).
            if filter.share_group().is_some() && entry.no_local {
                let reason = CloseReason::ClientFault(code::PROTOCOL_ERROR);
                return self.close(conn, reason, context);
            }
            let Some(session) = self.sessions.get(&id) else { return };
            let existed = session.subscriptions.contains_key(&filter);
            let full = session.subscriptions.len() >= self.limits.max_subscriptions;
            let permit = match judge_subscribe(&session.subject, &filter) {
                Ok(_) if full && !existed => Err(code::QUOTA_EXCEEDED),
                Ok(permit) => Ok(permit),
                Err(_) => Err(code::NOT_AUTHORIZED),
            };
            match permit {
                Err(code) => {
                    self.counters.refused(code);
                    codes.push(code);
                }
                Ok(permit) => {
                    let how = Subscription {
                        qos: entry.qos,
                        no_local: entry.no_local,
                        retain_as_published: entry.retain_as_published,
                        id: subscription_id,
                    };
                    self.add_subscription(permit, id, how);
                    codes.push(entry.qos.as_u8());
                    if brings_retained(entry.retain_handling, existed)
                        && filter.share_group().is_none()
                    {
                        fresh.push((filter, entry.qos));
                    }
                }
            }
        }
        self.send_when_stored(conn, &Outgoing::Suback { id: packet_id, codes }, false);
        for (filter, qos) in fresh {
            self.deliver_retained(id, &filter, qos, subscription_id, context.now);
        }
    }

    fn add_subscription(&mut self, permit: SubscribePermit, id: SessionId, how: Subscription) {
        let filter = permit.into_filter();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.subscriptions.insert(filter.clone(), how.clone());
        if session.durable() {
            let filter = filter.clone();
            self.records.push(Record::Subscribed { id, filter, subscription: how });
        }
        self.enter_subscription(id, filter);
    }

    /// Enters a session's subscription where publications look for it.
    pub(super) fn enter_subscription(&mut self, id: SessionId, filter: Filter) {
        if filter.share_group().is_some() {
            let group = self.groups.entry(filter.clone()).or_default();
            if !group.members.contains(&id) {
                group.members.push(id);
            }
            self.trie.insert(&filter, Target::Group(filter.clone()));
        } else {
            self.trie.insert(&filter, Target::Session(id, filter.clone()));
        }
    }

    fn deliver_retained(
        &mut self,
        id: SessionId,
        filter: &Filter,
        qos: Qos,
        subscription_id: Option<u32>,
        now: Now,
    ) {
        for message in self.retained.matching(filter, now.wall) {
            self.offer(id, &message, qos, true, subscription_id.into_iter().collect(), now);
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        conn: ConnId,
        id: SessionId,
        packet_id: u16,
        filters: &[String],
    ) {
        let mut codes = Vec::with_capacity(filters.len());
        for filter in filters {
            codes.push(match filter.parse::<Filter>() {
                Ok(filter) if self.remove_subscription(id, &filter) => code::SUCCESS,
                Ok(_) => code::NO_SUBSCRIPTION_EXISTED,
                Err(_) => code::TOPIC_FILTER_INVALID,
            });
        }
        self.send_when_stored(conn, &Outgoing::Unsuback { id: packet_id, codes }, false);
    }

    /// Ends a subscription, in memory and in the store.
    pub(super) fn remove_subscription(&mut self, id: SessionId, filter: &Filter) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.subscriptions.remove(filter).is_none() {
            return false;
        }
        if session.durable() {
            self.records.push(Record::Unsubscribed { id, filter: filter.clone() });
        }
        self.forget_subscription(id, filter);
        true
    }

    /// Takes a subscription away from where publications look for it.
    pub(super) fn forget_subscription(&mut self, id: SessionId, filter: &Filter) {
        if filter.share_group().is_none() {
            self.trie.remove(filter, &Target::Session(id, filter.clone()));
            return;
        }
        let Some(group) = self.groups.get_mut(filter) else { return };
        group.members.retain(|member| *member != id);
        if group.members.is_empty() {
            self.groups.remove(filter);
            self.trie.remove(filter, &Target::Group(filter.clone()));
        }
    }
}
