//! What a camera saw, or a person typed.

use countersign_model::label::{Label, SetupCode};

/// A label that was read is written and read again as the same.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(code) = SetupCode::parse(text) {
        let printed = SetupCode::parse(&code.printed()).map(|again| again.compact());
        assert_eq!(printed.ok(), Some(code.compact()), "the printed form says something else");
    }
    if let Ok(label) = Label::parse(text) {
        let again = Label::parse(&label.qr_text()).map(|again| again.qr_text());
        assert_eq!(again.ok(), Some(label.qr_text()), "the QR text says something else");
    }
}
