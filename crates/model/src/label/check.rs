//! The check symbols: a shortened Reed-Solomon code over GF(32), length 30, 26 data symbols, distance 5.
//!
//! Any one to four wrong symbols are always found; anything worse slips through once in 2^20. The field is
//! GF(2)[x]/(x^5 + x^2 + 1) and the generator has the roots α, α², α³, α⁴ with α = x.

use super::{CHECK, DATA};

/// (x − α)(x − α²)(x − α³)(x − α⁴) without its leading 1, highest power first.
const GENERATOR: [u8; CHECK] = generator();

const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a & 0b10_0000 != 0 {
            a ^= 0b10_0101;
        }
        b >>= 1;
    }
    product
}

const fn generator() -> [u8; CHECK] {
    // `poly[i]` is the coefficient of x^(CHECK − i).
    let mut poly = [0; CHECK + 1];
    poly[CHECK] = 1;
    let mut root = 2;
    let mut degree = 0;
    while degree < CHECK {
        let mut at = CHECK - degree - 1;
        while at < CHECK {
            poly[at] = poly[at + 1] ^ multiply(poly[at], root);
            at += 1;
        }
        poly[CHECK] = multiply(poly[CHECK], root);
        root = multiply(root, 2);
        degree += 1;
    }
    [poly[1], poly[2], poly[3], poly[4]]
}

/// The four symbols that follow `data`.
pub(super) fn symbols(data: &[u8; DATA]) -> [u8; CHECK] {
    let mut rest = [0; CHECK];
    for symbol in data {
        let factor = symbol ^ rest[0];
        for at in 0..CHECK {
            let shifted = if at + 1 < CHECK { rest[at + 1] } else { 0 };
            rest[at] = shifted ^ multiply(factor, GENERATOR[at]);
        }
    }
    rest
}

/// Whether 30 symbols are a code word.
pub(super) fn matches(word: &[u8]) -> bool {
    word.split_first_chunk::<DATA>().is_some_and(|(data, check)| symbols(data) == check)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An independent statement of the code: a word is valid exactly when it vanishes at the four roots.
    fn syndromes(word: &[u8]) -> [u8; 4] {
        let at = |root: u8| word.iter().fold(0, |sum, symbol| multiply(sum, root) ^ symbol);
        let (a1, a2) = (2, multiply(2, 2));
        [at(a1), at(a2), at(multiply(a2, a1)), at(multiply(a2, a2))]
    }

    #[test]
    fn code_words_vanish_at_the_roots() {
        let mut data = [0; DATA];
        for (index, symbol) in data.iter_mut().enumerate() {
            *symbol = u8::try_from(index * 7 % 32).unwrap_or(0);
        }
        let mut word = data.to_vec();
        word.extend(symbols(&data));
        assert_eq!(syndromes(&word), [0; 4]);
        assert!(matches(&word));
    }
}
