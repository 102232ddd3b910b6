//! What a service may do at the gateway, one right a line.

use crate::topic::{Filter, InvalidTopic, Topic};
use std::fmt;
use std::str::FromStr;

/// One right of a service, written `subscribe FILTER` or `publish FILTER`.
///
/// ```
/// use countersign_model::grant::Grant;
/// let grant: Grant = "subscribe things/+/properties/#".parse()?;
/// assert!(grant.allows_subscribe(&"things/plug-1/properties/power".parse()?));
/// assert!(!grant.allows_publish(&"things/plug-1/properties/power".parse()?));
/// assert_eq!(grant.to_string(), "subscribe things/+/properties/#");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grant {
    /// Messages of these topics may be received.
    Subscribe(Filter),
    /// Messages may be published to these topics.
    Publish(Filter),
}

/// Why a string is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// Neither `subscribe FILTER` nor `publish FILTER`.
    #[error("{0:?} is no grant: write \"subscribe FILTER\" or \"publish FILTER\"")]
    Form(String),
    /// The filter is none.
    #[error("the grant's filter {filter:?} is wrong: {why}")]
    Filter {
        /// What was written.
        filter: String,
        /// What is wrong with it.
        #[source]
        why: InvalidTopic,
    },
    /// A share group: whoever is granted a filter may share it in any group.
    #[error("a grant names no share group: write the filter without $share/GROUP/")]
    Shared,
}

impl Grant {
    /// Whether this right alone admits a subscription to `asked`.
    #[must_use]
    pub fn allows_subscribe(&self, asked: &Filter) -> bool {
        matches!(self, Self::Subscribe(granted) if granted.covers(asked))
    }

    /// Whether this right alone admits receiving a message of `topic`.
    #[must_use]
    pub fn allows_receive(&self, topic: &Topic) -> bool {
        matches!(self, Self::Subscribe(granted) if granted.matches(topic))
    }

    /// Whether this right alone admits publishing to `topic`.
    #[must_use]
    pub fn allows_publish(&self, topic: &Topic) -> bool {
        matches!(self, Self::Publish(granted) if granted.matches(topic))
    }
}

impl FromStr for Grant {
    type Err = InvalidGrant;
    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let (verb, filter) = text
            .trim()
            .split_once(char::is_whitespace)
            .map(|(verb, filter)| (verb, filter.trim_start()))
            .ok_or_else(|| InvalidGrant::Form(text.to_owned()))?;
        let grant = match verb {
            "subscribe" => Self::Subscribe,
            "publish" => Self::Publish,
            _ => return Err(InvalidGrant::Form(text.to_owned())),
        };
        let filter: Filter = filter
            .parse()
            .map_err(|why| InvalidGrant::Filter { filter: filter.to_owned(), why })?;
        if filter.share_group().is_some() {
            return Err(InvalidGrant::Shared);
        }
        Ok(grant(filter))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(filter) => write!(f, "subscribe {filter}"),
            Self::Publish(filter) => write!(f, "publish {filter}"),
        }
    }
}

impl TryFrom<String> for Grant {
    type Error = InvalidGrant;
    fn try_from(text: String) -> Result<Self, InvalidGrant> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn grants_read_back() {
        for text in ["subscribe things/+/properties/#", "publish things/+/actions/+"] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
            let json = serde_json::to_string(&grant).unwrap();
            assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), grant);
        }
        assert_eq!("  publish   a/b ".parse::<Grant>().unwrap().to_string(), "publish a/b");
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for bad in
            ["", "subscribe", "publish ", "read a/b", "subscribe a/#/b", "subscribe $share/g/a"]
        {
            assert!(bad.parse::<Grant>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<Grant>("\"own everything\"").is_err());
    }

    #[test]
    fn a_right_to_receive_is_none_to_send() {
        let receive: Grant = "subscribe a/#".parse().unwrap();
        let send: Grant = "publish a/#".parse().unwrap();
        let topic: Topic = "a/b".parse().unwrap();
        assert!(receive.allows_receive(&topic) && !receive.allows_publish(&topic));
        assert!(send.allows_publish(&topic) && !send.allows_receive(&topic));
        assert!(!receive.allows_subscribe(&"#".parse().unwrap()));
    }
}
