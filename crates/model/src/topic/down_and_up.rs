//! A pair of topics of one thing: documents come down from the gateway on `things/{thing}/{word}`, and what the thing says of them goes up
//! on `things/{thing}/{word}/state`.

use super::{Filter, Topic};
use crate::id::ThingId;

/// Whose topic it is, and whether it is the one that goes up; `None` where it is neither.
pub(super) fn parse(topic: &Topic, word: &str) -> Option<(ThingId, bool)> {
    let mut levels = topic.levels();
    if levels.next()? != "things" {
        return None;
    }
    let thing: ThingId = levels.next()?.parse().ok()?;
    if levels.next()? != word {
        return None;
    }
    match (levels.next(), levels.next()) {
        (None, None) => Some((thing, false)),
        (Some("state"), None) => Some((thing, true)),
        _ => None,
    }
}

/// One of the two.
pub(super) fn topic(thing: &ThingId, word: &str, up: bool) -> Topic {
    let state = if up { "/state" } else { "" };
    let text = format!("things/{thing}/{word}{state}");
    text.parse().expect("four levels of at most 64 safe bytes are a topic")
}

/// What the thing subscribes to.
pub(super) fn filter(thing: &ThingId, word: &str) -> Filter {
    format!("things/{thing}/{word}").parse().expect("a thing's id is safe in a filter")
}
