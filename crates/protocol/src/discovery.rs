//! Discovery: what a device calls itself on the network, and who recognises it.
//!
//! ```text
//!  in a home          NONCE (8 bytes) ‖ TAG (12)     TAG  = HMAC(the device's key, NONCE)
//!                                                   the device's key = HMAC(the home's key, serial)
//!  waiting for one    NONCE (8 bytes) ‖ HINT (2)     HINT = HMAC(a key of the serial,  NONCE)
//! ```
//!
//! Both are written in hexadecimal, are the instance name and the host name alike, and are all that is said. The nonce is
//! fresh for each epoch, so that no clock has to agree: whoever holds the home's anchor computes the tag for each device of
//! the home and compares. Who joined by an invitation was given that one device's key, and recognises it alone. Nobody else
//! can tell two epochs of one device from two devices.
//!
//! A hint narrows down which waiting device a label belongs to. It is short on purpose: one in 65,536 serials has the
//! same, so that trying out serials does not tell which one it is. A name found here is an address to try and never a
//! proof: that is the certificate's business.
//!
//! ```
//! use countersign_protocol::discovery::{HomeKey, Pseudonym};
//! # struct Fixed; impl countersign_crypto::random::Random for Fixed { fn fill(&mut self, out: &mut [u8]) { out.fill(7) } }
//! let (home, other) = (HomeKey::of_anchor(b"its public key"), HomeKey::of_anchor(b"another"));
//! let plug = "plug-000001".parse()?;
//! let name = Pseudonym::in_home(&home.of_thing(&plug), &mut Fixed);
//! assert_eq!(home.recognise([&plug], name.as_str()), Some(&plug));
//! assert_eq!(other.recognise([&plug], name.as_str()), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use countersign_crypto::digest::hmac_sha256;
use countersign_crypto::random::Random;
use countersign_model::id::ThingId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// DNS-SD service type of devices that belong to a home (RFC 6763, section 7).
pub const IN_HOME: &str = "_countersign._tcp.local.";
/// Service type of devices that wait to be paired. A service's name has at most 15 characters (RFC 6335).
pub const WAITING: &str = "_countersign-new._tcp.local.";

/// Shortest life of a pseudonym: long enough that controllers find at an address what they have just seen there.
pub const EPOCH_MIN: Duration = Duration::from_secs(10 * 60);
/// Longest life. Between the two it is drawn, so that devices switched on together do not change names together.
pub const EPOCH_MAX: Duration = Duration::from_secs(20 * 60);

const NONCE: usize = 8;
const TAG: usize = 12;
const HINT: usize = 2;
/// What the key of a home is derived for.
const HOME_CONTEXT: &[u8] = b"countersign discovery in a home, 2";
/// What the key of a serial is derived for.
const SERIAL_CONTEXT: &[u8] = b"countersign discovery before pairing, 1";

/// What the devices and controllers of a home know of it and strangers do not.
#[derive(Clone)]
pub struct HomeKey([u8; 32]);

impl HomeKey {
    /// Of the public key in the home's trust anchor (SubjectPublicKeyInfo, DER), which travels inside channels only.
    #[must_use]
    pub fn of_anchor(spki_der: &[u8]) -> Self {
        Self(hmac_sha256(HOME_CONTEXT, spki_der))
    }

    /// What recognises this one device of the home.
    #[must_use]
    pub fn of_thing(&self, thing: &ThingId) -> ThingKey {
        ThingKey(hmac_sha256(&self.0, thing.as_str().to_ascii_lowercase().as_bytes()))
    }

    /// Which of `things` calls itself `name` now; none for a stranger's device, or no name of ours.
    pub fn recognise<'a>(
        &self,
        things: impl IntoIterator<Item = &'a ThingId>,
        name: &str,
    ) -> Option<&'a ThingId> {
        things.into_iter().find(|thing| self.of_thing(thing).recognises(name))
    }
}

impl fmt::Debug for HomeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HomeKey(..)")
    }
}

/// What recognises one device of a home, and tells nothing of the others. It opens nothing. As text: hexadecimal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ThingKey([u8; 32]);

impl ThingKey {
    /// As the device told it in its invitation.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As the device tells it to who joined.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the device calls itself `name` now.
    #[must_use]
    pub fn recognises(&self, name: &str) -> bool {
        parts(name).is_some_and(|(nonce, told)| self.tag(nonce) == told)
    }

    fn tag(&self, nonce: [u8; NONCE]) -> [u8; TAG] {
        first(&hmac_sha256(&self.0, &nonce))
    }
}

impl From<ThingKey> for String {
    fn from(key: ThingKey) -> Self {
        crate::hex::write(&key.0)
    }
}

impl TryFrom<String> for ThingKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        crate::hex::read(&text).map(Self).ok_or("a discovery key is 64 hexadecimal digits")
    }
}

impl fmt::Debug for ThingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThingKey(..)")
    }
}

//= specs/house.md#house-discovery
//# What a device announces MUST NOT contain its serial, its owner or anything that lasts longer than an epoch, apart from its address and port.
/// What a device calls itself for one epoch: a label of a domain name, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// A fresh one for a device of a home.
    #[must_use]
    pub fn in_home(key: &ThingKey, random: &mut dyn Random) -> Self {
        let nonce = random.array();
        Self(crate::hex::write(&nonce) + &crate::hex::write(&key.tag(nonce)))
    }

    /// A fresh one for a device that waits to be paired. One lasts as long as the pairing interface: each further one would
    /// tell a guesser of serials sixteen bits more.
    #[must_use]
    pub fn waiting(thing: &ThingId, random: &mut dyn Random) -> Self {
        let nonce = random.array();
        Self(crate::hex::write(&nonce) + &crate::hex::write(&hint(thing, nonce)))
    }

    /// The label's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether the waiting device that calls itself `name` may be the one whose label says `thing`.
#[must_use]
pub fn may_be(thing: &ThingId, name: &str) -> bool {
    parts(name).is_some_and(|(nonce, told): (_, [u8; HINT])| hint(thing, nonce) == told)
}

/// How long a pseudonym lasts.
#[must_use]
pub fn epoch(random: &mut dyn Random) -> Duration {
    let spread = (EPOCH_MAX - EPOCH_MIN).as_secs();
    EPOCH_MIN + Duration::from_secs(u64::from_be_bytes(random.array()) % (spread + 1))
}

fn hint(thing: &ThingId, nonce: [u8; NONCE]) -> [u8; HINT] {
    let key = hmac_sha256(SERIAL_CONTEXT, thing.as_str().to_ascii_lowercase().as_bytes());
    first(&hmac_sha256(&key, &nonce))
}

fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&digest[..N]);
    out
}

/// A name's nonce and what follows it. Names in DNS have no case, and anybody may announce anything.
fn parts<const N: usize>(name: &str) -> Option<([u8; NONCE], [u8; N])> {
    if name.len() != 2 * (NONCE + N) || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(name.get(2 * at..2 * at + 2)?, 16).ok();
    let (mut nonce, mut rest) = ([0; NONCE], [0; N]);
    for (at, out) in nonce.iter_mut().chain(&mut rest).enumerate() {
        *out = byte(at)?;
    }
    Some((nonce, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
