//! What the device claims to have seen is there, and what it may not claim is not.

use super::*;
use crate::data::Slot;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::ixit::LifePhase;
use countersign_protocol::journal::{Note, What};
use std::os::unix::fs::PermissionsExt as _;

struct Place {
    folder: tempfile::TempDir,
    seal: SealKey,
    keys: Keystore,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let seal = SealKey::load_or_create(&folder.path().join("seal.key"), &mut SystemRandom).unwrap();
    let keys = Keystore::open(&folder.path().join("keys"), seal.clone()).unwrap();
    std::fs::write(folder.path().join("state.sealed"), b"sealed").unwrap();
    mode(&folder.path().join("state.sealed"), 0o600);
    Place { folder, seal, keys }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn using(labels: &[&str], next_label: u64) -> Record {
    let slot = |label: &&str| Slot { key: (*label).to_owned(), chain: None };
    let mut slots = labels.iter().map(slot);
    Record { current: slots.next(), next: slots.next(), next_label, ..Record::default() }
}

fn seen(place: &Place, record: &Record) -> Vec<Check> {
    look(place.folder.path(), record, &place.seal).checks.into_keys().collect()
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# Decommissioning MUST destroy what is no longer needed.
#[test]
fn a_former_key_that_is_left_is_no_evidence_that_it_is_gone() {
    let place = place();
    place.keys.generate("op-2", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let record = using(&["op-2"], 3);
    assert!(seen(&place, &record).contains(&Check::FormerKeysGone));
    place.keys.generate("op-1", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    assert!(!seen(&place, &record).contains(&Check::FormerKeysGone));
    // The only key that was ever made says nothing of former ones.
    place.keys.destroy("op-2").unwrap();
    assert!(!seen(&place, &using(&["op-1"], 2)).contains(&Check::FormerKeysGone));
}

#[test]
fn a_key_that_does_not_open_or_that_others_may_read_is_not_kept_well() {
    let place = place();
    place.keys.generate("op-1", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let record = using(&["op-1"], 2);
    assert!(seen(&place, &record).contains(&Check::Keystore));
    assert!(!seen(&place, &using(&["op-7"], 8)).contains(&Check::Keystore));
    let file = place.folder.path().join("keys/op-1.key");
    mode(&file, 0o640);
    assert!(!seen(&place, &record).contains(&Check::Keystore));
    mode(&file, 0o600);
    std::fs::write(&file, b"damaged").unwrap();
    assert!(!seen(&place, &record).contains(&Check::Keystore));
}

#[test]
fn files_that_others_may_read_are_no_evidence() {
    let place = place();
    let root = place.folder.path();
    let record = Record::default();
    assert_eq!(seen(&place, &record), [Check::SealKey, Check::StateFile]);
    for name in ["seal.key", "state.sealed"] {
        mode(&root.join(name), 0o644);
    }
    assert_eq!(seen(&place, &record), []);
}

#[test]
fn a_key_of_an_ownership_counts_only_when_no_other_is_left() {
    let place = place();
    let root = place.folder.path();
    let record = Record::default();
    let claimed = |place| seen(place, &record).contains(&Check::OwnershipKey);
    assert!(!claimed(&place));
    for name in ["home.key", "home.key.next"] {
        SealKey::load_or_create(&root.join(name), &mut SystemRandom).unwrap();
    }
    assert!(!claimed(&place));
    std::fs::remove_file(root.join("home.key.next")).unwrap();
    assert!(claimed(&place));
}

#[test]
fn the_processes_ask_for_words_that_the_record_has() {
    let rules = processes::built_in().iter().flat_map(|process| process.phase.values());
    for rule in rules.flat_map(|phase| &phase.record) {
        if let Rule::History { what, .. } = rule {
            let known = serde_json::from_value::<What>(serde_json::json!(what));
            assert_eq!(known.unwrap().as_str(), what);
        }
    }
}

#[test]
fn what_an_owner_did_is_evidence_of_its_process_alone() {
    let place = place();
    let mut record = Record::default();
    record.journal.append(Timestamp(7), "person:owner", Note::new(What::NetworkReplaced));
    let seen = look(place.folder.path(), &record, &place.seal);
    let of = |id: &str| {
        let process = processes::built_in().iter().find(|one| one.parameter.as_str() == id);
        let records = seen.records(process.unwrap());
        let own = records.into_iter().filter(|one| one.place.contains("record of changes"));
        own.map(|one| (one.phase, one.at)).collect::<Vec<_>>()
    };
    let both = [LifePhase::Updates, LifePhase::ExpirationAndCompromise];
    assert_eq!(of("SecParam-Network"), both.map(|phase| (phase, Timestamp(7))));
    assert_eq!(of("SecParam-InvitationVerifier"), []);
}
