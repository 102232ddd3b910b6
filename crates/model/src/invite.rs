//! What an invited person is given: which device, the one-time code, whose device it is, and where it is.
//!
//! The code has the shape of a setup code: 130 random bits in 26 symbols, and four check symbols. Cameras read [`Invite`]'s
//! text, which holds only characters of QR's alphanumeric mode where the address is one of IPv4:
//!
//! ```text
//!  CSI1:PLUG-000001:K7RQ2M0X9C…5ZT1H:MZXW6YTBOI…:192.168.1.20:5541
//!       └ serial ┘  └ code ─────────┘└ maker's root ┘└ local API ──┘
//! ```
//!
//! ```
//! use countersign_model::invite::Invite;
//! use countersign_model::label::{RootFingerprint, SetupCode};
//! let code = SetupCode::from_entropy([7; 17]);
//! let root = RootFingerprint([1; 20]);
//! let invite = Invite::new("plug-000001".parse()?, code, root, "192.168.1.20:5541".parse()?);
//! let read = Invite::parse(&invite.qr_text())?;
//! assert_eq!(read.thing().as_str(), "plug-000001");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::id::{InvalidId, ThingId};
use crate::label::{InvalidCode, RootFingerprint, SetupCode};
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// The longest text that is looked at.
const MAX_TEXT: usize = 320;

/// An invitation, as text and QR code. Holds the secret, so it has the secret's manners.
#[derive(Debug)]
pub struct Invite {
    thing: ThingId,
    code: SetupCode,
    root: RootFingerprint,
    address: SocketAddr,
}

/// Why a text is no invitation of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInvite {
    /// Another QR code, or a newer kind of ours.
    #[error("this is no countersign invitation: its text begins with \"CSI1:\" and has five parts")]
    Shape,
    /// The serial is not a name.
    #[error("the invitation's serial is not valid: {0}")]
    Serial(#[from] InvalidId),
    /// The code is damaged.
    #[error("the invitation's code is not valid: {0}")]
    Code(#[from] InvalidCode),
    /// The fingerprint is not 32 characters of base 32.
    #[error("the invitation's root fingerprint is not 32 characters of base 32")]
    Root,
    /// The address is none.
    #[error("the invitation's address is not of the form address:port")]
    Address,
}

impl Invite {
    /// An invitation to a device.
    #[must_use]
    pub const fn new(
        thing: ThingId,
        code: SetupCode,
        root: RootFingerprint,
        address: SocketAddr,
    ) -> Self {
        Self { thing, code, root, address }
    }

    /// The device, in lower case when it was read.
    #[must_use]
    pub const fn thing(&self) -> &ThingId {
        &self.thing
    }

    /// The one-time code.
    #[must_use]
    pub const fn code(&self) -> &SetupCode {
        &self.code
    }

    /// Where the device was when the invitation was made.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The parts, for those who go on with them.
    #[must_use]
    pub fn into_parts(self) -> (ThingId, SetupCode, RootFingerprint, SocketAddr) {
        (self.thing, self.code, self.root, self.address)
    }

    /// The text of the QR code. The copy is wiped when dropped.
    #[must_use]
    pub fn qr_text(&self) -> Zeroizing<String> {
        let serial = self.thing.as_str().to_ascii_uppercase();
        let (code, root) = (self.code.compact(), self.root.to_base32());
        Zeroizing::new(format!("CSI1:{serial}:{}:{root}:{}", code.as_str(), self.address))
    }

    /// Reads the text of a QR code; any input gets an answer.
    ///
    /// # Errors
    /// [`InvalidInvite`], which never repeats the input.
    pub fn parse(text: &str) -> Result<Self, InvalidInvite> {
        if text.len() > MAX_TEXT {
            return Err(InvalidInvite::Shape);
        }
        let mut parts = text.trim().splitn(5, ':');
        let (Some(kind), Some(serial), Some(code), Some(root), Some(address)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidInvite::Shape);
        };
        if !kind.eq_ignore_ascii_case("CSI1") {
            return Err(InvalidInvite::Shape);
        }
        Ok(Self {
            thing: serial.to_ascii_lowercase().parse()?,
            code: SetupCode::parse(code)?,
            root: RootFingerprint::from_base32(root).ok_or(InvalidInvite::Root)?,
            address: address.parse().map_err(|_| InvalidInvite::Address)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn invite(address: &str) -> Invite {
        let code = SetupCode::from_entropy([9; 17]);
        let thing = "plug-000001".parse().unwrap();
        Invite::new(thing, code, RootFingerprint([3; 20]), address.parse().unwrap())
    }

    #[test]
    fn what_the_camera_reads_is_what_was_shown() {
        for address in ["192.168.1.20:5541", "[fe80::1]:8443"] {
            let made = invite(address);
            let read = Invite::parse(&made.qr_text().to_lowercase()).unwrap();
            assert_eq!((read.thing(), read.address()), (made.thing(), made.address()));
            assert!(read.code() == made.code() && read.root == made.root);
            assert!(!format!("{read:?}").contains(made.code().compact().as_str()));
        }
    }

    #[test]
    fn everything_else_gets_a_reason() {
        let good = invite("192.168.1.20:5541").qr_text();
        let cases = [
            (good.replace("CSI1", "CS1"), InvalidInvite::Shape),
            (good.replace(":192.168.1.20:5541", ""), InvalidInvite::Shape),
            (good.replace("PLUG-", "PLUG/"), "plug/000001".parse::<ThingId>().unwrap_err().into()),
            (good.replace(":5541", ""), InvalidInvite::Address),
            ("CSI1:".repeat(200), InvalidInvite::Shape),
        ];
        for (text, expected) in cases {
            assert_eq!(Invite::parse(&text).unwrap_err(), expected, "{text}");
        }
        let mut mistyped = good.to_string();
        mistyped.replace_range(17..18, if &good[17..18] == "7" { "8" } else { "7" });
        assert!(matches!(Invite::parse(&mistyped), Err(InvalidInvite::Code(_))), "{mistyped}");
    }
}
