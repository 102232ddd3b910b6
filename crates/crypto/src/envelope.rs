//! Files for the keys of people who are not here: sealed to one or more recipients by HPKE (RFC 9180), of any length,
//! read and written in pieces.
//!
//! ```text
//!  header  CBOR [1, purpose, suite, file key's public half, [[recipient's public key, enc, sealed file key], …]]
//!  enc     CBOR bytes: the payload's HPKE context, to the file key
//!  pieces  CBOR true for the last or false, then bytes sealed in that context in order; both and the header's hash are
//!          additional data
//! ```
//!
//! The file key is a key pair made for this file; its private half is sealed to each recipient. HPKE counts the pieces, so that
//! none can be moved, left out or repeated, and the last one says that it is the last: a file that was cut is found.
//! HPKE's base mode does not tell who sealed: whoever needs that signs what is inside.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use minicbor::{Decoder, Encoder};
use rustls::crypto::hpke::{
    EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer,
};
use zeroize::Zeroizing;

use crate::custody;
use crate::digest::sha256;
use crate::provider::{self, HPKE_192, HPKE_256};
use crate::secret::{Channel, Rated, Secret};

/// Security strength of what files are sealed with (NIST SP 800-57 part 1, table 2: P-521), in bits.
pub const BITS: u16 = 256;
/// A file that is sealed to recipients.
pub const CHANNEL: Channel<BITS> = Channel::new();

/// Version of the form.
const VERSION: u8 = 1;
/// Octets of a recipient's public key, an uncompressed point; of one of an earlier build, whose files are still opened.
const POINT: usize = 133;
const EARLIER_POINT: usize = 97;
/// Octets of the payload in one piece: what is held in memory.
const PIECE: usize = 1 << 20;
/// The tag of a piece, with room to spare.
const MAX_PIECE: usize = PIECE + 64;
/// The longest header: [`MAX_RECIPIENTS`] of some 360 octets.
const MAX_HEADER: usize = 16 * 1024;
/// The most recipients of one file.
pub const MAX_RECIPIENTS: usize = 32;
/// An encapsulated key is a point on a curve.
const MAX_ENC: usize = 256;

/// CBOR `false` and `true`.
const MORE: u8 = 0xf4;
const LAST: u8 = 0xf5;

const PUBLIC: &str = "countersign-recipient:1:";
const PRIVATE: &str = "countersign-recipient-secret:1:";

/// Whom a file is sealed to: a public key. Its text form is one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient(Vec<u8>);

/// How a file is sealed, by the key that opens it.
#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    hpke: &'static dyn Hpke,
}

impl Suite {
    /// What is sealed with now.
    fn present() -> Result<Self, EnvelopeError> {
        let hpke = provider::hpke_256().ok_or(EnvelopeError::NotOffered)?;
        Ok(Self { name: HPKE_256, hpke })
    }

    /// What an earlier build sealed with.
    fn earlier() -> Result<Self, EnvelopeError> {
        let hpke = provider::hpke_192().ok_or(EnvelopeError::NotOffered)?;
        Ok(Self { name: HPKE_192, hpke })
    }

    fn of(Recipient(key): &Recipient) -> Result<Self, EnvelopeError> {
        match key.len() {
            POINT => Self::present(),
            EARLIER_POINT => Self::earlier(),
            _ => Err(EnvelopeError::Recipient),
        }
    }
}

impl Recipient {
    /// A point that is not on the curve is found before anything is sealed to it.
    fn parse(text: &str) -> Result<Self, EnvelopeError> {
        let bytes = text.trim().strip_prefix(PUBLIC).and_then(|text| BASE64.decode(text).ok());
        let key = bytes.map(Self).ok_or(EnvelopeError::Recipient)?;
        let point = HpkePublicKey(key.0.clone());
        let suite = Suite::of(&key)?;
        suite.hpke.setup_sealer(b"", &point).map_err(|_| EnvelopeError::Recipient)?;
        Ok(key)
    }

    /// Whether it protects as [`CHANNEL`] says.
    fn sealed_to(&self) -> Result<(), EnvelopeError> {
        if self.0.len() == POINT { Ok(()) } else { Err(EnvelopeError::Weak) }
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64.encode(&self.0))
    }
}

impl std::str::FromStr for Recipient {
    type Err = EnvelopeError;
    fn from_str(text: &str) -> Result<Self, EnvelopeError> {
        let key = Self::parse(text)?;
        key.sealed_to().map(|()| key)
    }
}

/// The private half of a [`Recipient`]. Kept apart from what is sealed to it.
#[derive(Debug)]
pub struct RecipientKey {
    secret: Rated<BITS>,
    public: Recipient,
}

