//! The policy key's successors: statements, each signed by the key before and by the new one, that lead whoever holds an old
//! policy key to the one that signs now.
//!
//! ```text
//!  held key ──signs──► [1: next key, signs too] ──► [2: next key, signs too] ──► … ──signs──► policy
//!
//!  statement   COSE(key before) over COSE(next key) over [1, place, maker, key before, next key]
//!  document    {1: [statement, …], 2: policy}; where no key was ever changed, the policy alone
//! ```
//!
//! The key of second signatures changes by the same statements: one that the next key signs together with another second key says
//! that this is the second key from there on, and the second key before must have signed it too.
//!
//! A policy carries the statements itself, so that whoever slept through any number of changes verifies the newest one by what it
//! holds. [`follow`] is pure and goes forward only: a statement that is missing, out of its place, by another key or about
//! another key ends the walk with an error. How far back one may not go is for whoever remembers: `countersign-protocol`.

use minicbor::{Decoder, Encoder};

use super::SignedPolicyError;
use crate::cose::{self, CoseError, DocumentKeys, DocumentVerifier, MAX_DOCUMENT};
use crate::digest;
use crate::statements::{self, Refused};

/// The content type of what the key before signs.
const NAMED: &str = "application/countersign-policy-key+cose";
/// The content type of what the next key signs.
const ACCEPTED: &str = "application/countersign-policy-key+cbor";
/// Version of the form.
const VERSION: u8 = 1;
/// The most changes of a policy key that a document can carry. With second signatures each takes 6 kB, and eight of them leave
/// room for a policy in the 80 kB that a device reads at once; a change every three years lasts longer than a device is supported.
pub const MAX_KEY_CHANGES: usize = 8;
/// The most bytes of statements that leave room for a policy under two signatures in a document; a statement that changes the second
/// key as well takes 11 kB, so that five of them fit.
pub const MAX_CHANGES_LEN: usize = 56 * 1024;
/// Longest public key or name of a maker in a statement, in bytes.
const MAX_FIELD: usize = 1024;
/// The first byte of a document that carries statements: a map of two. A signed policy begins with its COSE tag.
const WITH_CHANGES: u8 = 0xa2;

/// Which policy key: the SHA-256 of its SubjectPublicKeyInfo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKeyId([u8; 32]);

impl PolicyKeyId {
    /// Of this SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn of(spki_der: &[u8]) -> Self {
        Self(digest::sha256(spki_der))
    }
}

/// Hexadecimal, in lower case.
impl std::fmt::Display for PolicyKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for PolicyKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PolicyKeyId({self})")
    }
}

impl std::str::FromStr for PolicyKeyId {
    type Err = super::InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| super::InvalidDigest)?;
        Ok(Self(bytes))
    }
}

/// One step from a policy key to its successor, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStep {
    /// How many policy keys of this maker came before.
    pub place: u64,
    /// The next key, SubjectPublicKeyInfo DER.
    pub spki_der: Vec<u8>,
    /// The second key that signed the statement beside the key before, SubjectPublicKeyInfo DER. Whether it is the maker's, and
    /// whether one was needed, is for whoever knows to say.
    pub second_spki_der: Option<Vec<u8>>,
    /// The key of second signatures from here on, SubjectPublicKeyInfo DER, where it changes too: it signed beside the next key, and
    /// what is in `second_spki_der` signed that.
    pub next_second_spki_der: Option<Vec<u8>>,
}

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    place: u64,
    maker: String,
    before: Vec<u8>,
    next: Vec<u8>,
}

