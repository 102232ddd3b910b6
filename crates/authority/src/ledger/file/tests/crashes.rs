//! `kill -9` at every byte.

use super::*;

fn set_aside_files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|one| one.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".torn-"))
        .collect();
    found.sort();
    found
}

/// At every byte of the last write, before its checkpoint: whole entries stay, the rest is set aside by name.
//= specs/house.md#house-ledger
//= type=test
//# An entry that was cut short by a crash MUST be told apart from one that was changed.
#[test]
fn a_tail_torn_at_any_byte_is_set_aside_and_no_whole_entry_is_lost() {
    let house = House::new();
    drop(house.filled(3));
    let (signed, before) = (house.remember(), std::fs::read(house.log()).unwrap().len());
    let ledger = house.open();
    ledger.append(Kind::Revoked, json!({"serial": "x"}), NOW).unwrap();
    drop(ledger);
    let whole = std::fs::read(house.log()).unwrap();
    for end in before..=whole.len() {
        for old in set_aside_files(house.folder.path()) {
            std::fs::remove_file(old).unwrap();
        }
        std::fs::write(house.log(), &whole[..end]).unwrap();
        house.put_back(&signed);
        let (ledger, torn) = house.try_open().unwrap();
        let kinds = kinds(&ledger);
        let lost_only_its_line_end = end + 1 == whole.len();
        if end == before {
            assert_eq!((torn, kinds.len()), (None, 3));
        } else if end == whole.len() || lost_only_its_line_end {
            assert_eq!((torn, kinds.len()), (None, 4));
        } else {
            let torn = torn.unwrap();
            assert_eq!(std::fs::read(&torn.file).unwrap(), &whole[before..end]);
            assert_eq!(set_aside_files(house.folder.path()), [torn.file]);
            assert_eq!((kinds.len(), kinds[3]), (4, Kind::LedgerRepaired));
        }
    }
}

/// The very first start, cut at any byte: the key is recorded once, and the checkpoint is there.
#[test]
fn a_first_start_killed_at_any_byte_is_begun_again() {
    let house = House::new();
    drop(house.open());
    let whole = std::fs::read(house.log()).unwrap();
    for end in 0..=whole.len() {
        std::fs::write(house.log(), &whole[..end]).unwrap();
        std::fs::remove_dir_all(house.beside("")).unwrap();
        let ledger = house.try_open().unwrap().0;
        let count = kinds(&ledger).iter().filter(|kind| **kind == Kind::LedgerKey).count();
        assert_eq!(count, 1, "cut at {end}");
        assert_eq!(
            ledger.checkpoint(NOW).unwrap().checkpoint().size,
            ledger.verify().unwrap().entries
        );
    }
}

/// A write that failed half-way in this very process is repaired at the next append.
#[test]
fn a_torn_write_by_another_process_is_repaired_on_append() {
    let house = House::new();
    let ledger = house.filled(2);
    let mut other = OpenOptions::new().append(true).open(ledger.path()).unwrap();
    other.write_all(b"{\"index\":2,\"at\"").unwrap();
    ledger.append(Kind::Issued, json!({}), NOW).unwrap();
    assert_eq!(kinds(&ledger)[2..], [Kind::LedgerRepaired, Kind::Issued]);
    assert_eq!(set_aside_files(house.folder.path()).len(), 1);
}

/// A ledger that was cut after a checkpoint was signed over it is no torn tail: nothing is set aside, nothing written.
//= specs/house.md#house-ledger
//= type=test
//# Entries that are missing at the end MUST be found against a checkpoint.
#[test]
fn a_cut_behind_the_checkpoint_is_never_taken_for_a_crash() {
    let house = House::new();
    drop(house.filled(4));
    let whole = std::fs::read(house.log()).unwrap();
    let third = whole.iter().enumerate().filter(|(_, octet)| **octet == b'\n').nth(2).unwrap().0;
    // Behind the third line, and anywhere in the fourth.
    for end in third..whole.len() - 1 {
        std::fs::write(house.log(), &whole[..=end]).unwrap();
        if end + 2 == whole.len() {
            continue; // only the line end is missing: the entry is whole
        }
        match house.try_open().err().unwrap() {
            LedgerError::Fault { fault: Fault::Truncated { entries: 3, signed: 4 }, .. } => {}
            other => panic!("{end}: {other}"),
        }
        assert_eq!(std::fs::read(house.log()).unwrap(), &whole[..=end], "it was left as it is");
    }
    assert_eq!(set_aside_files(house.folder.path()), Vec::<PathBuf>::new());
}
