//! A root's successors: statements, each signed by the root before it, that lead whoever trusts an old root to the present one.
//!
//! ```text
//!  held root ──signs──► [1: next root] ──its key signs──► [2: next root] ──► …   one step a statement, position by position
//! ```
//!
//! Statement: COSE_Sign1 over CBOR `[1, position, SHA-256 of the root before, next root's certificate]`. [`follow`] is pure and goes
//! forward only: a statement that is missing, out of its place, by another key or about another root ends the walk with an error, and
//! what was held stays held. How a root takes those before it out of the line is [`withdrawal`]'s.

use minicbor::{Decoder, Encoder};

use crate::certificate::{Certificate, MAX_CERTIFICATE, MAX_CHAIN};
use crate::cose::{self, CoseError};
use crate::signature::KeyHandle;
use crate::statements::{self, Refused};

pub mod withdrawal;

pub use withdrawal::{Told, Withdrawal, withdraw_before};

/// The content type, so that no other document of a root's key is taken for a statement.
const TYPE: &str = "application/countersign-anchor+cbor";
/// Version of the form.
const VERSION: u8 = 1;
/// The most statements of a chain, and so the most rolls of a root: servers show leaf, issuing CA and a cross-certificate for each
/// roll in one chain, and one file of roots holds them all. A root lives for years, a device for decades.
pub const MAX_STATEMENTS: usize = MAX_CHAIN - 2;

/// A root that is trusted, and its place: 0 is the first of its maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// How many roots of this maker came before.
    pub position: u64,
    /// The root.
    pub root: Certificate,
}

/// The statement that `next` follows `held`, by the key of `held`.
///
/// # Errors
/// [`AnchorError::Key`] when the key is not that of the held root, [`AnchorError::Root`] for a next root that cannot be one.
pub fn state(held: &Anchor, next: &Certificate, key: &KeyHandle) -> Result<Vec<u8>, AnchorError> {
    if key.spki_der() != held.root.spki_der() {
        return Err(AnchorError::Key);
    }
    fits(held, next)?;
    let mut payload = Vec::new();
    Encoder::new(&mut payload)
        .array(4)
        .and_then(|e| e.u8(VERSION))
        .and_then(|e| e.u64(held.position + 1))
        .and_then(|e| e.bytes(&held.root.fingerprint()))
        .and_then(|e| e.bytes(next.der()))
        .expect("encoding into a vector cannot fail");
    Ok(cose::sign1(key, TYPE, &payload)?)
}

/// Follows a chain of statements from the root that is held to the newest one. Statements about roots up to the held one are
/// passed over, so that one chain serves devices that slept for different times. The answer holds every root on the way, the held one not
/// among them; it is empty where nothing is newer.
///
/// # Errors
/// [`AnchorError`]; then nothing of the chain is to be believed.
//= specs/house.md#house-anchors
//# A new root MUST be believed only by the signature of the root before it.
//= specs/house.md#house-anchors
//# Whoever follows roots MUST go forward one place at a time and never back.
pub fn follow(held: &Anchor, statements: &[Vec<u8>]) -> Result<Vec<Anchor>, AnchorError> {
    if statements.len() > MAX_STATEMENTS {
        return Err(AnchorError::TooMany(statements.len()));
    }
    let mut way: Vec<Anchor> = Vec::new();
    let mut last = None;
    for document in statements {
        let at = way.last().unwrap_or(held);
        // 1. In order, whoever signed them.
        let claimed = peek(document)?;
        if last.is_some_and(|last| claimed != last + 1) {
            return Err(AnchorError::Order);
        }
        last = Some(claimed);
        if claimed <= held.position {
            continue;
        }
        if claimed != at.position + 1 {
            return Err(AnchorError::Gap { held: at.position, offered: claimed });
        }
        // 2. Signed by the root before, about it.
        let payload = cose::verify1(document, TYPE, &at.root.spki_der())?;
        let (position, before, next) = read(&payload).ok_or(AnchorError::Form)?;
        if position != claimed || before != at.root.fingerprint() {
            return Err(AnchorError::Order);
        }
        // 3. A root of the same maker.
        fits(at, &next)?;
        way.push(Anchor { position, root: next });
    }
    Ok(way)
}

/// A root with its place by its own word: that of its statement about its successor. `None` where none of them is by it.
#[must_use]
pub fn placed(root: &Certificate, statements: &[Vec<u8>]) -> Option<Anchor> {
    statements.iter().take(MAX_STATEMENTS).find_map(|document| {
        let payload = cose::verify1(document, TYPE, &root.spki_der()).ok()?;
        let (position, before, _) = read(&payload)?;
        let position = position.checked_sub(1).filter(|_| before == root.fingerprint())?;
        Some(Anchor { position, root: root.clone() })
    })
}

