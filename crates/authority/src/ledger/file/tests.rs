//! Crashes, forgeries and two writers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn filled(folder: &Path, count: u64) -> Ledger {
    let (ledger, torn) = Ledger::open(&folder.join("ledger.log"), NOW).unwrap();
    assert_eq!(torn, None);
    for number in 0..count {
        ledger.append(Kind::Issued, json!({"serial": number.to_string()}), NOW).unwrap();
    }
    ledger
}

fn set_aside_files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|one| one.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".torn-"))
        .collect();
    found.sort();
    found
}

/// `kill -9` at every byte of the last write: whole entries stay, the rest is set aside by name.
//= specs/house.md#house-ledger
//= type=test
//# An entry that was cut short by a crash MUST be told apart from one that was changed.
#[test]
fn a_tail_torn_at_any_byte_is_set_aside_and_no_whole_entry_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path(), 3);
    let path = ledger.path().to_owned();
    let before = std::fs::read(&path).unwrap().len();
    ledger.append(Kind::Revoked, json!({"serial": "x"}), NOW).unwrap();
    let whole = std::fs::read(&path).unwrap();
    drop(ledger);
    for end in before..=whole.len() {
        for old in set_aside_files(folder.path()) {
            std::fs::remove_file(old).unwrap();
        }
        std::fs::write(&path, &whole[..end]).unwrap();
        let (ledger, torn) = Ledger::open(&path, NOW).unwrap();
        let kinds: Vec<_> = ledger.entries().unwrap().iter().map(|one| one.kind).collect();
        let lost_only_its_line_end = end + 1 == whole.len();
        if end == before {
            assert_eq!((torn, kinds.len()), (None, 3));
        } else if end == whole.len() || lost_only_its_line_end {
            assert_eq!((torn, kinds.len()), (None, 4));
        } else {
            let torn = torn.unwrap();
            assert_eq!(std::fs::read(&torn.file).unwrap(), &whole[before..end]);
            assert_eq!(set_aside_files(folder.path()), [torn.file]);
            assert_eq!((kinds.len(), kinds[3]), (4, Kind::LedgerRepaired));
        }
    }
}

/// A write that failed half-way in this very process is repaired at the next append.
#[test]
fn a_torn_write_by_another_process_is_repaired_on_append() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path(), 2);
    let mut other = OpenOptions::new().append(true).open(ledger.path()).unwrap();
    other.write_all(b"{\"index\":2,\"at\"").unwrap();
    ledger.append(Kind::Issued, json!({}), NOW).unwrap();
    let kinds: Vec<_> = ledger.entries().unwrap().iter().map(|one| one.kind).collect();
    assert_eq!(kinds[2..], [Kind::LedgerRepaired, Kind::Issued]);
    assert_eq!(set_aside_files(folder.path()).len(), 1);
}

//= specs/house.md#house-ledger
//= type=test
//# A changed, removed or reordered entry MUST be found by verification.
#[test]
fn the_first_bad_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path(), 5);
    let path = ledger.path().to_owned();
    let good = std::fs::read_to_string(&path).unwrap();
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
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let named = |error| match error {
            LedgerError::Line { line, .. } => line,
            other => panic!("{case}: {other}"),
        };
        assert_eq!(named(ledger.verify().unwrap_err()), expected, "{case}");
        assert_eq!(named(Ledger::open(&path, NOW).err().unwrap()), expected, "{case}");
    }
}

/// An entry forged with a right leaf but without the chain before it.
#[test]
fn a_forged_entry_does_not_fit_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path(), 2);
    let forged = Entry::following(&[0; 32], 2, NOW, Kind::Issued, json!({"serial": "forged"}));
    let mut other = OpenOptions::new().append(true).open(ledger.path()).unwrap();
    other.write_all(&[forged.line(), b"\n".to_vec()].concat()).unwrap();
    assert!(matches!(ledger.verify(), Err(LedgerError::Line { line: 3, .. })));
    let refused = ledger.append(Kind::Issued, json!({}), NOW);
    assert!(matches!(refused, Err(LedgerError::Line { line: 3, .. })));
}

#[test]
fn a_cut_file_is_noticed_while_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path(), 2);
    File::options().write(true).open(ledger.path()).unwrap().set_len(10).unwrap();
    let refused = ledger.append(Kind::Issued, json!({}), NOW);
    assert!(matches!(refused, Err(LedgerError::Shrunk { .. })));
}

//= specs/house.md#house-ledger
//= type=test
//# The ledger MUST only be appended to.
#[test]
fn two_writers_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), 0).path().to_owned();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let path = &path;
            scope.spawn(move || {
                let (ledger, _) = Ledger::open(path, NOW).unwrap();
                for number in 0..50 {
                    let body = json!({"writer": writer, "number": number});
                    ledger.append(Kind::Issued, body, NOW).unwrap();
                }
            });
        }
    });
    let (ledger, torn) = Ledger::open(&path, NOW).unwrap();
    assert_eq!((ledger.verify().unwrap().entries, torn), (100, None));
}

/// A line that no entry can be is no torn tail either: it is named, and the file is left as it is.
#[test]
fn an_endless_line_is_named_and_not_swallowed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path(), 2);
    let path = ledger.path().to_owned();
    let mut other = OpenOptions::new().append(true).open(&path).unwrap();
    other.write_all(&vec![b'{'; 3 * MAX_LINE]).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(matches!(ledger.verify(), Err(LedgerError::Line { line: 3, .. })));
    assert!(matches!(Ledger::open(&path, NOW), Err(LedgerError::Line { line: 3, .. })));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
}

#[test]
fn a_summary_counts_what_others_appended() {
    let folder = tempfile::tempdir().unwrap();
    let one = filled(folder.path(), 2);
    let (two, _) = Ledger::open(one.path(), NOW).unwrap();
    two.append(Kind::Issued, json!({}), NOW).unwrap();
    assert_eq!(one.summary(NOW).unwrap(), two.verify().unwrap());
    assert_eq!(one.summary(NOW).unwrap().entries, 3);
}
