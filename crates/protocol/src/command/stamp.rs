//! What the gateway writes on a command: who asked, a fresh id, and when.

use countersign_crypto::random::Random;
use countersign_model::id::ServiceName;
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// MQTT 5 user property: `service:NAME`.
pub const SUBJECT_PROPERTY: &str = "countersign-subject";
/// MQTT 5 user property: 32 hexadecimal digits.
pub const COMMAND_PROPERTY: &str = "countersign-command";
/// MQTT 5 user property: milliseconds since 1970 by the gateway's clock.
pub const AT_PROPERTY: &str = "countersign-at";

/// Whether a user property is one that only the gateway may write; it removes such from what clients send.
#[must_use]
pub fn is_stamp(name: &str) -> bool {
    [SUBJECT_PROPERTY, COMMAND_PROPERTY, AT_PROPERTY].contains(&name)
}

/// A command's id: 128 random bits, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId([u8; 16]);

impl CommandId {
    /// A fresh id.
    #[must_use]
    pub fn fresh(random: &mut dyn Random) -> Self {
        Self(random.array())
    }
}

impl std::str::FromStr for CommandId {
    type Err = InvalidStamp;
    fn from_str(text: &str) -> Result<Self, InvalidStamp> {
        let plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.as_bytes().iter().all(plain) {
            return Err(InvalidStamp(COMMAND_PROPERTY));
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| InvalidStamp(COMMAND_PROPERTY))?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for CommandId {
    type Error = InvalidStamp;
    fn try_from(text: String) -> Result<Self, InvalidStamp> {
        text.parse()
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({self})")
    }
}

/// The gateway's word on a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The service that asked; the gateway saw its certificate.
    pub by: ServiceName,
    /// The command's id.
    pub command: CommandId,
    /// When the gateway forwarded it.
    pub at: Timestamp,
}

/// A stamp is missing, stands twice or cannot be read: the gateway did not write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user property {0} is missing, repeated or malformed")]
pub struct InvalidStamp(pub &'static str);

impl Stamp {
    /// Reads the stamp among a message's user properties.
    ///
    /// # Errors
    /// [`InvalidStamp`] names the property.
    pub fn read<'a>(
        properties: impl IntoIterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<Self, InvalidStamp> {
        let only = |wanted: &'static str| {
            let mut values =
                properties.clone().into_iter().filter(|(name, _)| *name == wanted).map(|(_, v)| v);
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(InvalidStamp(wanted)),
            }
        };
        let by = only(SUBJECT_PROPERTY)?
            .strip_prefix("service:")
            .and_then(|name| name.parse().ok())
            .ok_or(InvalidStamp(SUBJECT_PROPERTY))?;
        let at = only(AT_PROPERTY)?.parse().map_err(|_| InvalidStamp(AT_PROPERTY))?;
        Ok(Self { by, command: only(COMMAND_PROPERTY)?.parse()?, at: Timestamp(at) })
    }

    /// The user properties to write.
    #[must_use]
    pub fn write(&self) -> [(&'static str, String); 3] {
        [
            (SUBJECT_PROPERTY, format!("service:{}", self.by)),
            (COMMAND_PROPERTY, self.command.to_string()),
            (AT_PROPERTY, self.at.as_millis().to_string()),
        ]
    }
}
