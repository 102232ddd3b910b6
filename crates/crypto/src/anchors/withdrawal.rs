//! A root's word that anchors begin with it: no root before it is one any more.
//!
//! Withdrawal: COSE_Sign1 by that root's own key, over CBOR `[1, its position, SHA-256 of its certificate]`. The position is its own word,
//! as in a statement: whoever takes it compares that with what it knows of the line.
//!
//! It travels with the statements, as `{1: [statement, …], 2: withdrawal}`, so that who slept through a roll can verify it at once. Where
//! nothing was withdrawn the statements travel alone, in the form of [`super::to_bytes`], which earlier software reads.

use minicbor::{Decoder, Encoder};

use super::{Anchor, AnchorError, MAX_STATEMENTS, VERSION};
use crate::certificate::Certificate;
use crate::cose::{self, MAX_DOCUMENT};
use crate::signature::KeyHandle;
use crate::statements;

/// The content type, so that a statement is never taken for a withdrawal.
const TYPE: &str = "application/countersign-anchor-withdrawal+cbor";
/// The first byte of statements with a withdrawal: a map of two. Statements alone are an array.
const WITH_WITHDRAWAL: u8 = 0xa2;

/// Says that anchors begin with the root of `first`, by that root's own key.
///
/// # Errors
/// [`AnchorError::First`] for a root that has none before it, [`AnchorError::Key`] when the key is not its own.
pub fn withdraw_before(first: &Anchor, key: &KeyHandle) -> Result<Vec<u8>, AnchorError> {
    if first.position == 0 {
        return Err(AnchorError::First);
    }
    if key.spki_der() != first.root.spki_der() {
        return Err(AnchorError::Key);
    }
    let mut payload = Vec::new();
    Encoder::new(&mut payload)
        .array(3)
        .and_then(|e| e.u8(VERSION))
        .and_then(|e| e.u64(first.position))
        .and_then(|e| e.bytes(&first.root.fingerprint()))
        .expect("encoding into a vector cannot fail");
    Ok(cose::sign1(key, TYPE, &payload)?)
}

/// A withdrawal as it was read: what it claims, before anybody's signature was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    document: Vec<u8>,
    position: u64,
    root: [u8; 32],
}

impl Withdrawal {
    /// Reads a document.
    ///
    /// # Errors
    /// [`AnchorError::Withdrawal`] for one that is none, [`AnchorError::First`] for one that withdraws nothing.
    pub fn read(document: &[u8]) -> Result<Self, AnchorError> {
        let payload = cose::unverified_payload(document).map_err(|_| AnchorError::Withdrawal)?;
        let (position, root) = read(&payload).ok_or(AnchorError::Withdrawal)?;
        if position == 0 {
            return Err(AnchorError::First);
        }
        Ok(Self { document: document.to_vec(), position, root })
    }

    /// The place from which on roots are anchors; never 0.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// SHA-256 of the root whose word it says that it is.
    #[must_use]
    pub const fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// That root with its place by its own word, if it is this one's.
    ///
    /// # Errors
    /// [`AnchorError::Signature`], [`AnchorError::Key`] for a word about another root than the one that signed it.
    //= specs/house.md#house-anchors
    //# A withdrawal of roots MUST be believed only by the signature of the root with which anchors begin from then on.
    pub fn by(&self, root: &Certificate) -> Result<Anchor, AnchorError> {
        let payload = cose::verify1(&self.document, TYPE, &root.spki_der())?;
        let (position, about) = read(&payload).ok_or(AnchorError::Withdrawal)?;
        if about != root.fingerprint() {
            return Err(AnchorError::Key);
        }
        Ok(Anchor { position, root: root.clone() })
    }
}

fn read(payload: &[u8]) -> Option<(u64, [u8; 32])> {
    let mut d = Decoder::new(payload);
    if d.array().ok()? != Some(3) || d.u8().ok()? != VERSION {
        return None;
    }
    let position = d.u64().ok()?;
    let root = d.bytes().ok()?.try_into().ok()?;
    (d.position() == payload.len()).then_some((position, root))
}

/// What devices are given: statements, and the newest withdrawal where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The statements, in order.
    pub statements: Vec<Vec<u8>>,
    /// The withdrawal.
    pub withdrawal: Option<Withdrawal>,
}

