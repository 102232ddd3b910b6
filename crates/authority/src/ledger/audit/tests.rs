//! Every way in which a ledger can be wrong, and where the auditor says it is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_model::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ledger::entry::Kind;

fn lines(count: u64, forged: Option<u64>) -> Vec<Vec<u8>> {
    let mut chain = [0; 32];
    (0..count)
        .map(|index| {
            let number = if forged == Some(index) { 999 } else { index };
            let body = json!({"number": number});
            let entry = Entry::following(&chain, index, Timestamp(7), Kind::Issued, body);
            hex::decode_to_slice(&entry.chain, &mut chain).unwrap();
            entry.line()
        })
        .collect()
}

fn audit(lines: &[Vec<u8>], marks: Vec<Checkpoint>) -> Result<Audited, Fault> {
    let mut auditor = Auditor::new(marks);
    for line in lines {
        auditor.take(line)?;
    }
    auditor.finish()
}

fn mark(size: u64) -> Checkpoint {
    let honest = audit(&lines(size, None), Vec::new()).unwrap();
    Checkpoint { origin: "log.example".to_owned(), size, root: honest.frontier.root() }
}

//= specs/house.md#house-ledger
//= type=test
//# A ledger that is not the one that a checkpoint was signed for MUST be found by verification.
#[test]
fn a_history_written_anew_is_found_between_two_checkpoints() {
    let forged = lines(20, Some(12));
    assert!(audit(&forged, Vec::new()).is_ok(), "line by line, nothing is wrong with it");
    let marks = || vec![mark(20), mark(5), mark(14), mark(12), mark(0)];
    let fault = audit(&forged, marks()).unwrap_err();
    assert_eq!(fault, Fault::Forked { agreed: 12, signed: 14 });
    assert!(fault.to_string().contains("lines 13 to 14"), "{fault}");
    let held = audit(&lines(23, None), marks()).unwrap();
    assert_eq!((held.agreed, held.frontier.size()), (20, 23));
}

//= specs/house.md#house-ledger
//= type=test
//# Entries that are missing at the end MUST be found against a checkpoint.
#[test]
fn a_cut_end_is_found_and_named() {
    let fault = audit(&lines(17, None), vec![mark(20)]).unwrap_err();
    assert_eq!(fault, Fault::Truncated { entries: 17, signed: 20 });
    assert!(fault.to_string().contains("lines 18 to 20"), "{fault}");
    assert_eq!(audit(&[], vec![mark(1)]).unwrap_err(), Fault::Truncated { entries: 0, signed: 1 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_done_to_the_lines_is_found_where_it_is(
        count in 2_u64..40, at: prop::sample::Index, other: prop::sample::Index, bit in 0_u8..8, octet: prop::sample::Index,
    ) {
        let (good, signed) = (lines(count, None), mark(count));
        let at = at.index(good.len());
        let found = |lines: &[Vec<u8>]| audit(lines, vec![signed.clone()]).unwrap_err();
        let line = at as u64 + 1;
        let names = |fault: &Fault, expected: u64| match fault {
            Fault::Line { line, .. } => *line == expected,
            _ => false,
        };
        // A flipped bit.
        let mut flipped = good.clone();
        let octet = octet.index(flipped[at].len());
        flipped[at][octet] ^= 1 << bit;
        prop_assert!(names(&found(&flipped), line));
        // A missing entry.
        let mut missing = good.clone();
        missing.remove(at);
        let fault = found(&missing);
        let cut = Fault::Truncated { entries: count - 1, signed: count };
        prop_assert!(fault == cut || names(&fault, line));
        // Two that changed places.
        let other = other.index(good.len());
        if other != at {
            let mut moved = good.clone();
            moved.swap(at, other);
            let first = at.min(other) as u64 + 1;
            prop_assert!(names(&found(&moved), first));
        }
        // A forged one, with all that follows written anew.
        let forged = lines(count, Some(at as u64));
        prop_assert_eq!(found(&forged), Fault::Forked { agreed: 0, signed: count });
    }
}
