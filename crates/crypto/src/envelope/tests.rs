use super::*;

const PURPOSE: &str = "test";

fn sealed(recipients: &[&RecipientKey], text: &[u8]) -> Vec<u8> {
    let recipients: Vec<_> = recipients.iter().map(|key| key.recipient().clone()).collect();
    let mut sealer = Sealer::new(Vec::new(), &recipients, PURPOSE).unwrap();
    sealer.write_all(text).unwrap();
    sealer.finish().unwrap()
}

fn opened(key: &RecipientKey, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut opener = Opener::new(sealed, key, PURPOSE)?;
    let mut text = Vec::new();
    opener.read_to_end(&mut text)?;
    opener.finish()?;
    Ok(text)
}

#[test]
fn every_recipient_opens_it_and_nobody_else() {
    let [one, two, other] = [(); 3].map(|()| RecipientKey::generate().unwrap());
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7] {
        let text: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
        let sealed = sealed(&[&one, &two], &text);
        assert_eq!(opened(&one, &sealed).unwrap(), text, "{length}");
        assert_eq!(opened(&two, &sealed).unwrap(), text, "{length}");
        assert!(matches!(opened(&other, &sealed), Err(EnvelopeError::NotForThisKey)));
        assert!(matches!(Opener::new(&*sealed, &one, "other"), Err(EnvelopeError::Form)));
    }
}

#[test]
fn every_changed_or_cut_octet_is_found() {
    let key = RecipientKey::generate().unwrap();
    let sealed = sealed(&[&key], b"secret");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(opened(&key, &changed).is_err(), "octet {at}");
        assert!(opened(&key, &sealed[..at]).is_err(), "cut at {at}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert!(matches!(opened(&key, &longer), Err(EnvelopeError::Changed)));
}

#[test]
fn pieces_cannot_be_left_out_moved_or_taken_for_the_end() {
    let key = RecipientKey::generate().unwrap();
    let text: Vec<u8> = (0..3 * PIECE + 9).map(|at| (at / 4096).to_le_bytes()[0]).collect();
    let sealed = sealed(&[&key], &text);
    // A piece: word, head, the text, 16 of the tag.
    let piece = 1 + 5 + PIECE + 16;
    let last = 1 + 2 + 9 + 16;
    let first = sealed.len() - 3 * piece - last;
    let mut without = sealed.clone();
    without.drain(first + piece..first + 2 * piece);
    assert!(matches!(opened(&key, &without), Err(EnvelopeError::Changed)));
    let mut moved = sealed.clone();
    moved[first..first + 2 * piece].rotate_left(piece);
    assert!(matches!(opened(&key, &moved), Err(EnvelopeError::Changed)));
    let cut = &sealed[..first + 3 * piece];
    assert!(matches!(opened(&key, cut), Err(EnvelopeError::Cut)));
}

//= specs/house.md#house-secrets
//= type=test
//# A secret MUST leave the process only through a channel whose strength is at least its own.
#[test]
fn what_was_sealed_to_a_weaker_key_opens_and_nothing_more_is() {
    let key = RecipientKey::of(Suite::earlier().unwrap()).unwrap();
    let old = std::slice::from_ref(key.recipient());
    let suite = Suite::earlier().unwrap();
    let mut sealer = Sealer::begin(suite, Vec::new(), old, PURPOSE).unwrap();
    sealer.write_all(b"secret").unwrap();
    let sealed = sealer.finish().unwrap();
    let again = key.to_text().expose(RecipientKey::from_text).unwrap();
    assert_eq!(opened(&again, &sealed).unwrap(), b"secret");
    let new = RecipientKey::generate().unwrap();
    assert!(matches!(opened(&new, &sealed), Err(EnvelopeError::NotForThisKey)));
    // Neither by its word nor with others.
    let word = key.recipient().to_string();
    assert!(matches!(word.parse::<Recipient>(), Err(EnvelopeError::Weak)));
    let both = [new.recipient().clone(), key.recipient().clone()];
    assert!(matches!(Sealer::new(Vec::new(), &both, PURPOSE), Err(EnvelopeError::Weak)));
}

#[test]
fn keys_have_a_text_form() {
    let key = RecipientKey::generate().unwrap();
    let again = key.to_text().expose(RecipientKey::from_text).unwrap();
    assert_eq!(again.recipient(), key.recipient());
    let text = key.recipient().to_string();
    assert_eq!(&text.parse::<Recipient>().unwrap(), key.recipient());
    let sealed = sealed(&[&key], b"secret");
    assert_eq!(opened(&again, &sealed).unwrap(), b"secret");
    let mut off_curve = key.recipient().0.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let off_curve = Recipient(off_curve).to_string();
    for bad in ["", "age1x", &text[1..], &text[..text.len() - 4], &off_curve] {
        assert!(bad.parse::<Recipient>().is_err(), "{bad}");
        assert!(RecipientKey::from_text(bad.as_bytes()).is_err());
    }
    assert!(!format!("{key:?}").contains("secret:1:"));
}
