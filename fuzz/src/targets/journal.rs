//! The device's record, as a controller reads it from a device that may lie.

use countersign_protocol::journal::{Grown, Journal, MAX_ENTRIES};

/// What is believed is bounded, leads to its head, and is written as it was read.
pub fn target(data: &[u8]) {
    let Ok(journal) = serde_json::from_slice::<Journal>(data) else { return };
    assert!(journal.entries().count() <= MAX_ENTRIES, "more than a device keeps");
    assert_eq!(journal.grew_from(&journal.head()), Ok(Grown::By(0)));
    let written = serde_json::to_vec(&journal).expect("numbers, words and names are JSON");
    assert_eq!(
        serde_json::from_slice::<Journal>(&written).ok(),
        Some(journal),
        "written otherwise"
    );
}