/// The statement that `next` follows the key of `before` in that place, for that maker's policies: signed by `next`, and then by
/// `before`, with its second key where it has one. Where `next` has a second key, that follows the second key of `before`.
///
/// # Errors
/// [`KeyChangeError::Form`] for a place 0, a name that is too long or a key that follows itself; [`KeyChangeError::Signature`],
/// also for a second key that follows none.
pub fn name_successor(
    before: &DocumentKeys,
    next: &DocumentKeys,
    place: u64,
    maker: &str,
) -> Result<Vec<u8>, KeyChangeError> {
    let said = Said {
        place,
        maker: maker.to_owned(),
        before: before.classical().spki_der().to_vec(),
        next: next.classical().spki_der().to_vec(),
    };
    if let Some(second) = next.second() {
        let follows = before.second().ok_or(CoseError::SecondMissing)?;
        if follows.spki_der() == second.spki_der() {
            return Err(KeyChangeError::Form);
        }
    }
    let content = encode(&said);
    read(&content).ok_or(KeyChangeError::Form)?;
    let accepted = cose::sign(next, ACCEPTED, &content)?;
    Ok(cose::sign(before, NAMED, &accepted)?)
}

/// Follows statements from the key that is held to the newest one. Those about keys up to the held one are passed over, so that
/// one chain serves devices that slept for different times, and one that was made yesterday. The answer is empty where the held
/// key is the newest.
///
/// # Errors
/// [`KeyChangeError`]; then nothing of the chain is to be believed.
//= specs/house.md#house-policy
//# A new policy key MUST be believed only by the signature of the policy key before it, and by its own.
pub fn follow(
    held_spki_der: &[u8],
    maker: &str,
    statements: &[Vec<u8>],
) -> Result<Vec<KeyStep>, KeyChangeError> {
    if statements.len() > MAX_KEY_CHANGES {
        return Err(KeyChangeError::TooMany(statements.len()));
    }
    // 1. In order, whoever signed them: each where the one before ends, and no key twice.
    let all = statements.iter().map(|one| peek(one)).collect::<Result<Vec<_>, _>>()?;
    let linked = |pair: &[Said]| {
        pair[0].next == pair[1].before && pair[0].place.checked_add(1) == Some(pair[1].place)
    };
    if !all.windows(2).all(linked) {
        return Err(KeyChangeError::Order);
    }
    let mut keys: Vec<&[u8]> = all.iter().map(|said| said.next.as_slice()).collect();
    keys.extend(all.first().map(|said| said.before.as_slice()));
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(KeyChangeError::Twice);
    }
    // 2. From the held key on.
    let begin = all.iter().position(|said| said.before == held_spki_der);
    let newest = all.last().is_none_or(|said| said.next == held_spki_der);
    let begin = match begin {
        Some(begin) => begin,
        None if newest => return Ok(Vec::new()),
        None => return Err(KeyChangeError::Unknown),
    };
    // 3. Each signed by the key before and by the next one.
    let mut way = Vec::new();
    let mut seconds: Vec<Vec<u8>> = Vec::new();
    for (document, said) in statements.iter().zip(all).skip(begin) {
        let verifier = DocumentVerifier::new(said.before.clone());
        let verified = cose::verify(&verifier, NAMED, document)?;
        let next = DocumentVerifier::new(said.next.clone());
        let accepted = cose::verify(&next, ACCEPTED, verified.payload());
        let accepted = accepted.map_err(KeyChangeError::Next)?;
        if said.maker != maker {
            return Err(KeyChangeError::Maker);
        }
        let second_spki_der = verified.second_spki_der().map(<[u8]>::to_vec);
        let next_second_spki_der = accepted.second_spki_der().map(<[u8]>::to_vec);
        second_follows(&mut seconds, second_spki_der.as_ref(), next_second_spki_der.as_ref())?;
        way.push(KeyStep {
            place: said.place,
            spki_der: said.next,
            second_spki_der,
            next_second_spki_der,
        });
    }
    Ok(way)
}

/// Whether a statement signed by `by` may change the second key to `next`: it is signed by the newest of the second keys that this
/// chain told of, and a second key that was left does not come back.
//= specs/house.md#house-policy
//# A new key of second signatures MUST be believed only by the signatures of the second key before it and of the policy key, and by its own.
fn second_follows(
    seconds: &mut Vec<Vec<u8>>,
    by: Option<&Vec<u8>>,
    next: Option<&Vec<u8>>,
) -> Result<(), KeyChangeError> {
    if let Some(by) = by {
        match seconds.last() {
            None => seconds.push(by.clone()),
            Some(newest) if newest == by => {}
            Some(_) => return Err(CoseError::SecondKey.into()),
        }
    }
    if let Some(next) = next {
        if by.is_none() {
            return Err(CoseError::SecondMissing.into());
        }
        if seconds.contains(next) {
            return Err(KeyChangeError::Twice);
        }
        seconds.push(next.clone());
    }
    Ok(())
}

