//! Crashes, forgeries and two writers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::ledger::MAX_LINE;
use crate::ledger::note::SignatureType;
use crate::ledger::witness::{Grown, Growth};
use crate::testing::note_key;

mod checkpoints;
mod crashes;

const NOW: Timestamp = Timestamp(1_000);

/// A ledger in a folder, with the key that its processes share.
struct House {
    folder: tempfile::TempDir,
    signer: LedgerSigner,
}

impl House {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), signer: LedgerSigner::new(note_key()) }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("ledger.log")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join("ledger").join(name)
    }

    fn try_open(&self) -> Result<(Ledger, Option<TornTail>), LedgerError> {
        Ledger::open(&self.log(), self.signer.clone(), NOW)
    }

    fn open(&self) -> Ledger {
        let (ledger, torn) = self.try_open().unwrap();
        assert_eq!(torn, None);
        ledger
    }

    /// With so many entries: the first says under which key the checkpoints are signed.
    fn filled(&self, count: u64) -> Ledger {
        let ledger = self.open();
        for number in 1..count {
            ledger.append(Kind::Issued, json!({"serial": number.to_string()}), NOW).unwrap();
        }
        ledger
    }

    /// What stands beside the log now, to be put back: as if a kill had come before more was written there.
    fn remember(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(self.beside("")).unwrap().map(|one| one.unwrap().path());
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    fn put_back(&self, files: &[(PathBuf, Vec<u8>)]) {
        std::fs::remove_dir_all(self.beside("")).unwrap();
        std::fs::create_dir(self.beside("")).unwrap();
        files.iter().for_each(|(path, content)| std::fs::write(path, content).unwrap());
    }
}

fn line_of(error: LedgerError) -> u64 {
    match error {
        LedgerError::Fault { fault: Fault::Line { line, .. }, .. } => line,
        other => panic!("{other}"),
    }
}

fn kinds(ledger: &Ledger) -> Vec<Kind> {
    ledger.entries().unwrap().iter().map(|one| one.kind).collect()
}

//= specs/house.md#house-ledger
//= type=test
//# A changed, removed or reordered entry MUST be found by verification.
#[test]
fn the_first_bad_line_is_named() {
    let house = House::new();
    let ledger = house.filled(5);
    let good = std::fs::read_to_string(house.log()).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let flipped = lines[2].replace("\"2\"", "\"3\"");
    assert_ne!(flipped, lines[2]);
    let cases: [(&str, Vec<&str>, u64); 4] = [
        ("flipped", vec![lines[0], lines[1], flipped.as_str(), lines[3]], 3),
        ("reordered", vec![lines[0], lines[2], lines[1], lines[3]], 2),
        ("missing", vec![lines[0], lines[1], lines[3], lines[4]], 3),
        ("doubled", vec![lines[0], lines[1], lines[1], lines[2]], 3),
    ];
    for (case, lines, expected) in cases {
        std::fs::write(house.log(), lines.join("\n") + "\n").unwrap();
        assert_eq!(line_of(ledger.verify().unwrap_err()), expected, "{case}");
        assert_eq!(line_of(house.try_open().err().unwrap()), expected, "{case}");
    }
}

/// A start reads only what is new; but whatever was touched in between is read whole again.
#[test]
fn a_bit_that_flipped_between_two_starts_is_found_at_the_second() {
    let house = House::new();
    drop(house.filled(40));
    assert!(house.beside("state").exists());
    let good = std::fs::read(house.log()).unwrap();
    for place in [5, good.len() / 2, good.len() - 10] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        std::fs::write(house.log(), &bad).unwrap();
        let line = bad[..place].iter().filter(|octet| **octet == b'\n').count() as u64 + 1;
        assert_eq!(line_of(house.try_open().err().unwrap()), line);
        std::fs::write(house.log(), &good).unwrap();
        drop(house.open());
    }
}

