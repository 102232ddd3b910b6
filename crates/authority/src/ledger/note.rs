//! Signed notes (C2SP signed-note v1.0.0): a text, a blank line, and signatures by named keys.
//!
//! ```text
//!  <text>
//!
//!  — <key name> base64(key id ‖ signature)
//! ```
//!
//! Two types of signature are known: `0x01`, Ed25519 over the text, and `0x04`, Ed25519 cosignatures with their time
//! (C2SP tlog-cosignature). Others are kept and not looked at, as the format asks.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::digest::sha256;
use countersign_crypto::note_key::{self, NoteKey, PUBLIC_LEN};

/// The largest note, in bytes. A verifier must take 16 signatures, and a post-quantum one has nearly 5 kB.
pub const MAX_NOTE: usize = 256 * 1024;
/// The most signatures of a note.
pub const MAX_SIGNATURES: usize = 64;
/// The longest key name, in bytes: what a cosigner's name may have in later forms of cosignatures.
pub const MAX_KEY_NAME: usize = 255;

/// What a signature line begins with: em dash, space.
const DASH: &str = "\u{2014} ";

/// How a key signs notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureType {
    /// Ed25519 over the text: a log's own signature.
    Plain,
    /// A witness's cosignature with its time.
    Cosignature,
}

impl SignatureType {
    const fn byte(self) -> u8 {
        match self {
            Self::Plain => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Plain),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// Whose signatures are believed: name, type and public key, written `name+id+base64` (a *vkey*).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    kind: SignatureType,
    public: [u8; PUBLIC_LEN],
}

impl VerifierKey {
    /// Of a key.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, kind: SignatureType, key: &NoteKey) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), kind, public: key.public() })
    }

    /// The name in its signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it signs.
    #[must_use]
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC_LEN] {
        &self.public
    }

    /// The id in its signature lines.
    #[must_use]
    pub fn id(&self) -> u32 {
        key_id(&self.name, self.kind, &self.public)
    }
}

fn key_id(name: &str, kind: SignatureType, public: &[u8]) -> u32 {
    let hash = sha256(&[name.as_bytes(), b"\n", &[kind.byte()], public].concat());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_KEY_NAME || name.contains(bad) {
        return Err(NoteError::Name);
    }
    Ok(())
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = STANDARD.encode([&[self.kind.byte()], self.public.as_slice()].concat());
        write!(f, "{}+{:08x}+{key}", self.name, self.id())
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        check_name(name)?;
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let (kind, public) = key.split_first().ok_or(NoteError::Key)?;
        let kind = SignatureType::of_byte(*kind).ok_or(NoteError::Type(*kind))?;
        let public = public.try_into().map_err(|_| NoteError::Key)?;
        let read = Self { name: name.to_owned(), kind, public };
        if id == format!("{:08x}", read.id()) { Ok(read) } else { Err(NoteError::Key) }
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// By that key.
    pub(super) fn by(key: &VerifierKey, bytes: Vec<u8>) -> Self {
        Self { name: key.name.clone(), id: key.id(), bytes }
    }

    /// Whether the line says that this key made it.
    #[must_use]
    pub fn claims(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.id == key.id()
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What follows the key's id.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn read(line: &str) -> Result<Self, NoteError> {
        let (name, signature) =
            line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or(NoteError::Form)?;
        check_name(name)?;
        let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Form)?;
        match bytes.split_first_chunk::<4>() {
            Some((id, rest)) if !rest.is_empty() => Ok(Self {
                name: name.to_owned(),
                id: u32::from_be_bytes(*id),
                bytes: rest.to_vec(),
            }),
            _ => Err(NoteError::Form),
        }
    }
}

impl std::fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = STANDARD.encode([self.id.to_be_bytes().as_slice(), &self.bytes].concat());
        writeln!(f, "{DASH}{} {bytes}", self.name)
    }
}

/// A text with signatures. Nobody's word until [`Note::signed_by`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A text, which ends with a line end, and its first signature: Ed25519 over it.
    ///
    /// # Errors
    /// [`NoteError::Form`] for a text that no note can have.
    pub fn sign(text: String, key: &VerifierKey, with: &NoteKey) -> Result<Self, NoteError> {
        check_text(&text)?;
        let signature = NoteSignature::by(key, with.sign(text.as_bytes()).to_vec());
        Ok(Self { text, signatures: vec![signature] })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::Form);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        let end = whole.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, signatures) = (&whole[..=end], &whole[end + 2..]);
        check_text(text)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Vec<_> = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(NoteSignature::read)
            .collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Form);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What was signed, with its last line end.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every signature, known or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line; the same one twice is one.
    pub(super) fn add(&mut self, signature: NoteSignature) {
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// Whether this key signed the text with Ed25519. A line that claims it and does not verify is an error, not a no.
    ///
    /// # Errors
    /// [`NoteError::Invalid`].
    pub fn signed_by(&self, key: &VerifierKey) -> Result<bool, NoteError> {
        let mut found = false;
        for line in self.signatures.iter().filter(|line| line.claims(key)) {
            if key.kind != SignatureType::Plain {
                return Err(NoteError::Type(key.kind.byte()));
            }
            note_key::verify(&key.public, self.text.as_bytes(), &line.bytes)
                .map_err(|_| NoteError::Invalid(key.name.clone()))?;
            found = true;
        }
        Ok(found)
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let control = |c: char| c < ' ' && c != '\n';
    let fits = text.ends_with('\n') && text.len() <= MAX_NOTE && !text.contains(control);
    if fits { Ok(()) } else { Err(NoteError::Form) }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

/// Why something is no signed note, or not signed by whom it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a note.
    #[error("is not a signed note (text, blank line, signature lines)")]
    Form,
    /// Not the form of a checkpoint.
    #[error("is not a checkpoint (origin, size, root hash, each on its line)")]
    Checkpoint,
    /// A key's name is empty, too long, or has a space or a plus.
    #[error("a key's name has 1 to {MAX_KEY_NAME} bytes, no space and no plus")]
    Name,
    /// Not a verifier key.
    #[error("is not a verifier key (name+id+base64), or its id is not that of the key in it")]
    Key,
    /// A type of signature that is not known, or not right here.
    #[error(
        "signature type 0x{0:02x} is not the one that is needed here: 0x01 signs a log, 0x04 cosigns it"
    )]
    Type(u8),
    /// Another log's.
    #[error("is of the log {found:?}, not of {expected:?}")]
    Origin {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// An older checkpoint than the one that is kept.
    #[error(
        "has cosignatures for {kept} entries already: have a newer checkpoint cosigned than that of {offered}"
    )]
    Older {
        /// The size of the older one.
        offered: u64,
        /// The size of the one that is kept.
        kept: u64,
    },
    /// No signature of the key.
    #[error("is not signed by {0}")]
    Unsigned(String),
    /// A signature that names the key and is not its own.
    #[error("has a signature in the name of {0} that does not verify: it was changed or forged")]
    Invalid(String),
}

#[cfg(test)]
mod tests;
