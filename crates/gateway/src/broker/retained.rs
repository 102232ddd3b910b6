//! Retained messages: the last word on each topic, bounded in total and for each who publishes them.

use super::message::Message;
use countersign_model::time::Timestamp;
use countersign_model::topic::{Filter, Topic};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Topic, Arc<Message>>,
    by_origin: HashMap<Arc<str>, usize>,
    bytes: usize,
}

impl Retained {
    /// Keeps the message as its topic's last word. `false`: the bounds do not admit one more topic.
    pub(crate) fn put(&mut self, message: Arc<Message>, total: usize, per_origin: usize) -> bool {
        let replaced = self.by_topic.get(&message.topic).cloned();
        let same_origin = replaced.as_ref().is_some_and(|old| old.origin == message.origin);
        let held = self.by_origin.get(&message.origin).copied().unwrap_or(0);
        if (replaced.is_none() && self.by_topic.len() >= total)
            || (!same_origin && held >= per_origin)
        {
            return false;
        }
        self.remove(&message.topic);
        self.bytes += message.cost();
        *self.by_origin.entry(message.origin.clone()).or_default() += 1;
        self.by_topic.insert(message.topic.clone(), message);
        true
    }

    /// Forgets the topic's message.
    pub(crate) fn remove(&mut self, topic: &Topic) -> bool {
        let Some(old) = self.by_topic.remove(topic) else { return false };
        self.bytes -= old.cost();
        if let Some(held) = self.by_origin.get_mut(&old.origin) {
            *held -= 1;
            if *held == 0 {
                self.by_origin.remove(&old.origin);
            }
        }
        true
    }

    /// The topic's last word.
    pub(crate) fn get(&self, topic: &Topic) -> Option<Arc<Message>> {
        self.by_topic.get(topic).cloned()
    }

    /// Replaces what the matching topics' messages say.
    pub(crate) fn replace_payloads(&mut self, payload: &[u8], matching: impl Fn(&Topic) -> bool) {
        for message in self.by_topic.values_mut().filter(|message| matching(&message.topic)) {
            let other = Message { payload: payload.into(), ..Message::clone(message) };
            self.bytes = self.bytes - message.cost() + other.cost();
            *message = Arc::new(other);
        }
    }

    /// The unexpired messages of matching topics, in topic order. Only topics that share the filter's literal beginning
    /// are looked at.
    pub(crate) fn matching(&self, filter: &Filter, now: Timestamp) -> Vec<Arc<Message>> {
        let pattern = filter.pattern();
        let literal = pattern.find(['+', '#']).map_or(pattern, |at| &pattern[..at]);
        // "a/#" matches "a" too, which sorts before "a/".
        let start = literal.strip_suffix('/').unwrap_or(literal);
        let from = start.parse::<Topic>().ok();
        let range = match &from {
            Some(from) => self.by_topic.range(from.clone()..),
            None => self.by_topic.range::<Topic, _>(..),
        };
        range
            .take_while(|(topic, _)| topic.as_str().starts_with(start))
            .filter(|(topic, message)| filter.matches(topic) && !message.expired(now))
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// Topics whose message has expired.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<Topic> {
        let expired = self.by_topic.values().filter(|message| message.expired(now));
        expired.map(|message| message.topic.clone()).collect()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::message::{Properties, Qos};
    use super::*;
    use proptest::prelude::*;

    fn message(topic: &str, origin: &str) -> Arc<Message> {
        Arc::new(Message {
            topic: topic.parse().unwrap(),
            payload: b"1".as_slice().into(),
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: Properties::default(),
            expires_at: None,
            origin: origin.into(),
        })
    }

    #[test]
    fn bounds_count_topics_and_publishers() {
        let mut retained = Retained::default();
        assert!(retained.put(message("a/1", "thing:a"), 3, 2));
        assert!(retained.put(message("a/2", "thing:a"), 3, 2));
        assert!(!retained.put(message("a/3", "thing:a"), 3, 2), "two for one publisher");
        assert!(retained.put(message("a/2", "thing:a"), 3, 2), "a replacement is no addition");
        assert!(retained.put(message("b/1", "thing:b"), 3, 2));
        assert!(!retained.put(message("b/2", "thing:b"), 3, 2), "three in total");
        assert!(
            retained.remove(&"a/1".parse().unwrap()) && !retained.remove(&"a/1".parse().unwrap())
        );
        assert!(retained.put(message("b/2", "thing:b"), 3, 2));
        for topic in ["a/2", "b/1", "b/2"] {
            retained.remove(&topic.parse().unwrap());
        }
        assert_eq!((retained.len(), retained.bytes(), retained.by_origin.len()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn finds_what_asking_each_topic_finds(
            topics in proptest::collection::vec("[ab/]{1,6}", 0..30), filter in "[ab+#/]{1,6}"
        ) {
            let Ok(filter) = filter.parse::<Filter>() else { return Ok(()) };
            let mut retained = Retained::default();
            for topic in &topics {
                retained.put(message(topic, "thing:a"), 1000, 1000);
            }
            let found: Vec<_> = retained.matching(&filter, Timestamp(0)).iter().map(|m| m.topic.clone()).collect();
            let mut wanted: Vec<Topic> = topics.iter().map(|t| t.parse().unwrap())
                .filter(|topic| filter.matches(topic)).collect();
            wanted.sort();
            wanted.dedup();
            prop_assert_eq!(found, wanted);
        }
    }
}