/// What is kept of an earlier start never counts more than the file.
#[test]
fn a_state_that_is_damaged_or_foreign_counts_for_nothing() {
    let house = House::new();
    drop(house.filled(9));
    let state = std::fs::read(house.beside("state")).unwrap();
    for bad in
        [b"".to_vec(), b"nonsense\n".to_vec(), state[1..].to_vec(), [&state[..70], b"x"].concat()]
    {
        std::fs::write(house.beside("state"), bad).unwrap();
        assert_eq!(house.open().verify().unwrap().entries, 9);
    }
    let other = House::new();
    drop(other.filled(30));
    std::fs::copy(other.beside("state"), house.beside("state")).unwrap();
    assert_eq!(house.open().summary(NOW).unwrap().entries, 9);
}

/// An entry forged with a right leaf but without the chain before it.
#[test]
fn a_forged_entry_does_not_fit_the_chain() {
    let house = House::new();
    let ledger = house.filled(2);
    let forged = Entry::following(&[0; 32], 2, NOW, Kind::Issued, json!({"serial": "forged"}));
    let mut other = OpenOptions::new().append(true).open(ledger.path()).unwrap();
    other.write_all(&[forged.line(), b"\n".to_vec()].concat()).unwrap();
    assert_eq!(line_of(ledger.verify().unwrap_err()), 3);
    assert_eq!(line_of(ledger.append(Kind::Issued, json!({}), NOW).unwrap_err()), 3);
}

#[test]
fn a_cut_file_is_noticed_while_in_use() {
    let house = House::new();
    let ledger = house.filled(2);
    File::options().write(true).open(ledger.path()).unwrap().set_len(10).unwrap();
    let refused = ledger.append(Kind::Issued, json!({}), NOW);
    assert!(matches!(refused, Err(LedgerError::Shrunk { .. })));
}

//= specs/house.md#house-ledger
//= type=test
//# The ledger MUST only be appended to.
#[test]
fn two_writers_take_turns() {
    let house = House::new();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let house = &house;
            scope.spawn(move || {
                let ledger = house.open();
                for number in 0..50 {
                    let body = json!({"writer": writer, "number": number});
                    ledger.append(Kind::Issued, body, NOW).unwrap();
                }
            });
        }
    });
    assert_eq!(house.open().verify().unwrap().entries, 101);
}

/// Many threads of one process: each gets its own entry back, in one order, whatever group it was written in.
#[test]
fn many_at_once_are_written_in_groups_and_answered_each() {
    let house = House::new();
    let ledger = house.open();
    let too_long = "x".repeat(MAX_LINE);
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let (ledger, too_long) = (&ledger, &too_long);
            scope.spawn(move || {
                for number in 0..20 {
                    let body = json!({"writer": writer, "number": number});
                    let entry = ledger.append(Kind::Issued, body.clone(), NOW).unwrap();
                    assert_eq!(entry.body, body);
                }
                let refused = ledger.append(Kind::Issued, json!(too_long), NOW);
                assert!(matches!(refused, Err(LedgerError::TooLong(_))));
            });
        }
    });
    let entries = ledger.entries().unwrap();
    assert_eq!(entries.len(), 1 + 16 * 20);
    for writer in 0..16 {
        let own = entries.iter().filter(|entry| entry.body["writer"] == writer);
        let numbers: Vec<_> = own.map(|entry| entry.body["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
}

/// A line that no entry can be is no torn tail either: it is named, and the file is left as it is.
#[test]
fn an_endless_line_is_named_and_not_swallowed() {
    let house = House::new();
    let ledger = house.filled(2);
    let mut other = OpenOptions::new().append(true).open(house.log()).unwrap();
    other.write_all(&vec![b'{'; 3 * MAX_LINE]).unwrap();
    let length = std::fs::metadata(house.log()).unwrap().len();
    assert_eq!(line_of(ledger.verify().unwrap_err()), 3);
    assert_eq!(line_of(house.try_open().err().unwrap()), 3);
    assert_eq!(std::fs::metadata(house.log()).unwrap().len(), length);
}

#[test]
fn a_summary_counts_what_others_appended() {
    let house = House::new();
    let one = house.filled(2);
    let two = house.open();
    two.append(Kind::Issued, json!({}), NOW).unwrap();
    assert_eq!(one.summary(NOW).unwrap(), two.verify().unwrap());
    assert_eq!(one.summary(NOW).unwrap().entries, 3);
}
