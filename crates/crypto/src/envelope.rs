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

mod recipient;

use std::io::{self, Read, Write};

use minicbor::{Decoder, Encoder};
use rustls::crypto::hpke::{
    EncapsulatedSecret, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer,
};
use zeroize::Zeroizing;

use crate::custody;
use crate::digest::sha256;
use crate::provider::{HPKE_192, HPKE_256};
use crate::secret::{Channel, Rated};

use recipient::{PRIVATE, PUBLIC, Suite};
pub use recipient::{Recipient, RecipientKey};

/// Security strength of what files are sealed with (NIST SP 800-57 part 1, table 2: P-521), in bits.
pub const BITS: u16 = 256;
/// A file that is sealed to recipients.
pub const CHANNEL: Channel<BITS> = Channel::new();

/// Version of the form.
const VERSION: u8 = 1;
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
mod tests;
