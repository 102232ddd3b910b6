//! Mutations without a fuzzer: few kinds, repeatable from a seed.

/// Longest input that mutation makes; the parsers' own bounds lie below it.
const LONGEST: usize = 128 * 1024;

/// A small generator (xorshift64*): repeatable, not for secrets.
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same throws.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The bias of the remainder does not matter here.
        (self.throw() % bound.max(1) as u64) as usize
    }
}

/// Bytes that parsers treat specially: ends of ranges, delimiters, lengths.
const INTERESTING: &[u8] =
    &[0, 1, 0x7f, 0x80, 0xff, 0x30, 0x82, 0x84, b'"', b'{', b'}', b'[', b':', b'\n'];

/// One mutated copy of `input`, with one to eight changes; `other` lends pieces.
pub fn mutate(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=dice.below(8) {
        let at = dice.below(out.len() + 1);
        match dice.below(7) {
            0 if at < out.len() => out[at] ^= 1 << dice.below(8),
            1 if at < out.len() => out[at] = INTERESTING[dice.below(INTERESTING.len())],
            2 if at < out.len() => out[at] = dice.throw() as u8,
            3 => out.truncate(at),
            4 => {
                let end = (at + dice.below(64)).min(out.len());
                out.drain(at..end);
            }
            5 => {
                let from = dice.below(other.len() + 1);
                let piece = &other[from..(from + dice.below(64)).min(other.len())];
                out.splice(at..at, piece.iter().copied());
            }
            _ => {
                let end = (at + dice.below(256)).min(out.len());
                let again = out[at..end].to_vec();
                out.splice(at..at, again);
            }
        }
        out.truncate(LONGEST);
    }
    out
}
