//! What is compressed inside a stream: gzip and zlib wherever they begin, raw deflate from the first byte.

use miniz_oxide::inflate::{DecompressError, decompress_to_vec_with_limit};

/// Most bytes that one place is inflated to: a longer text repeats itself or is a bomb.
const MAX_INFLATED: usize = 1024 * 1024;
/// Most bytes that all places of one stream are inflated to.
const MAX_TOTAL: usize = 32 * 1024 * 1024;
/// Shorter texts hold no canary.
const MIN_INFLATED: usize = super::MIN_SECRET;

/// Where something deflated was found, by what began there, and its text.
pub(super) fn inflated(stream: &[u8]) -> Vec<(usize, &'static str, Vec<u8>)> {
    let (mut all, mut total) = (Vec::new(), 0);
    let mut add = |at: usize, kind: &'static str, deflated: &[u8]| {
        let left = MAX_TOTAL.saturating_sub(total).min(MAX_INFLATED);
        // What came out before an error counts: a capture may end anywhere.
        let text = match decompress_to_vec_with_limit(deflated, left) {
            Ok(text) => text,
            Err(DecompressError { output, .. }) => output,
        };
        total += text.len();
        if text.len() >= MIN_INFLATED {
            all.push((at, kind, text));
        }
    };
    add(0, "deflate", stream);
    for at in 0..stream.len() {
        let rest = &stream[at..];
        if let Some(body) = gzip_body(rest) {
            add(at, "gzip", body);
        } else if is_zlib(rest) {
            add(at, "zlib", &rest[2..]);
        }
    }
    all
}

/// RFC 1950: method 8, a window that exists, a checksum over both bytes, no dictionary.
fn is_zlib(bytes: &[u8]) -> bool {
    let [method, flags, ..] = bytes else { return false };
    let check = u16::from_be_bytes([*method, *flags]) % 31 == 0;
    method & 0x0f == 8 && method >> 4 <= 7 && check && flags & 0x20 == 0
}

/// RFC 1952: what follows the header and its optional fields.
fn gzip_body(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(&[0x1f, 0x8b, 8])?;
    let flags = *rest.first()?;
    rest = rest.get(7..)?;
    if flags & 4 != 0 {
        let length = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        rest = rest.get(2 + usize::from(length)..)?;
    }
    for field in [8, 16] {
        if flags & field != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & 2 != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    pub(in super::super) fn gzip(text: &[u8]) -> Vec<u8> {
        // A name in the header, as command-line tools write it.
        let head = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], b"log.txt\0"].concat();
        [head, compress_to_vec(text, 6)].concat()
    }

    #[test]
    fn every_kind_is_inflated_where_it_begins() {
        let text = b"an ordinary line, an ordinary line, and a secret in between".as_slice();
        let noise = b"noise before it \x1f\x8b".as_slice();
        for (kind, deflated, at) in [
            ("zlib", [noise, &compress_to_vec_zlib(text, 9), b"after"].concat(), noise.len()),
            ("gzip", [noise, &gzip(text), b"after"].concat(), noise.len()),
            ("deflate", compress_to_vec(text, 1), 0),
        ] {
            let found = inflated(&deflated);
            assert!(found.iter().any(|one| *one == (at, kind, text.to_vec())), "{kind}: {found:?}");
        }
    }

    #[test]
    fn bombs_and_cut_ends_are_bounded() {
        let bomb = compress_to_vec_zlib(&vec![7; 4 * MAX_INFLATED], 9);
        assert!(inflated(&bomb).iter().all(|(_, _, text)| text.len() <= MAX_INFLATED));
        let text: Vec<u8> = (0..2000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let cut = compress_to_vec_zlib(&text, 6);
        let found = inflated(&cut[..cut.len() / 2]);
        let longest = found.iter().filter(|one| one.1 == "zlib").map(|one| one.2.len()).max();
        assert!(longest.unwrap() > 100, "what came before the cut is there");
        assert!(gzip_body(&[0x1f, 0x8b, 8]).is_none() && inflated(&[]).is_empty());
    }
}