impl RecipientKey {
    /// A fresh pair.
    ///
    /// # Errors
    /// [`EnvelopeError::NotOffered`] with a provider without HPKE.
    pub fn generate() -> Result<Self, EnvelopeError> {
        Self::of(Suite::present()?)
    }

    fn of(suite: Suite) -> Result<Self, EnvelopeError> {
        let pair = suite.hpke.generate_key_pair();
        let (public, private) = pair.map_err(|_| EnvelopeError::Backend)?;
        let secret = Rated::new(private.secret_bytes().to_vec());
        Ok(Self { secret, public: Recipient(public.0) })
    }

    /// Whom others seal to.
    #[must_use]
    pub fn recipient(&self) -> &Recipient {
        &self.public
    }

    /// As a file that keeps it: one line for each half. It is secret: mode 0600.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let secret = self.secret.expose(|bytes| Zeroizing::new(BASE64.encode(bytes)));
        let text = format!("{}\n{PRIVATE}{}\n", self.public, secret.as_str());
        Rated::<BITS>::new(text.into_bytes()).into()
    }

    /// Reads what [`Self::to_text`] made.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`].
    pub fn from_text(text: &[u8]) -> Result<Self, EnvelopeError> {
        let text = std::str::from_utf8(text).map_err(|_| EnvelopeError::Key)?;
        let mut lines = text.lines();
        let (public, private) = (lines.next(), lines.next());
        let public = public.ok_or(EnvelopeError::Key)?;
        let private = private.and_then(|line| line.strip_prefix(PRIVATE));
        let private = private.and_then(|text| BASE64.decode(text).ok());
        let secret = Rated::new(private.ok_or(EnvelopeError::Key)?);
        // One of an earlier build still opens what was sealed to it.
        let public = Recipient::parse(public).map_err(|_| EnvelopeError::Key)?;
        Ok(Self { secret, public })
    }

    fn private(&self) -> HpkePrivateKey {
        self.secret.expose(|bytes| HpkePrivateKey::from(bytes.to_vec()))
    }
}

