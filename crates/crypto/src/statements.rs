//! Signed statements, several in a row, as one file or message: CBOR, an array of byte strings, in one form only.

use minicbor::{Decoder, Encoder};

/// What [`from_bytes`] does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is no such array, or not in the form that is written.
    Form,
    /// It is longer than asked for: so many.
    TooMany(usize),
}

pub(crate) fn to_bytes(statements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut e = Encoder::new(&mut out);
    e.array(statements.len() as u64).expect("encoding into a vector cannot fail");
    for one in statements {
        e.bytes(one).expect("encoding into a vector cannot fail");
    }
    out
}

/// Reads what [`to_bytes`] wrote, `most` at the most.
pub(crate) fn from_bytes(bytes: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Refused> {
    let mut d = Decoder::new(bytes);
    let count = d.array().ok().flatten().ok_or(Refused::Form)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > most {
        return Err(Refused::TooMany(count));
    }
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(d.bytes().map_err(|_| Refused::Form)?.to_vec());
    }
    if to_bytes(&all) == bytes { Ok(all) } else { Err(Refused::Form) }
}
