//! A server's answer, as the assessor reads it from the device under test.

use countersign_assessor::probe::tls::answer::{Depth, Reading, read};

/// Every prefix has a reading, and a decision on a prefix stands when more bytes come.
pub fn target(data: &[u8]) {
    for depth in [Depth::Hello, Depth::Flight] {
        let whole = read(data, depth);
        let half = read(&data[..data.len() / 2], depth);
        if matches!(half, Reading::Hello(_) | Reading::Alert { .. }) {
            assert_eq!(half, whole, "more bytes changed a decision");
        }
    }
}