/// Seals what is written to it. Nothing is whole before [`Sealer::finish`].
pub struct Sealer<W: Write> {
    to: W,
    context: Box<dyn HpkeSealer>,
    header: [u8; 32],
    waiting: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealer<W> {
    /// Begins a file for these recipients and this purpose. What is written to it counts as sent through [`CHANNEL`].
    ///
    /// # Errors
    /// [`EnvelopeError`]: no recipient, too many, one of an earlier build, or the file system.
    pub fn new(to: W, recipients: &[Recipient], purpose: &str) -> Result<Self, EnvelopeError> {
        recipients.iter().try_for_each(Recipient::sealed_to)?;
        Self::begin(Suite::present()?, to, recipients, purpose)
    }

    fn begin(
        Suite { name, hpke }: Suite,
        mut to: W,
        recipients: &[Recipient],
        purpose: &str,
    ) -> Result<Self, EnvelopeError> {
        if !(1..=MAX_RECIPIENTS).contains(&recipients.len()) {
            return Err(EnvelopeError::Count(recipients.len()));
        }
        let broken = |_| EnvelopeError::Backend;
        let (public, private) = hpke.generate_key_pair().map_err(broken)?;
        let private = Rated::<BITS>::new(private.secret_bytes().to_vec());
        let mut stanzas = Vec::new();
        for recipient in recipients {
            let key = HpkePublicKey(recipient.0.clone());
            let info = info("file key", purpose);
            let sealed = private
                .reveal_through(CHANNEL, |private| hpke.seal(&info, &public.0, private, &key));
            let (enc, sealed) = sealed.map_err(|_| EnvelopeError::Recipient)?;
            stanzas.push((key.0, enc.0, sealed));
        }
        let header = header(purpose, name, &public.0, &stanzas);
        let (enc, context) =
            hpke.setup_sealer(&info("payload", purpose), &public).map_err(broken)?;
        to.write_all(&header)?;
        write_bytes(&mut to, &enc.0)?;
        let waiting = Zeroizing::new(Vec::with_capacity(PIECE));
        Ok(Self { to, context, header: sha256(&header), waiting })
    }

    /// Writes the last piece and gives back where it was written to.
    ///
    /// # Errors
    /// [`EnvelopeError::Io`].
    pub fn finish(mut self) -> Result<W, EnvelopeError> {
        self.piece(true)?;
        Ok(self.to)
    }

    fn piece(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.context.seal(&associated(&self.header, last), &self.waiting);
        let sealed = sealed.map_err(|_| io::Error::other(EnvelopeError::Backend))?;
        self.waiting.clear();
        self.to.write_all(&[if last { LAST } else { MORE }])?;
        write_bytes(&mut self.to, &sealed)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == PIECE {
            self.piece(false)?;
        }
        let taken = bytes.len().min(PIECE - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Pieces are written when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what a [`Sealer`] made. What was read counts only once the end was reached without an error.
pub struct Opener<R: Read> {
    from: R,
    context: Box<dyn HpkeOpener>,
    header: [u8; 32],
    piece: Zeroizing<Vec<u8>>,
    at: usize,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the header and opens it with this key.
    ///
    /// # Errors
    /// [`EnvelopeError::NotForThisKey`] for another's file, [`EnvelopeError::Form`] for no such file, [`EnvelopeError::Cut`],
    /// [`EnvelopeError::Changed`].
    //= specs/house.md#house-state
    //# Sealed state MUST NOT open under another purpose or another key.
    pub fn new(mut from: R, key: &RecipientKey, purpose: &str) -> Result<Self, EnvelopeError> {
        let Suite { name, hpke } = Suite::of(&key.public)?;
        let bytes = read_bytes(&mut from, MAX_HEADER, EnvelopeError::Form)?;
        let Header { suite, public, stanzas } =
            Header::read(&bytes, purpose).ok_or(EnvelopeError::Form)?;
        let ours = stanzas.into_iter().find(|stanza| stanza.0 == key.public.0);
        let (_, enc, sealed) = ours.ok_or(EnvelopeError::NotForThisKey)?;
        if suite != name {
            return Err(EnvelopeError::Changed);
        }
        let info_key = info("file key", purpose);
        let private =
            hpke.open(&EncapsulatedSecret(enc), &info_key, &public, &sealed, &key.private());
        let private = HpkePrivateKey::from(private.map_err(|_| EnvelopeError::Changed)?);
        let enc = EncapsulatedSecret(read_bytes(&mut from, MAX_ENC, EnvelopeError::Changed)?);
        let context = hpke.setup_opener(&enc, &info("payload", purpose), &private);
        let context = context.map_err(|_| EnvelopeError::Changed)?;
        // As it stands in the file, with its head.
        let mut written = Vec::new();
        write_bytes(&mut written, &bytes)?;
        let header = sha256(&written);
        Ok(Self { from, context, header, piece: Zeroizing::default(), at: 0, ended: false })
    }

    /// Reads to the end, which must be there and be the end.
    ///
    /// # Errors
    /// [`EnvelopeError::Cut`], [`EnvelopeError::Changed`], [`EnvelopeError::Io`].
    pub fn finish(mut self) -> Result<(), EnvelopeError> {
        io::copy(&mut self, &mut io::sink()).map_err(EnvelopeError::from)?;
        let mut more = [0];
        match self.from.read(&mut more)? {
            0 => Ok(()),
            _ => Err(EnvelopeError::Changed),
        }
    }

    fn next(&mut self) -> Result<(), EnvelopeError> {
        let mut word = [0];
        self.from.read_exact(&mut word)?;
        self.ended = match word[0] {
            MORE => false,
            LAST => true,
            _ => return Err(EnvelopeError::Changed),
        };
        let sealed = read_bytes(&mut self.from, MAX_PIECE, EnvelopeError::Changed)?;
        let opened = self.context.open(&associated(&self.header, self.ended), &sealed);
        self.piece = Zeroizing::new(opened.map_err(|_| EnvelopeError::Changed)?);
        self.at = 0;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.ended {
                return Ok(0);
            }
            self.next().map_err(io::Error::from)?;
        }
        let taken = out.len().min(self.piece.len() - self.at);
        out[..taken].copy_from_slice(&self.piece[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn info(what: &str, purpose: &str) -> Vec<u8> {
    format!("countersign envelope {VERSION}, {what}: {purpose}").into_bytes()
}

fn associated(header: &[u8; 32], last: bool) -> Vec<u8> {
    [header.as_slice(), &[u8::from(last)]].concat()
}

type Stanza = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The header, as CBOR bytes whose content is CBOR: so that its length is known before it is read.
fn header(purpose: &str, suite: &str, public: &[u8], stanzas: &[Stanza]) -> Vec<u8> {
    let mut inner = Vec::new();
    let mut encoder = Encoder::new(&mut inner);
    let mut write = || -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        encoder.array(5)?.u8(VERSION)?.str(purpose)?.str(suite)?.bytes(public)?;
        encoder.array(stanzas.len() as u64)?;
        for (key, enc, sealed) in stanzas {
            encoder.array(3)?.bytes(key)?.bytes(enc)?.bytes(sealed)?;
        }
        Ok(())
    };
    write().expect("encoding into a vector cannot fail");
    let mut out = Vec::new();
    write_bytes(&mut out, &inner).expect("writing into a vector cannot fail");
    out
}

struct Header {
    suite: &'static str,
    public: Vec<u8>,
    stanzas: Vec<Stanza>,
}

impl Header {
    fn read(bytes: &[u8], purpose: &str) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let known = decoder.array().ok()? == Some(5)
            && decoder.u8().ok()? == VERSION
            && decoder.str().ok()? == purpose;
        if !known {
            return None;
        }
        let named = decoder.str().ok()?;
        let suite = [HPKE_256, HPKE_192].into_iter().find(|suite| *suite == named)?;
        let public = decoder.bytes().ok()?.to_vec();
        let count = decoder.array().ok()??;
        if !(1..=MAX_RECIPIENTS as u64).contains(&count) {
            return None;
        }
        let mut stanzas = Vec::new();
        for _ in 0..count {
            if decoder.array().ok()? != Some(3) {
                return None;
            }
            let mut part = || decoder.bytes().ok().map(<[u8]>::to_vec);
            stanzas.push((part()?, part()?, part()?));
        }
        (decoder.position() == bytes.len()).then_some(Self { suite, public, stanzas })
    }
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let mut head = Vec::new();
    Encoder::new(&mut head)
        .bytes_len(bytes.len() as u64)
        .expect("encoding into a vector cannot fail");
    to.write_all(&head)?;
    to.write_all(bytes)
}

/// CBOR bytes of a definite length up to a bound; `other` where that is not what stands there.
fn read_bytes(
    from: &mut impl Read,
    bound: usize,
    other: EnvelopeError,
) -> Result<Vec<u8>, EnvelopeError> {
    let mut head = vec![0; 1];
    from.read_exact(&mut head)?;
    let more = match head[0] {
        0x40..=0x57 => 0,
        0x58 => 1,
        0x59 => 2,
        0x5a => 4,
        _ => return Err(other),
    };
    head.resize(1 + more, 0);
    from.read_exact(&mut head[1..])?;
    let length = match more {
        0 => usize::from(head[0] & 0x1f),
        _ => head[1..].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)),
    };
    if length > bound {
        return Err(other);
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Why a file was not sealed or not opened.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The file system.
    #[error("{0}")]
    Io(io::Error),
    /// No file of this form and purpose.
    #[error("this is no sealed file of this kind, or one of a later version")]
    Form,
    /// Sealed to others.
    #[error("it is not sealed to this key: use the key of one of its recipients")]
    NotForThisKey,
    /// Not what was written.
    #[error("it was changed since it was sealed: use another copy")]
    Changed,
    /// The end is missing.
    #[error("its end is missing, it was cut short: use another copy")]
    Cut,
    /// A word that is no recipient.
    #[error("this is no recipient: it begins with {PUBLIC} and is printed with its key")]
    Recipient,
    /// A file that is no recipient's key.
    #[error("this is no recipient's key: it has two lines, the second begins with {PRIVATE}")]
    Key,
    /// A recipient whose key is weaker than what is to be sealed.
    #[error(
        "this recipient's key is of an earlier build and weaker ({} bit) than what is sealed ({BITS} bit): make another with `authority backup-key`; the old key still opens the backups that were sealed to it",
        custody::BITS
    )]
    Weak,
    /// No recipient, or too many.
    #[error("{0} recipients: name 1 to {MAX_RECIPIENTS}")]
    Count(usize),
    /// The provider of this build has no HPKE.
    #[error("the cryptographic provider of this build cannot seal to recipients")]
    NotOffered,
    /// The provider failed.
    #[error("the cryptographic provider failed: the platform's random source or memory is broken")]
    Backend,
}

impl From<io::Error> for EnvelopeError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Cut;
        }
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::Io(error),
        }
    }
}

