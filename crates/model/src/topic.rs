//! MQTT topic names and filters, and the topics that belong to things.
//!
//! ```text
//! things/{id}/properties/{name}            the device says a value        device ─► services
//! things/{id}/events/{name}                something happened             device ─► services
//! things/{id}/actions/{name}/receipt       what became of a command       device ─► services
//! things/{id}/actions/{name}               a command: invoke              service ─► device
//! things/{id}/properties/{name}/set        a command: write               service ─► device
//! things/{id}/description                  what the device can do         device ─► services
//! things/{id}/policy                       a signed crypto policy          gateway ─► device
//! things/{id}/policy/state                 which policy the device holds   device ─► gateway
//! things/{id}/anchors                      what roots say of each other    gateway ─► device
//! things/{id}/anchors/state                which of them it trusts         device ─► gateway
//! ```
//!
//! Source: MQTT 5.0 section 4.7 (the same in 3.1.1 section 4.7), and 4.8.2 for shared subscriptions.

mod anchors;
mod description;
mod down_and_up;
mod policy;

use crate::id::{AffordanceName, ThingId};
pub use anchors::{AnchorReport, AnchorTopic};
pub use description::DescriptionTopic;
pub use policy::{MAX_REASON, MAX_REPORT, PolicyPhase, PolicyReport, PolicyTopic, RefusedPolicy};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest topic or filter, in bytes. MQTT allows 65,535; ours need 5 levels of at most 64 bytes,
/// and a short bound keeps what one subscription costs small.
pub const MAX_BYTES: usize = 1024;

/// The most levels of a topic or filter, so that walking the subscriptions is bounded.
pub const MAX_LEVELS: usize = 16;

/// Why a string is not a topic name or filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// Empty, or longer than [`MAX_BYTES`].
    #[error("a topic has 1 to {MAX_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// More than [`MAX_LEVELS`] levels.
    #[error("a topic has at most {MAX_LEVELS} levels, this one has {0}")]
    Levels(usize),
    /// A NUL character.
    #[error("a topic holds no NUL character")]
    Nul,
    /// `+` or `#` in a name that is published to.
    #[error("a topic name holds no wildcard; + and # are for filters")]
    WildcardInName,
    /// `+` that does not fill its level, or `#` that does not fill the last.
    #[error("+ fills a whole level, and # fills the last one")]
    MisplacedWildcard,
    /// `$share` without a group name and a filter behind it.
    #[error("a shared subscription reads $share/GROUP/FILTER, and GROUP holds no wildcard")]
    Share,
}

fn check_text(text: &str) -> Result<(), InvalidTopic> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err(InvalidTopic::Length(text.len()));
    }
    if text.contains('\0') {
        return Err(InvalidTopic::Nul);
    }
    let levels = text.split('/').count();
    if levels > MAX_LEVELS {
        return Err(InvalidTopic::Levels(levels));
    }
    Ok(())
}

/// A name that can be published to: 1 to [`MAX_BYTES`] bytes, 1 to [`MAX_LEVELS`] levels, no wildcard. Cheap to clone.
///
/// ```
/// use countersign_model::topic::Topic;
/// assert!("things/plug-1/properties/power".parse::<Topic>().is_ok());
/// assert!("things/+/properties/power".parse::<Topic>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

impl Topic {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, first to last.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether the name is reserved for a server's own use (`$SYS` and the like): leading wildcards do not match it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;
    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(InvalidTopic::WildcardInName);
        }
        Ok(Self(text.into()))
    }
}

/// What a subscriber asks for: a topic name with `+` for one level and `#` for the rest, and a group
/// where the subscription is shared. Cheap to clone.
///
/// ```
/// use countersign_model::topic::{Filter, Topic};
/// let power: Topic = "things/plug-1/properties/power".parse()?;
/// let granted: Filter = "things/+/properties/#".parse()?;
/// assert!(granted.matches(&power));
/// assert!(granted.covers(&"$share/backend/things/plug-1/properties/+".parse()?));
/// assert!(!granted.covers(&"things/#".parse()?));
/// # Ok::<(), countersign_model::topic::InvalidTopic>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    text: Arc<str>,
    /// Where the pattern begins in `text`; 0 where the subscription is not shared.
    pattern_at: usize,
}

const SHARE: &str = "$share/";