/// The root that a statement names, before anybody's signature was looked at; `None` for what is no statement.
#[must_use]
pub fn stated(document: &[u8]) -> Option<Certificate> {
    let payload = cose::unverified_payload(document).ok()?;
    read(&payload).map(|(.., next)| next)
}

fn fits(held: &Anchor, next: &Certificate) -> Result<(), AnchorError> {
    let root = next.is_ca() && next.verify_signed_by(next).is_ok();
    if !root || next.fingerprint() == held.root.fingerprint() {
        return Err(AnchorError::Root);
    }
    if next.subject_organisation() != held.root.subject_organisation() {
        return Err(AnchorError::Maker);
    }
    Ok(())
}

/// The position that a statement claims, before anybody's signature was looked at.
fn peek(document: &[u8]) -> Result<u64, AnchorError> {
    let payload = cose::unverified_payload(document)?;
    read(&payload).map(|(position, ..)| position).ok_or(AnchorError::Form)
}

fn read(payload: &[u8]) -> Option<(u64, [u8; 32], Certificate)> {
    let mut d = Decoder::new(payload);
    if d.array().ok()? != Some(4) || d.u8().ok()? != VERSION {
        return None;
    }
    let position = d.u64().ok()?;
    let before = d.bytes().ok()?.try_into().ok()?;
    let der = d.bytes().ok()?;
    if der.len() > MAX_CERTIFICATE || d.position() != payload.len() {
        return None;
    }
    Some((position, before, Certificate::from_der(der).ok()?))
}

/// A chain of statements as one file or message: CBOR, an array of byte strings.
#[must_use]
pub fn to_bytes(statements: &[Vec<u8>]) -> Vec<u8> {
    statements::to_bytes(statements)
}

/// Reads what [`to_bytes`] wrote.
///
/// # Errors
/// [`AnchorError::Form`], [`AnchorError::TooMany`].
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, AnchorError> {
    statements::from_bytes(bytes, MAX_STATEMENTS).map_err(|refused| match refused {
        Refused::Form => AnchorError::Form,
        Refused::TooMany(count) => AnchorError::TooMany(count),
    })
}