/// A policy with the statements that lead to the key which signed it; without any, the policy as it is.
///
/// # Errors
/// [`KeyChangeError::TooMany`], [`KeyChangeError::Signature`] for what would be too large.
pub fn with_changes(statements: &[Vec<u8>], policy: Vec<u8>) -> Result<Vec<u8>, KeyChangeError> {
    if statements.is_empty() {
        return Ok(policy);
    }
    if statements.len() > MAX_KEY_CHANGES {
        return Err(KeyChangeError::TooMany(statements.len()));
    }
    let document = join(statements, &policy);
    match document.len() {
        length if length > MAX_DOCUMENT => Err(CoseError::TooLarge(length).into()),
        _ => Ok(document),
    }
}

/// The statements of a document, and the policy in it.
///
/// # Errors
/// [`KeyChangeError::Form`], [`KeyChangeError::TooMany`].
pub(super) fn split(document: &[u8]) -> Result<(Vec<Vec<u8>>, Vec<u8>), KeyChangeError> {
    if document.len() > MAX_DOCUMENT {
        return Err(CoseError::TooLarge(document.len()).into());
    }
    if document.first() != Some(&WITH_CHANGES) {
        return Ok((Vec::new(), document.to_vec()));
    }
    let mut d = Decoder::new(&document[1..]);
    let form = |_| KeyChangeError::Form;
    if d.u8().map_err(form)? != 1 {
        return Err(KeyChangeError::Form);
    }
    let count = d.array().map_err(form)?.ok_or(KeyChangeError::Form)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MAX_KEY_CHANGES {
        return Err(KeyChangeError::TooMany(count));
    }
    let mut statements = Vec::new();
    for _ in 0..count {
        statements.push(d.bytes().map_err(form)?.to_vec());
    }
    if d.u8().map_err(form)? != 2 {
        return Err(KeyChangeError::Form);
    }
    let policy = d.bytes().map_err(form)?.to_vec();
    match !statements.is_empty() && join(&statements, &policy) == document {
        true => Ok((statements, policy)),
        false => Err(KeyChangeError::Form),
    }
}

fn join(statements: &[Vec<u8>], policy: &[u8]) -> Vec<u8> {
    let mut document = Vec::new();
    let mut e = Encoder::new(&mut document);
    e.map(2)
        .and_then(|e| e.u8(1))
        .and_then(|e| e.array(statements.len() as u64))
        .expect("encoding into a vector cannot fail");
    for one in statements {
        e.bytes(one).expect("encoding into a vector cannot fail");
    }
    e.u8(2).and_then(|e| e.bytes(policy)).expect("encoding into a vector cannot fail");
    document
}

/// Statements as one file: CBOR, an array of byte strings.
#[must_use]
pub fn to_bytes(statements: &[Vec<u8>]) -> Vec<u8> {
    statements::to_bytes(statements)
}

/// Reads what [`to_bytes`] wrote.
///
/// # Errors
/// [`KeyChangeError::Form`], [`KeyChangeError::TooMany`].
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, KeyChangeError> {
    statements::from_bytes(bytes, MAX_KEY_CHANGES).map_err(|refused| match refused {
        Refused::Form => KeyChangeError::Form,
        Refused::TooMany(count) => KeyChangeError::TooMany(count),
    })
}