impl Told {
    /// As one message, in one form only.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let list = statements::to_bytes(&self.statements);
        let Some(withdrawal) = &self.withdrawal else { return list };
        let mut out = vec![WITH_WITHDRAWAL, 1];
        out.extend(list);
        Encoder::new(&mut out)
            .u8(2)
            .and_then(|e| e.bytes(&withdrawal.document))
            .expect("encoding into a vector cannot fail");
        out
    }

    /// Reads what [`Told::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`AnchorError::Form`], [`AnchorError::TooMany`], [`AnchorError::Withdrawal`], [`AnchorError::First`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AnchorError> {
        if bytes.first() != Some(&WITH_WITHDRAWAL) {
            return Ok(Self { statements: super::from_bytes(bytes)?, withdrawal: None });
        }
        let (list, document) = parts(bytes).ok_or(AnchorError::Form)?;
        let statements = super::from_bytes(list)?;
        let told = Self { statements, withdrawal: Some(Withdrawal::read(document)?) };
        if told.to_bytes() == bytes { Ok(told) } else { Err(AnchorError::Form) }
    }
}

/// The array's bytes and the withdrawal's, as far as they look like that.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut d = Decoder::new(bytes);
    if d.map().ok()? != Some(2) || d.u8().ok()? != 1 {
        return None;
    }
    let begin = d.position();
    let count = d.array().ok()??;
    if count > MAX_STATEMENTS as u64 {
        return None;
    }
    for _ in 0..count {
        d.bytes().ok()?;
    }
    let list = bytes.get(begin..d.position())?;
    if d.u8().ok()? != 2 {
        return None;
    }
    let document = d.bytes().ok()?;
    (document.len() <= MAX_DOCUMENT && d.position() == bytes.len()).then_some((list, document))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn told(statements: &[Vec<u8>], document: &[u8]) -> Told {
        let withdrawal = Some(Withdrawal::read(document).unwrap());
        Told { statements: statements.to_vec(), withdrawal }
    }

    //= specs/house.md#house-anchors
    //= type=test
    //# A withdrawal of roots MUST be believed only by the signature of the root with which anchors begin from then on.
    #[test]
    fn a_withdrawal_is_the_word_of_the_root_that_it_names() {
        let (anchors, keys, statements) = line(2);
        let word = withdraw_before(&anchors[1], &keys[1]).unwrap();
        let read = Withdrawal::read(&word).unwrap();
        assert_eq!((read.position(), *read.root()), (1, anchors[1].root.fingerprint()));
        assert_eq!(read.by(&anchors[1].root).unwrap(), anchors[1]);
        // Of another root's key: nobody's word, also when it claims the name.
        assert_eq!(withdraw_before(&anchors[1], &keys[0]).unwrap_err(), AnchorError::Key);
        for other in [&anchors[0].root, &anchors[2].root] {
            assert!(matches!(read.by(other), Err(AnchorError::Signature(_))));
        }
        let mut payload = Vec::new();
        let mut e = Encoder::new(&mut payload);
        e.array(3).unwrap().u8(1).unwrap().u64(1).unwrap();
        e.bytes(&anchors[1].root.fingerprint()).unwrap();
        let forged = cose::sign1(&keys[0], TYPE, &payload).unwrap();
        let forged = Withdrawal::read(&forged).unwrap();
        assert!(matches!(forged.by(&anchors[1].root), Err(AnchorError::Signature(_))));
        assert_eq!(forged.by(&anchors[0].root), Err(AnchorError::Key));
        // The first root has none before it; a statement is no withdrawal, nor the other way round.
        assert_eq!(withdraw_before(&anchors[0], &keys[0]).unwrap_err(), AnchorError::First);
        assert_eq!(Withdrawal::read(&statements[0]), Err(AnchorError::Withdrawal));
        assert!(super::super::follow(&anchors[0], std::slice::from_ref(&word)).is_err());
        // Every bit of it.
        for at in 0..word.len() {
            let mut changed = word.clone();
            changed[at] ^= 1;
            let by = Withdrawal::read(&changed).and_then(|one| one.by(&anchors[1].root));
            assert!(by.is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_message_has_one_form_and_without_a_withdrawal_it_is_what_it_was() {
        let (anchors, keys, statements) = line(3);
        let alone = Told { statements: statements.clone(), withdrawal: None };
        assert_eq!(alone.to_bytes(), super::super::to_bytes(&statements));
        assert_eq!(Told::from_bytes(&alone.to_bytes()).unwrap(), alone);
        let word = withdraw_before(&anchors[2], &keys[2]).unwrap();
        for count in 0..=3 {
            let told = told(&statements[..count], &word);
            let bytes = told.to_bytes();
            assert_eq!(Told::from_bytes(&bytes).unwrap(), told);
            // Software from before reads none of it, so it must not be given to such.
            assert!(super::super::from_bytes(&bytes).is_err());
            for cut in 0..bytes.len() {
                assert!(Told::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(Told::from_bytes(&longer), Err(AnchorError::Form));
        }
        let many = told(&vec![statements[0].clone(); MAX_STATEMENTS + 1], &word).to_bytes();
        assert_eq!(Told::from_bytes(&many), Err(AnchorError::Form));
    }
}
