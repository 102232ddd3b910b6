//! Checkpoints on the disk: when they come, what they find, who cosigned them.

use super::*;

fn on_disk(house: &House) -> SignedCheckpoint {
    let text = std::fs::read(house.beside("checkpoint")).unwrap();
    SignedCheckpoint::verify(&text, house.signer.verifier()).unwrap()
}

//= specs/house.md#house-ledger
//= type=test
//# A checkpoint MUST be on the disk within a bounded time after the entries that it covers.
#[test]
fn a_checkpoint_follows_by_itself_and_at_the_end() {
    let house = House::new();
    let ledger = house.filled(5);
    // Far longer than the bound: the machine may be slow, the keeper may not forget.
    let patience = Instant::now() + 400 * CHECKPOINT_DELAY;
    while on_disk(&house).checkpoint().size < 5 {
        assert!(Instant::now() < patience, "no checkpoint came");
        std::thread::sleep(CHECKPOINT_DELAY / 10);
    }
    ledger.append(Kind::Issued, json!({}), NOW).unwrap();
    drop(ledger);
    let last = on_disk(&house);
    assert_eq!(last.checkpoint().size, 6);
    assert_eq!(last.checkpoint().root.to_string(), house.open().verify().unwrap().root);
}

/// Somebody who can write the file, and knows how its lines are made, and has no key.
//= specs/house.md#house-ledger
//= type=test
//# A ledger that is not the one that a checkpoint was signed for MUST be found by verification.
#[test]
fn a_history_written_anew_is_found_and_narrowed_down() {
    let house = House::new();
    let ledger = house.open();
    for number in 1..12 {
        ledger.append(Kind::Issued, json!({"serial": number.to_string()}), NOW).unwrap();
        ledger.checkpoint(NOW).unwrap();
    }
    let entries = ledger.entries().unwrap();
    let mut chain = [0; 32];
    let mut forged = Vec::new();
    for entry in &entries {
        let body = if entry.index == 7 { json!({"serial": "forged"}) } else { entry.body.clone() };
        let entry = Entry::following(&chain, entry.index, entry.at, entry.kind, body);
        hex::decode_to_slice(&entry.chain, &mut chain).unwrap();
        forged.extend_from_slice(&entry.line());
        forged.push(b'\n');
    }
    std::fs::write(house.log(), forged).unwrap();
    match ledger.verify().unwrap_err() {
        LedgerError::Fault { fault, .. } => {
            assert_eq!(fault, Fault::Forked { agreed: 7, signed: 8 });
        }
        other => panic!("{other}"),
    }
    drop(ledger);
    match house.try_open().err().unwrap() {
        LedgerError::Fault { fault: Fault::Forked { signed: 12, .. }, .. } => {}
        other => panic!("{other}"),
    }
}

#[test]
fn a_checkpoint_of_another_key_is_refused_by_name() {
    let house = House::new();
    drop(house.filled(3));
    let other = House::new();
    drop(other.filled(3));
    std::fs::copy(other.beside("checkpoint"), house.beside("checkpoint")).unwrap();
    let said = house.try_open().err().unwrap().to_string();
    assert!(said.contains("ledger/checkpoint") && said.contains("restore"), "{said}");
}

/// Earlier checkpoints help to say where; they may not fill the disk.
#[test]
fn the_history_is_bounded() {
    let house = House::new();
    let ledger = house.filled(3);
    let full = vec![b'\n'; 8 * 1024 * 1024];
    std::fs::write(house.beside("history"), full).unwrap();
    ledger.append(Kind::Issued, json!({}), NOW).unwrap();
    ledger.checkpoint(NOW).unwrap();
    assert!(std::fs::metadata(house.beside("history")).unwrap().len() < 1024);
    assert!(house.beside("history.prev").exists());
}

/// A checkpoint that vanished is written anew, and that it had vanished stands in the ledger for ever.
#[test]
fn a_missing_checkpoint_is_recorded() {
    let house = House::new();
    drop(house.filled(3));
    std::fs::remove_file(house.beside("checkpoint")).unwrap();
    let ledger = house.open();
    let entries = ledger.entries().unwrap();
    let last = entries.last().unwrap();
    assert_eq!((last.kind, &last.body["checkpoint"]), (Kind::LedgerRepaired, &json!("missing")));
    assert_eq!(on_disk(&house).checkpoint().size, 4);
}

/// A data folder from before there were checkpoints: its entries are the first leaves, and the key comes after them.
#[test]
fn an_older_ledger_goes_on_as_it_is() {
    let house = House::new();
    let mut chain = [0; 32];
    let mut old = Vec::new();
    for index in 0..6 {
        let entry = Entry::following(&chain, index, NOW, Kind::Issued, json!({"number": index}));
        hex::decode_to_slice(&entry.chain, &mut chain).unwrap();
        old.extend_from_slice(&entry.line());
        old.push(b'\n');
    }
    std::fs::write(house.log(), &old).unwrap();
    let ledger = house.open();
    let entries = ledger.entries().unwrap();
    assert_eq!((entries.len(), entries[6].kind), (7, Kind::LedgerKey));
    assert_eq!(entries[6].body["entries_before"], 6);
    assert_eq!(entries[6].body["key"], house.signer.verifier().to_string());
    assert!(std::fs::read(house.log()).unwrap().starts_with(&old), "no line was touched");
    assert_eq!(ledger.checkpoint(NOW).unwrap().checkpoint().size, 7);
    drop(ledger);
    assert_eq!(kinds(&house.open()).len(), 7, "the key is recorded once");
}

fn witness(
    name: &str,
    house: &House,
    signed: &SignedCheckpoint,
) -> (VerifierKey, SignedCheckpoint) {
    let with = note_key();
    let key = VerifierKey::new(name, SignatureType::Cosignature, &with).unwrap();
    let growth = Growth { old: 0, proof: Vec::new(), checkpoint: signed.note().to_string() };
    let grown: Grown = growth.verify(None, house.signer.verifier()).unwrap();
    (key.clone(), grown.cosign(&key, &with, 1_700_000_000).unwrap())
}

#[test]
fn cosignatures_are_kept_with_the_checkpoint_that_they_are_on() {
    let house = House::new();
    let ledger = house.filled(4);
    let signed = ledger.checkpoint(NOW).unwrap();
    let (one, by_one) = witness("w1.example", &house, &signed);
    let (two, by_two) = witness("w2.example", &house, &signed);
    let all = [one.clone(), two.clone()];
    assert_eq!(ledger.add_cosignatures(&by_one, &all).unwrap(), 1);
    ledger.append(Kind::Issued, json!({}), NOW).unwrap();
    assert_eq!(ledger.add_cosignatures(&by_two, &all).unwrap(), 2);
    let kept = ledger.cosigned().unwrap().unwrap();
    assert_eq!(cosigners(&kept, &all).unwrap().len(), 2);
    assert_eq!(kept.checkpoint().size, 4);
    // Nobody who is known cosigned; an older checkpoint; one of another ledger.
    let stranger = VerifierKey::new("w3.example", SignatureType::Cosignature, &note_key()).unwrap();
    assert!(ledger.add_cosignatures(&by_one, &[stranger]).is_err());
    let later = ledger.checkpoint(NOW).unwrap();
    let (three, by_three) = witness("w3.example", &house, &later);
    assert_eq!(ledger.add_cosignatures(&by_three, &[three]).unwrap(), 1);
    let refused = ledger.add_cosignatures(&by_one, &all).unwrap_err().to_string();
    assert!(refused.contains("newer"), "{refused}");
    assert_eq!(ledger.verify().unwrap().entries, 5);
}