/// Why a chain of roots is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// Not a statement.
    #[error("not a statement about a root's successor in the form of this program")]
    Form,
    /// Over [`MAX_STATEMENTS`].
    #[error("{0} statements about roots are over the limit of {MAX_STATEMENTS}")]
    TooMany(usize),
    /// Out of order, or about another root.
    #[error("a statement about a root's successor stands out of its place")]
    Order,
    /// A statement is missing.
    #[error(
        "the statement after root {held} is missing: the next that is there is about root {offered}"
    )]
    Gap {
        /// The last root that is known.
        held: u64,
        /// The place of the next statement.
        offered: u64,
    },
    /// The signature.
    #[error("a statement about a root's successor: {0}")]
    Signature(#[from] CoseError),
    /// The key is not the held root's.
    #[error("the key is not that of the root whose word it is to be")]
    Key,
    /// Not a root, or the same one.
    #[error("the next root is no certificate of a CA that signs itself, or is the one before")]
    Root,
    /// Another maker's.
    #[error("the next root is another maker's")]
    Maker,
    /// Not a withdrawal.
    #[error("not a withdrawal of roots in the form of this program")]
    Withdrawal,
    /// There is no root before the first.
    #[error("the first root has none before it that could be withdrawn")]
    First,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateChain, certificates_from_pem};
    use crate::issue::{CaTemplate, Serial, self_signed_ca};
    use crate::random::SystemRandom;
    use crate::signature::SignatureAlgorithm;
    use countersign_model::time::{Timestamp, Validity};
    use proptest::prelude::*;

    fn root(maker: &str, number: usize) -> (Certificate, KeyHandle) {
        let algorithm = SignatureAlgorithm::ALL[number % SignatureAlgorithm::ALL.len()];
        let key = KeyHandle::ephemeral(algorithm).unwrap();
        let template = CaTemplate {
            common_name: format!("{maker} Root {number}"),
            organisation: maker.to_owned(),
            country: "DE".to_owned(),
            validity: Validity { not_before: Timestamp(0), not_after: Validity::FOREVER },
            serial: Serial::random(&mut SystemRandom),
        };
        (self_signed_ca(&template, &key).unwrap(), key)
    }

    /// Roots 0 to `count`, their keys, and the statements between them.
    pub(super) fn line(count: usize) -> (Vec<Anchor>, Vec<KeyHandle>, Vec<Vec<u8>>) {
        let made: Vec<_> = (0..=count).map(|number| root("Acme", number)).collect();
        let anchors: Vec<_> = (0_u64..)
            .zip(&made)
            .map(|(position, (root, _))| Anchor { position, root: root.clone() })
            .collect();
        let statements = (0..count)
            .map(|at| state(&anchors[at], &made[at + 1].0, &made[at].1).unwrap())
            .collect();
        (anchors, made.into_iter().map(|(_, key)| key).collect(), statements)
    }

    //= specs/house.md#house-anchors
    //= type=test
    //# A new root MUST be believed only by the signature of the root before it.
    #[test]
    fn foreign_changed_and_misplaced_statements_are_refused() {
        let (anchors, _, statements) = line(3);
        let held = &anchors[0];
        assert_eq!(follow(held, &statements).unwrap(), anchors[1..]);
        // A root's place is told by its own statement, so that the newest has none yet, and a stranger none ever.
        for (at, anchor) in anchors.iter().enumerate() {
            let told = placed(&anchor.root, &statements);
            assert_eq!(told.as_ref(), anchors[..3].get(at), "{at}");
        }
        assert_eq!(placed(&root("Acme", 0).0, &statements), None);
        // By another key: of a stranger with the maker's name, or of a later root.
        let (stranger, key) = root("Acme", 9);
        let forged = Anchor { position: 0, root: stranger };
        let forged = state(&forged, &anchors[2].root, &key).unwrap();
        assert!(matches!(follow(held, &[forged]), Err(AnchorError::Signature(_))));
        assert_eq!(state(held, &anchors[1].root, &key).unwrap_err(), AnchorError::Key);
        // Missing, doubled, turned round.
        let gap = AnchorError::Gap { held: 0, offered: 2 };
        assert_eq!(follow(held, &statements[1..]).unwrap_err(), gap);
        for order in [[0, 0, 1], [0, 2, 1], [1, 0, 2]] {
            let mixed: Vec<_> = order.iter().map(|at| statements[*at].clone()).collect();
            assert!(follow(held, &mixed).is_err(), "{order:?}");
        }
        // Every bit of a statement.
        for at in 0..statements[0].len() {
            let mut changed = statements.clone();
            changed[0][at] ^= 1;
            assert!(follow(held, &changed).is_err(), "byte {at}");
        }
        // Another maker, and no root at all.
        let (own, key) = root("Acme", 0);
        let own = Anchor { position: 0, root: own };
        assert_eq!(state(&own, &root("Other", 1).0, &key).unwrap_err(), AnchorError::Maker);
        assert_eq!(state(&own, &own.root, &key).unwrap_err(), AnchorError::Root);
        let many = vec![Vec::new(); MAX_STATEMENTS + 1];
        assert_eq!(follow(held, &many).unwrap_err(), AnchorError::TooMany(MAX_STATEMENTS + 1));
    }

    #[test]
    fn after_the_last_roll_servers_chains_and_files_of_roots_are_read() {
        let (anchors, _, statements) = line(MAX_STATEMENTS);
        assert_eq!(follow(&anchors[0], &statements).unwrap().len(), MAX_STATEMENTS);
        let roots: String = anchors.iter().map(|anchor| anchor.root.to_pem()).collect();
        assert_eq!(certificates_from_pem(roots.as_bytes()).unwrap().len(), anchors.len());
        // Leaf, issuing CA, and a cross-certificate for each roll: how many is what counts.
        let shown = vec![anchors[0].root.clone(); 2 + MAX_STATEMENTS];
        assert!(CertificateChain::new(shown).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whoever slept through any number of rolls, and was served in pieces, ends at the newest root that was offered, and
        /// never earlier than before.
        //= specs/house.md#house-anchors
        //= type=test
        //# Whoever follows roots MUST go forward one place at a time and never back.
        #[test]
        fn sleepers_come_back_and_nobody_goes_back(
            count in 1_usize..5, held in 0_usize..5, offers in proptest::collection::vec((0_usize..5, 0_usize..6), 1..6),
        ) {
            prop_assume!(held <= count);
            let (anchors, _, statements) = line(count);
            let mut held = anchors[held].clone();
            for (from, to) in offers {
                let to = to.min(count);
                let offered = &statements[from.min(to)..to];
                match follow(&held, offered) {
                    Ok(way) => {
                        let newest = u64::try_from(to).unwrap_or(0).max(held.position);
                        let expected = if offered.is_empty() { held.position } else { newest };
                        let next = way.last().cloned().unwrap_or_else(|| held.clone());
                        prop_assert_eq!(next.position, expected);
                        prop_assert_eq!(&next, &anchors[usize::try_from(expected).unwrap_or(0)]);
                        held = next;
                    }
                    Err(AnchorError::Gap { .. }) => {
                        prop_assert!(from > usize::try_from(held.position).unwrap_or(0));
                    }
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
            prop_assert_eq!(follow(&held, &statements).unwrap().len(), count - usize::try_from(held.position).unwrap_or(0));
            let file = to_bytes(&statements);
            prop_assert_eq!(from_bytes(&file).unwrap(), statements);
            prop_assert!(from_bytes(&file[1..]).is_err());
        }
    }
}