impl From<EnvelopeError> for io::Error {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Io(error) => error,
            EnvelopeError::Cut => io::ErrorKind::UnexpectedEof.into(),
            other => io::Error::other(other),
        }
    }
}

#[cfg(all(test, not(feature = "second-provider")))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PURPOSE: &str = "test";

    fn sealed(recipients: &[&RecipientKey], text: &[u8]) -> Vec<u8> {
        let recipients: Vec<_> = recipients.iter().map(|key| key.recipient().clone()).collect();
        let mut sealer = Sealer::new(Vec::new(), &recipients, PURPOSE).unwrap();
        sealer.write_all(text).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(key: &RecipientKey, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let mut opener = Opener::new(sealed, key, PURPOSE)?;
        let mut text = Vec::new();
        opener.read_to_end(&mut text)?;
        opener.finish()?;
        Ok(text)
    }

    #[test]
    fn every_recipient_opens_it_and_nobody_else() {
        let [one, two, other] = [(); 3].map(|()| RecipientKey::generate().unwrap());
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7] {
            let text: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let sealed = sealed(&[&one, &two], &text);
            assert_eq!(opened(&one, &sealed).unwrap(), text, "{length}");
            assert_eq!(opened(&two, &sealed).unwrap(), text, "{length}");
            assert!(matches!(opened(&other, &sealed), Err(EnvelopeError::NotForThisKey)));
            assert!(matches!(Opener::new(&*sealed, &one, "other"), Err(EnvelopeError::Form)));
        }
    }

    #[test]
    fn every_changed_or_cut_octet_is_found() {
        let key = RecipientKey::generate().unwrap();
        let sealed = sealed(&[&key], b"secret");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(opened(&key, &changed).is_err(), "octet {at}");
            assert!(opened(&key, &sealed[..at]).is_err(), "cut at {at}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert!(matches!(opened(&key, &longer), Err(EnvelopeError::Changed)));
    }

    #[test]
    fn pieces_cannot_be_left_out_moved_or_taken_for_the_end() {
        let key = RecipientKey::generate().unwrap();
        let text: Vec<u8> = (0..3 * PIECE + 9).map(|at| (at / 4096).to_le_bytes()[0]).collect();
        let sealed = sealed(&[&key], &text);
        // A piece: word, head, the text, 16 of the tag.
        let piece = 1 + 5 + PIECE + 16;
        let last = 1 + 2 + 9 + 16;
        let first = sealed.len() - 3 * piece - last;
        let mut without = sealed.clone();
        without.drain(first + piece..first + 2 * piece);
        assert!(matches!(opened(&key, &without), Err(EnvelopeError::Changed)));
        let mut moved = sealed.clone();
        moved[first..first + 2 * piece].rotate_left(piece);
        assert!(matches!(opened(&key, &moved), Err(EnvelopeError::Changed)));
        let cut = &sealed[..first + 3 * piece];
        assert!(matches!(opened(&key, cut), Err(EnvelopeError::Cut)));
    }

    //= specs/house.md#house-secrets
    //= type=test
    //# A secret MUST leave the process only through a channel whose strength is at least its own.
    #[test]
    fn what_was_sealed_to_a_weaker_key_opens_and_nothing_more_is() {
        let key = RecipientKey::of(Suite::earlier().unwrap()).unwrap();
        let old = std::slice::from_ref(key.recipient());
        let suite = Suite::earlier().unwrap();
        let mut sealer = Sealer::begin(suite, Vec::new(), old, PURPOSE).unwrap();
        sealer.write_all(b"secret").unwrap();
        let sealed = sealer.finish().unwrap();
        let again = key.to_text().expose(RecipientKey::from_text).unwrap();
        assert_eq!(opened(&again, &sealed).unwrap(), b"secret");
        let new = RecipientKey::generate().unwrap();
        assert!(matches!(opened(&new, &sealed), Err(EnvelopeError::NotForThisKey)));
        // Neither by its word nor with others.
        let word = key.recipient().to_string();
        assert!(matches!(word.parse::<Recipient>(), Err(EnvelopeError::Weak)));
        let both = [new.recipient().clone(), key.recipient().clone()];
        assert!(matches!(Sealer::new(Vec::new(), &both, PURPOSE), Err(EnvelopeError::Weak)));
    }

    #[test]
    fn keys_have_a_text_form() {
        let key = RecipientKey::generate().unwrap();
        let again = key.to_text().expose(RecipientKey::from_text).unwrap();
        assert_eq!(again.recipient(), key.recipient());
        let text = key.recipient().to_string();
        assert_eq!(&text.parse::<Recipient>().unwrap(), key.recipient());
        let sealed = sealed(&[&key], b"secret");
        assert_eq!(opened(&again, &sealed).unwrap(), b"secret");
        let mut off_curve = key.recipient().0.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let off_curve = Recipient(off_curve).to_string();
        for bad in ["", "age1x", &text[1..], &text[..text.len() - 4], &off_curve] {
            assert!(bad.parse::<Recipient>().is_err(), "{bad}");
            assert!(RecipientKey::from_text(bad.as_bytes()).is_err());
        }
        assert!(!format!("{key:?}").contains("secret:1:"));
    }
}
