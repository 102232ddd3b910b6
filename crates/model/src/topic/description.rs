//! Where a thing tells the gateway's services what it can do.

use super::Topic;
use crate::id::ThingId;

/// `things/{thing}/description`: the Thing Description, as far as services may use it; from the device alone, retained.
///
/// ```
/// use countersign_model::topic::DescriptionTopic;
/// let described = DescriptionTopic("plug-1".parse()?);
/// assert_eq!(described.topic().as_str(), "things/plug-1/description");
/// assert_eq!(DescriptionTopic::parse(&described.topic()), Some(described));
/// # Ok::<(), countersign_model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DescriptionTopic(pub ThingId);

impl DescriptionTopic {
    /// Reads a topic; `None` where it is another.
    #[must_use]
    pub fn parse(topic: &Topic) -> Option<Self> {
        let mut levels = topic.levels();
        let things = levels.next()? == "things";
        let thing = levels.next()?.parse().ok()?;
        let last = levels.next()? == "description" && levels.next().is_none();
        (things && last).then_some(Self(thing))
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> Topic {
        let text = format!("things/{}/description", self.0);
        text.parse().expect("three levels of at most 64 safe bytes are a topic")
    }
}
