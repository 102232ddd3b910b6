//! The label on a device: its serial, its setup code and which manufacturer's root vouches for it.
//!
//! The setup code is a *critical security parameter*: whoever knows it can pair a factory-default device. It has
//! [`SetupCode::BITS`] random bits in 26 symbols of Crockford's base 32 (no I, L, O, U), and four check symbols, a
//! Reed-Solomon code over GF(32) that finds any four wrong symbols and any two that were swapped. People read it as
//! six groups of five; cameras read [`Label`]'s text, which holds only characters of QR's alphanumeric mode:
//!
//! ```text
//!  K7RQ2-M0X9C-…-5ZT1H          CS1:PLUG-000001:K7RQ2M0X9C…5ZT1H:MZXW6YTBOI…
//!  └ 26 symbols + 4 check ┘         └ serial ┘  └ code ─────────┘└ root, 20 bytes of SHA-256, base 32 ┘
//! ```
//!
//! ```
//! use countersign_model::label::{Label, RootFingerprint, SetupCode};
//! let code = SetupCode::from_entropy([7; 17]);
//! let label = Label::new("plug-000001".parse()?, code, RootFingerprint([1; 20]));
//! let read = Label::parse(&label.qr_text())?;
//! assert_eq!(read.thing().as_str(), "plug-000001");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::id::ThingId;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

mod check;

/// Crockford's alphabet: digits and letters that nobody mistakes for another.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols that carry the secret: the least number that holds 128 bits, and a whole number of groups with the check.
const DATA: usize = 26;
/// Symbols of the check.
const CHECK: usize = 4;
const TOTAL: usize = DATA + CHECK;
/// Symbols in a printed group.
const GROUP: usize = 5;
/// The longest text that is looked at: generous for spaces and dashes, and no invitation to send a book.
const MAX_TEXT: usize = 256;

/// The secret on the label. Wiped when dropped; shows nothing in `Debug`; compares in constant time.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SetupCode {
    /// Values 0 to 31.
    symbols: [u8; DATA],
}

/// Why a text is no setup code. Says where, never what: a mistyped code is still nearly the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCode {
    /// Not 30 symbols.
    #[error("a setup code has {TOTAL} letters and digits, this one has {0}")]
    Length(usize),
    /// A character that is in no code; counted from 1.
    #[error(
        "character {0} of the code cannot stand there: codes hold digits and letters, without U"
    )]
    Character(usize),
    /// Symbols were mistyped or swapped.
    #[error("the code was mistyped: its check symbols do not match; compare it with the label")]
    Check,
}

impl SetupCode {
    /// Random bits in a code.
    pub const BITS: u16 = 130;
    /// Bytes of randomness that a code is made from.
    pub const ENTROPY_BYTES: usize = 17;

    /// Makes a code from 17 uniformly random bytes; the last six bits are not used.
    #[must_use]
    pub fn from_entropy(entropy: [u8; Self::ENTROPY_BYTES]) -> Self {
        let entropy = Zeroizing::new(entropy);
        let mut symbols = [0; DATA];
        for (index, symbol) in symbols.iter_mut().enumerate() {
            for bit in index * 5..index * 5 + 5 {
                *symbol = *symbol << 1 | (entropy[bit / 8] >> (7 - bit % 8)) & 1;
            }
        }
        Self { symbols }
    }

    /// Reads what a person typed: lower case, dashes and spaces are fine, O is read as 0, I and L as 1.
    ///
    /// # Errors
    /// [`InvalidCode`] for the wrong length, a strange character, or check symbols that do not match.
    pub fn parse(text: &str) -> Result<Self, InvalidCode> {
        if text.len() > MAX_TEXT {
            return Err(InvalidCode::Length(text.len()));
        }
        let mut symbols = Zeroizing::new([0_u8; TOTAL]);
        let mut count = 0;
        for (position, character) in text.chars().enumerate() {
            if character == '-' || character.is_whitespace() {
                continue;
            }
            let value = value_of(character).ok_or(InvalidCode::Character(position + 1))?;
            if let Some(slot) = symbols.get_mut(count) {
                *slot = value;
            }
            count += 1;
        }
        if count != TOTAL {
            return Err(InvalidCode::Length(count));
        }
        if !check::matches(symbols.as_ref()) {
            return Err(InvalidCode::Check);
        }
        let mut code = Self { symbols: [0; DATA] };
        code.symbols.copy_from_slice(&symbols[..DATA]);
        Ok(code)
    }

    /// The code as it is printed for people: six groups of five. The copy is wiped when dropped.
    #[must_use]
    pub fn printed(&self) -> Zeroizing<String> {
        let compact = self.compact();
        let mut text = Zeroizing::new(String::with_capacity(TOTAL + TOTAL / GROUP));
        for (index, symbol) in compact.chars().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(symbol);
        }
        text
    }

    /// The 30 symbols without dashes, upper case: the password of the pairing and the form in the QR text.
    #[must_use]
    pub fn compact(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TOTAL));
        let check = check::symbols(&self.symbols);
        for value in self.symbols.iter().chain(&check) {
            text.push(char::from(ALPHABET[usize::from(*value) % ALPHABET.len()]));
        }
        text
    }
}

