//! A declaration, as the assessor reads it from a stranger.

use countersign_model::ixit::Declaration;

/// What was read is written and read again as the same.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(declaration) = Declaration::from_json(text) else { return };
    let written = declaration.to_json();
    let again = Declaration::from_json(&written).map(|again| again.to_json());
    assert_eq!(again.ok(), Some(written));
}