/// The keys that statements name, the first and its successors, SubjectPublicKeyInfo DER: of a file that is one's own. Nobody
/// verified them.
///
/// # Errors
/// [`KeyChangeError::Form`].
pub fn named(statements: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, KeyChangeError> {
    let mut keys = Vec::new();
    for one in statements {
        let said = peek(one)?;
        if keys.is_empty() {
            keys.push(said.before);
        }
        keys.push(said.next);
    }
    Ok(keys)
}

/// The keys of second signatures that statements name, the first and its successors, each with the place from which it signs: 0
/// for the first, which the statement about its successor bears. Of a file that is one's own; none where it never changed.
///
/// # Errors
/// [`KeyChangeError`]
pub fn named_seconds(statements: &[Vec<u8>]) -> Result<Vec<(u64, Vec<u8>)>, KeyChangeError> {
    let Some(first) = named(statements)?.into_iter().next() else { return Ok(Vec::new()) };
    let mut seconds = Vec::new();
    for step in follow(&first, &maker(statements)?, statements)? {
        let Some(next) = step.next_second_spki_der else { continue };
        if let (true, Some(first)) = (seconds.is_empty(), step.second_spki_der) {
            seconds.push((0, first));
        }
        seconds.push((step.place, next));
    }
    Ok(seconds)
}

/// For which maker the newest statement is; nobody verified it.
pub(super) fn maker(statements: &[Vec<u8>]) -> Result<String, KeyChangeError> {
    let newest = statements.last().ok_or(KeyChangeError::Form)?;
    Ok(peek(newest)?.maker)
}

/// What a statement says, before anybody's signature was looked at.
fn peek(document: &[u8]) -> Result<Said, KeyChangeError> {
    let accepted = cose::unverified_payload(document)?;
    let content = cose::unverified_payload(&accepted)?;
    read(&content).ok_or(KeyChangeError::Form)
}

fn encode(said: &Said) -> Vec<u8> {
    let mut content = Vec::new();
    Encoder::new(&mut content)
        .array(5)
        .and_then(|e| e.u8(VERSION))
        .and_then(|e| e.u64(said.place))
        .and_then(|e| e.str(&said.maker))
        .and_then(|e| e.bytes(&said.before))
        .and_then(|e| e.bytes(&said.next))
        .expect("encoding into a vector cannot fail");
    content
}

/// In its one encoding, with the first key in place 0 and no key after itself.
fn read(content: &[u8]) -> Option<Said> {
    let mut d = Decoder::new(content);
    if d.array().ok()? != Some(5) || d.u8().ok()? != VERSION {
        return None;
    }
    let place = d.u64().ok()?;
    let maker = d.str().ok()?.to_owned();
    let (before, next) = (d.bytes().ok()?.to_vec(), d.bytes().ok()?.to_vec());
    let said = Said { place, maker, before, next };
    let short = [said.maker.len(), said.before.len(), said.next.len()];
    let fits = place > 0 && said.before != said.next && short.iter().all(|one| *one <= MAX_FIELD);
    (fits && encode(&said) == content).then_some(said)
}

/// Why a chain of policy keys is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    /// Not a statement, or not a document that carries some.
    #[error("not a statement about a policy key's successor in the form of this program")]
    Form,
    /// Over [`MAX_KEY_CHANGES`].
    #[error("{0} changes of the policy key are over the limit of {MAX_KEY_CHANGES}")]
    TooMany(usize),
    /// One is missing in the middle, or they were mixed up.
    #[error("a statement about a policy key's successor is missing or stands out of its place")]
    Order,
    /// A key that was left comes back.
    #[error("a policy key that was left is named again")]
    Twice,
    /// None of them is about the held key.
    #[error("no statement leads on from the policy key that is trusted here")]
    Unknown,
    /// The key before did not sign.
    #[error("a statement about a policy key's successor: {0}")]
    Signature(#[from] CoseError),
    /// The next key did not sign.
    #[error("a statement about a policy key's successor, by the next key itself: {0}")]
    Next(CoseError),
    /// Another maker's.
    #[error("the next policy key is for another maker's policies")]
    Maker,
}

impl From<KeyChangeError> for SignedPolicyError {
    fn from(error: KeyChangeError) -> Self {
        // What every document may lack is said in the same words.
        match error {
            KeyChangeError::Signature(CoseError::TooLarge(length)) => {
                Self::Cose(CoseError::TooLarge(length))
            }
            error => Self::Keys(error),
        }
    }
}

#[cfg(test)]
mod tests;
