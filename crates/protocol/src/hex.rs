//! Bytes as hexadecimal digits, lower case.

/// As text.
#[must_use]
pub fn write(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes from text; `None` for anything else, upper case too: one form for one value.
#[must_use]
pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_one_value() {
        assert_eq!(read::<2>(&write(&[0x0a, 0xff])), Some([0x0a, 0xff]));
        for bad in ["", "0", "0aff0", "0AFF", "0g00", "\u{e9}\u{e9}"] {
            assert_eq!(read::<2>(bad), None, "{bad}");
        }
    }
}
