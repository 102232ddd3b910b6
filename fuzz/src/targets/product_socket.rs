//! What a product says on its Unix socket.

use countersign_device::functions::socket::wire::{Lines, MAX_LINE, Said};

/// Lines are the same wherever the bytes come apart, and none is longer than it may be.
pub fn target(data: &[u8]) {
    let whole = Lines::default().take(data);
    let (one, other) = data.split_at(data.len() / 2);
    let mut lines = Lines::default();
    let cut = lines.take(one).and_then(|mut first| {
        first.extend(lines.take(other)?);
        Ok(first)
    });
    assert_eq!(whole.is_ok(), cut.is_ok(), "a line is too long depending on how it comes");
    let (Ok(whole), Ok(cut)) = (whole, cut) else { return };
    assert_eq!(whole, cut, "lines depend on how they come");
    for line in whole {
        assert!(line.len() < MAX_LINE && !line.contains(&b'\n'), "a line that is none");
        let said = Said::parse(&line);
        assert_eq!(said, Said::parse(&line), "a line says two things");
    }
}