impl Filter {
    /// The whole filter as the subscriber wrote it, with `$share/GROUP/` where it is shared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The filter without its share group.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.text[self.pattern_at..]
    }

    /// The group that shares the subscription's messages, each of which goes to one member.
    #[must_use]
    pub fn share_group(&self) -> Option<&str> {
        (self.pattern_at > 0).then(|| &self.text[SHARE.len()..self.pattern_at - 1])
    }

    /// The pattern's levels, first to last.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.pattern().split('/')
    }

    /// Whether a message published to `topic` is what this filter asks for (MQTT 5.0 sections 4.7.1 and 4.7.2).
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let pattern = self.pattern();
        if topic.is_reserved() && pattern.starts_with(['+', '#']) {
            return false;
        }
        let mut wanted = pattern.split('/');
        let mut given = topic.levels();
        loop {
            match (wanted.next(), given.next()) {
                // "a/#" asks for "a" too.
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(want), Some(have)) if want == have => {}
                _ => return false,
            }
        }
    }

    /// Whether every topic that `other` can match is matched by this filter: the test of a requested filter against a
    /// granted one. Share groups do not matter. Never true wrongly; of two spellings of the same set (`+/#` and `#`)
    /// it may miss the equality.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.pattern().starts_with('$') && self.pattern().starts_with(['+', '#']) {
            return false;
        }
        let mut mine = self.levels();
        let mut theirs = other.levels();
        loop {
            match (mine.next(), theirs.next()) {
                (Some("#"), _) | (None, None) => return true,
                (_, Some("#")) => return false,
                (Some("+"), Some(_)) => {}
                (Some(my), Some(their)) if my == their => {}
                _ => return false,
            }
        }
    }
}

impl FromStr for Filter {
    type Err = InvalidTopic;
    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        if text.len() > MAX_BYTES {
            return Err(InvalidTopic::Length(text.len()));
        }
        let pattern_at = match text.strip_prefix(SHARE) {
            None if text == "$share" => return Err(InvalidTopic::Share),
            None => 0,
            Some(rest) => {
                let (group, _) = rest.split_once('/').ok_or(InvalidTopic::Share)?;
                if group.is_empty() || group.contains(['+', '#', '\0']) {
                    return Err(InvalidTopic::Share);
                }
                SHARE.len() + group.len() + 1
            }
        };
        let pattern = &text[pattern_at..];
        check_text(pattern)?;
        let mut levels = pattern.split('/').peekable();
        while let Some(level) = levels.next() {
            let misplaced = match level {
                "+" => false,
                "#" => levels.peek().is_some(),
                other => other.contains(['+', '#']),
            };
            if misplaced {
                return Err(InvalidTopic::MisplacedWildcard);
            }
        }
        Ok(Self { text: text.into(), pattern_at })
    }
}

macro_rules! text_forms {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = InvalidTopic;
            fn try_from(text: String) -> Result<Self, InvalidTopic> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }
    };
}

text_forms!(Topic);
text_forms!(Filter);

/// The topics of a thing, by meaning. Made and read here only, so that both ends spell them alike.
///
/// ```
/// use countersign_model::topic::ThingTopic;
/// let on = ThingTopic::Action { thing: "plug-1".parse()?, name: "switch-on".parse()? };
/// assert_eq!(on.topic().as_str(), "things/plug-1/actions/switch-on");
/// assert_eq!(ThingTopic::parse(&on.topic()), Some(on));
/// # Ok::<(), countersign_model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ThingTopic {
    /// `things/{thing}/properties/{name}`: the device says a value.
    Property {
        /// Whose.
        thing: ThingId,
        /// Which property.
        name: AffordanceName,
    },
    /// `things/{thing}/events/{name}`: something happened at the device.
    Event {
        /// Whose.
        thing: ThingId,
        /// Which event.
        name: AffordanceName,
    },
    /// `things/{thing}/actions/{name}/receipt`: what became of a command.
    Receipt {
        /// Whose.
        thing: ThingId,
        /// The affordance that was commanded.
        name: AffordanceName,
    },
    /// `things/{thing}/actions/{name}`: a command to do something.
    Action {
        /// Whose.
        thing: ThingId,
        /// Which action.
        name: AffordanceName,
    },
    /// `things/{thing}/properties/{name}/set`: a command to take a new value.
    SetProperty {
        /// Whose.
        thing: ThingId,
        /// Which property.
        name: AffordanceName,
    },
}