impl PartialEq for SetupCode {
    fn eq(&self, other: &Self) -> bool {
        let differing =
            self.symbols.iter().zip(&other.symbols).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

impl Eq for SetupCode {}

impl fmt::Debug for SetupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetupCode(..)")
    }
}

fn value_of(character: char) -> Option<u8> {
    let upper = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let byte = u8::try_from(upper).ok()?;
    ALPHABET.iter().position(|symbol| *symbol == byte).and_then(|at| u8::try_from(at).ok())
}

/// The first 20 bytes of SHA-256 over the manufacturer's root certificate (DER): 160 bits, enough that nobody finds a
/// second root with the same, and short enough for a small QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootFingerprint(pub [u8; 20]);

impl RootFingerprint {
    /// From a whole SHA-256 digest.
    #[must_use]
    pub fn from_sha256(digest: &[u8; 32]) -> Self {
        let mut first = [0; 20];
        first.copy_from_slice(&digest[..20]);
        Self(first)
    }

    /// Whether a root with this SHA-256 digest is the one on the label.
    #[must_use]
    pub fn matches_sha256(&self, digest: &[u8; 32]) -> bool {
        Self::from_sha256(digest) == *self
    }

    /// RFC 4648 base 32 without padding: 32 characters.
    #[must_use]
    pub fn to_base32(self) -> String {
        const SYMBOLS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bits = |at: usize| (self.0[at / 8] >> (7 - at % 8)) & 1;
        (0..32)
            .map(|index| (0..5).fold(0_u8, |value, bit| value << 1 | bits(index * 5 + bit)))
            .map(|value| char::from(SYMBOLS[usize::from(value)]))
            .collect()
    }

    pub(crate) fn from_base32(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        let mut bytes = [0_u8; 20];
        for (index, byte) in text.bytes().enumerate() {
            let value = match byte.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            for bit in 0..5 {
                let at = index * 5 + bit;
                bytes[at / 8] |= ((value >> (4 - bit)) & 1) << (7 - at % 8);
            }
        }
        Some(Self(bytes))
    }
}

/// What the QR code says. Holds the secret, so it has the secret's manners.
#[derive(Debug)]
pub struct Label {
    thing: ThingId,
    code: SetupCode,
    root: RootFingerprint,
}

/// Why a text is no label of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// Another QR code, or a newer kind of ours.
    #[error("this is no countersign label: its text begins with \"CS1:\" and has four parts")]
    Shape,
    /// The serial is not a name.
    #[error("the label's serial is not valid: {0}")]
    Serial(#[from] crate::id::InvalidId),
    /// The code is damaged.
    #[error("the label's setup code is not valid: {0}")]
    Code(#[from] InvalidCode),
    /// The fingerprint is not 32 characters of base 32.
    #[error("the label's root fingerprint is not 32 characters of base 32")]
    Root,
}

impl Label {
    /// A label for a device.
    #[must_use]
    pub const fn new(thing: ThingId, code: SetupCode, root: RootFingerprint) -> Self {
        Self { thing, code, root }
    }

    /// The device's serial, in lower case when it was read from a QR code.
    #[must_use]
    pub const fn thing(&self) -> &ThingId {
        &self.thing
    }

    /// The secret.
    #[must_use]
    pub const fn code(&self) -> &SetupCode {
        &self.code
    }

    /// The manufacturer's root that the device's certificate must lead to.
    #[must_use]
    pub const fn root(&self) -> RootFingerprint {
        self.root
    }

    /// The parts, for those who go on with them.
    #[must_use]
    pub fn into_parts(self) -> (ThingId, SetupCode, RootFingerprint) {
        (self.thing, self.code, self.root)
    }

    /// The text of the QR code. The copy is wiped when dropped.
    #[must_use]
    pub fn qr_text(&self) -> Zeroizing<String> {
        let serial = self.thing.as_str().to_ascii_uppercase();
        let code = self.code.compact();
        Zeroizing::new(format!("CS1:{serial}:{}:{}", code.as_str(), self.root.to_base32()))
    }

    /// Reads the text of a QR code; any input gets an answer.
    ///
    /// # Errors
    /// [`InvalidLabel`], which never repeats the input.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        if text.len() > MAX_TEXT {
            return Err(InvalidLabel::Shape);
        }
        let mut parts = text.trim().split(':');
        let (Some(kind), Some(serial), Some(code), Some(root), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidLabel::Shape);
        };
        if !kind.eq_ignore_ascii_case("CS1") {
            return Err(InvalidLabel::Shape);
        }
        Ok(Self {
            thing: serial.to_ascii_lowercase().parse()?,
            code: SetupCode::parse(code)?,
            root: RootFingerprint::from_base32(root).ok_or(InvalidLabel::Root)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
