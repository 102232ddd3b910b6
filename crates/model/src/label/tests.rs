use super::*;

fn code(seed: u8) -> SetupCode {
    let mut entropy = [0; SetupCode::ENTROPY_BYTES];
    for (index, byte) in entropy.iter_mut().enumerate() {
        *byte = seed.wrapping_mul(31).wrapping_add(u8::try_from(index).unwrap().wrapping_mul(97));
    }
    SetupCode::from_entropy(entropy)
}

#[test]
fn what_is_printed_is_read_back_however_it_is_typed() {
    for seed in 0..=255 {
        let original = code(seed);
        let printed = original.printed();
        assert_eq!(printed.len(), 35);
        let sloppy = printed.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        for text in [printed.as_str(), original.compact().as_str(), &sloppy] {
            assert!(SetupCode::parse(text).unwrap() == original, "{text}");
        }
    }
}

#[test]
fn every_single_mistake_and_every_swap_is_found() {
    let compact = code(9).compact();
    for at in 0..TOTAL {
        for symbol in ALPHABET {
            let mut wrong = compact.as_bytes().to_vec();
            if wrong[at] == *symbol {
                continue;
            }
            wrong[at] = *symbol;
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(SetupCode::parse(&wrong).err(), Some(InvalidCode::Check));
        }
        let mut swapped = compact.as_bytes().to_vec();
        swapped.swap(at, (at + 1) % TOTAL);
        if swapped != compact.as_bytes() {
            let swapped = String::from_utf8(swapped).unwrap();
            assert_eq!(SetupCode::parse(&swapped).err(), Some(InvalidCode::Check));
        }
    }
}

#[test]
fn all_130_bits_count() {
    let zero = SetupCode::from_entropy([0; 17]);
    for bit in 0..usize::from(SetupCode::BITS) {
        let mut entropy = [0; 17];
        entropy[bit / 8] = 0x80 >> (bit % 8);
        assert!(SetupCode::from_entropy(entropy) != zero, "bit {bit}");
    }
}

#[test]
fn nothing_shows_the_secret() {
    let label = Label::new("plug-1".parse().unwrap(), code(3), RootFingerprint([0; 20]));
    assert!(!format!("{label:?}").contains(label.code().compact().as_str()));
    let mistyped = label.code().compact().replace(['2', '3', '4'], "5");
    let error = SetupCode::parse(&format!("{mistyped}!")).unwrap_err().to_string();
    assert!(!error.contains(&mistyped[..8]), "{error}");
}

#[test]
fn the_qr_text_is_alphanumeric_and_reads_back() {
    let mut root = [0; 20];
    for (index, byte) in root.iter_mut().enumerate() {
        *byte = u8::try_from(index * 13 % 251).unwrap();
    }
    let label = Label::new("plug-000001".parse().unwrap(), code(1), RootFingerprint(root));
    let text = label.qr_text();
    assert!(
        text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "-:.".contains(c))
    );
    let read = Label::parse(&text).unwrap();
    assert_eq!(read.thing().as_str(), "plug-000001");
    assert!(read.code() == label.code());
    assert_eq!(read.root(), RootFingerprint(root));
    assert!(Label::parse(&text.to_lowercase()).is_ok());
}

#[test]
fn base32_is_rfc_4648() {
    // "foobar" is MZXW6YTBOI in RFC 4648 section 10; its first five bytes are whole groups.
    let mut root = [0; 20];
    root[..5].copy_from_slice(b"fooba");
    assert!(RootFingerprint(root).to_base32().starts_with("MZXW6YTB"));
}

#[test]
fn garbage_gets_an_answer() {
    let mut state = 1_u64;
    for length in 0..600 {
        let text: String = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from_u32(u32::try_from(state >> 40).unwrap() % 0x250).unwrap_or(':')
            })
            .collect();
        assert!(Label::parse(&text).is_err());
        assert!(Label::parse(&format!("CS1:{text}:a:b")).is_err());
        assert!(SetupCode::parse(&text).is_err());
    }
    assert_eq!(Label::parse("https://example.org").err(), Some(InvalidLabel::Shape));
}