impl ThingTopic {
    /// Reads a topic; `None` where it is no topic of a thing.
    #[must_use]
    pub fn parse(topic: &Topic) -> Option<Self> {
        let mut levels = topic.levels();
        if levels.next()? != "things" {
            return None;
        }
        let thing: ThingId = levels.next()?.parse().ok()?;
        let kind = levels.next()?;
        let name: AffordanceName = levels.next()?.parse().ok()?;
        let last = levels.next();
        if levels.next().is_some() {
            return None;
        }
        match (kind, last) {
            ("properties", None) => Some(Self::Property { thing, name }),
            ("properties", Some("set")) => Some(Self::SetProperty { thing, name }),
            ("events", None) => Some(Self::Event { thing, name }),
            ("actions", None) => Some(Self::Action { thing, name }),
            ("actions", Some("receipt")) => Some(Self::Receipt { thing, name }),
            _ => None,
        }
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> Topic {
        let thing = self.thing();
        let text = match self {
            Self::Property { name, .. } => format!("things/{thing}/properties/{name}"),
            Self::Event { name, .. } => format!("things/{thing}/events/{name}"),
            Self::Receipt { name, .. } => format!("things/{thing}/actions/{name}/receipt"),
            Self::Action { name, .. } => format!("things/{thing}/actions/{name}"),
            Self::SetProperty { name, .. } => format!("things/{thing}/properties/{name}/set"),
        };
        text.parse().expect("five levels of at most 64 safe bytes are a topic")
    }

    /// Whose topic it is.
    #[must_use]
    pub fn thing(&self) -> &ThingId {
        match self {
            Self::Property { thing, .. }
            | Self::Event { thing, .. }
            | Self::Receipt { thing, .. }
            | Self::Action { thing, .. }
            | Self::SetProperty { thing, .. } => thing,
        }
    }

    /// The affordance.
    #[must_use]
    pub fn name(&self) -> &AffordanceName {
        match self {
            Self::Property { name, .. }
            | Self::Event { name, .. }
            | Self::Receipt { name, .. }
            | Self::Action { name, .. }
            | Self::SetProperty { name, .. } => name,
        }
    }

    /// Whether it goes to the device and asks it to act. The others come from the device.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        matches!(self, Self::Action { .. } | Self::SetProperty { .. })
    }

    /// The two filters that a device subscribes to: its actions, and the settings of its properties.
    #[must_use]
    pub fn command_filters(thing: &ThingId) -> [Filter; 2] {
        [format!("things/{thing}/actions/+"), format!("things/{thing}/properties/+/set")].map(
            |text| text.parse().expect("a thing's id is safe in a filter, and + fills its level"),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    #[test]
    fn names_and_filters_are_bounded() {
        let long = "x".repeat(MAX_BYTES);
        assert!(long.parse::<Topic>().is_ok() && long.parse::<Filter>().is_ok());
        let deep = vec!["x"; MAX_LEVELS].join("/");
        assert!(deep.parse::<Topic>().is_ok() && deep.parse::<Filter>().is_ok());
        let (longer, deeper) = (format!("{long}x"), format!("{deep}/x"));
        for bad in ["", "a\0b", longer.as_str(), deeper.as_str()] {
            assert!(bad.parse::<Topic>().is_err() && bad.parse::<Filter>().is_err(), "{bad:?}");
        }
        for bad in ["a/#/b", "a+", "+a/b", "a#", "$share", "$share/", "$share/g", "$share//a"] {
            assert!(bad.parse::<Filter>().is_err(), "{bad:?}");
        }
        for bad in ["$share/+/a", "$share/g/", "$share/g/a#"] {
            assert!(bad.parse::<Filter>().is_err(), "{bad:?}");
        }
        assert!("a/+/b".parse::<Topic>().is_err() && "a/#".parse::<Topic>().is_err());
    }

    #[test]
    fn the_standards_examples_match() {
        // MQTT 5.0 sections 4.7.1.2, 4.7.1.3 and 4.7.2.
        for name in ["sport/tennis/player1", "sport/tennis/player1/ranking"] {
            assert!(filter("sport/tennis/player1/#").matches(&topic(name)), "{name}");
        }
        assert!(filter("sport/#").matches(&topic("sport")));
        assert!(filter("sport/tennis/+").matches(&topic("sport/tennis/player1")));
        assert!(!filter("sport/tennis/+").matches(&topic("sport/tennis/player1/ranking")));
        assert!(!filter("sport/+").matches(&topic("sport")));
        assert!(filter("sport/+").matches(&topic("sport/")));
        assert!(
            filter("+/+").matches(&topic("/finance")) && filter("/+").matches(&topic("/finance"))
        );
        assert!(!filter("+").matches(&topic("/finance")));
        assert!(!filter("#").matches(&topic("$SYS/load")));
        assert!(!filter("+/load").matches(&topic("$SYS/load")));
        assert!(filter("$SYS/#").matches(&topic("$SYS/load")));
    }

    #[test]
    fn a_shared_filter_is_taken_apart() {
        let shared = filter("$share/backend/things/+/events/#");
        assert_eq!(shared.share_group(), Some("backend"));
        assert_eq!(shared.pattern(), "things/+/events/#");
        assert!(shared.matches(&topic("things/plug-1/events/overload")));
        assert_eq!(filter("things/#").share_group(), None);
    }

    #[test]
    fn topics_of_things_read_back() {
        for (text, command) in [
            ("things/plug-1/properties/power", false),
            ("things/plug-1/events/overload", false),
            ("things/plug-1/actions/on/receipt", false),
            ("things/plug-1/actions/on", true),
            ("things/plug-1/properties/limit/set", true),
        ] {
            let parsed = ThingTopic::parse(&topic(text)).unwrap();
            assert_eq!(parsed.topic().as_str(), text);
            assert_eq!(parsed.is_command(), command, "{text}");
            let asked = ThingTopic::command_filters(parsed.thing());
            assert_eq!(asked.iter().any(|f| f.matches(&topic(text))), command, "{text}");
        }
        for text in [
            "things",
            "things/a",
            "things/a/b/c",
            "things/a/events/x/set",
            "thing/a/events/x",
            "things/a/actions/x/receipt/y",
            "things//events/x",
            "things/a/actions/",
        ] {
            assert_eq!(ThingTopic::parse(&topic(text)), None, "{text}");
        }
    }

    /// The definition, written as slowly as possible: expand the filter against the levels by recursion.
    fn naive(pattern: &[&str], levels: &[&str], first: bool) -> bool {
        match (pattern, levels) {
            ([], []) => true,
            (["#"], rest) => !(first && rest.first().is_some_and(|l| l.starts_with('$'))),
            (["+", p @ ..], [l, rest @ ..]) => {
                !(first && l.starts_with('$')) && naive(p, rest, false)
            }
            ([p, ps @ ..], [l, rest @ ..]) => p == l && naive(ps, rest, false),
            _ => false,
        }
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$s"), Just("+")];
        (proptest::collection::vec(level, 1..5), any::<bool>(), any::<bool>()).prop_filter_map(
            "an empty filter is none",
            |(levels, rest, shared)| {
                let mut text = levels.join("/");
                if rest {
                    text.push_str("/#");
                }
                if shared {
                    text = format!("$share/g/{text}");
                }
                text.parse().ok()
            },
        )
    }

    fn any_topic() -> impl Strategy<Value = Topic> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$s"), Just("c")];
        proptest::collection::vec(level, 1..6)
            .prop_filter_map("an empty topic is none", |levels| levels.join("/").parse().ok())
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(filter in any_filter(), topic in any_topic()) {
            let pattern: Vec<_> = filter.levels().collect();
            let levels: Vec<_> = topic.levels().collect();
            prop_assert_eq!(filter.matches(&topic), naive(&pattern, &levels, true));
        }

        #[test]
        fn what_is_covered_is_matched(
            granted in any_filter(), asked in any_filter(), topics in proptest::collection::vec(any_topic(), 64)
        ) {
            prop_assert!(granted.covers(&granted));
            if granted.covers(&asked) {
                for topic in topics {
                    prop_assert!(!asked.matches(&topic) || granted.matches(&topic), "{} {}", granted, topic);
                }
            }
        }

        #[test]
        fn a_name_is_covered_exactly_when_it_matches(granted in any_filter(), topic in any_topic()) {
            if let Ok(asked) = topic.as_str().parse::<Filter>() {
                prop_assert_eq!(granted.covers(&asked), granted.matches(&topic));
            }
        }

        #[test]
        fn text_reads_back(filter in any_filter()) {
            prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.as_str(), &text);
            }
            if let Ok(filter) = text.parse::<Filter>() {
                prop_assert_eq!(filter.as_str(), &text);
            }
        }
    }
}
