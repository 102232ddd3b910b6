//! Batches: carried on, held to quotas, labelled, forgotten.

use std::path::Path;

use countersign_crypto::seal::{self, SealKey};
use countersign_model::factory::{PURPOSE, Package};

use super::*;
use crate::factory::requests::Requests;
use crate::factory::{Batch, BatchReport};
use crate::testing::roll_root;

pub(super) fn batch(folder: &Path, name: &str, serials: &str, keys: &str, quota: u64) -> Batch {
    let text = format!(
        "name = \"{name}\"\nproduct = \"Plug\"\nstation = \"line-1\"\nquota = {quota}\nout = \"{name}\"\n\
         [serials]\n{serials}\n[keys]\n{keys}\n[pairing]\nclass = \"small-memory\"\n"
    );
    Batch::from_toml("batch.toml", &text, folder).unwrap()
}

pub(super) async fn run(authority: &Authority, batch: &Batch) -> BatchReport {
    authority.provision_batch(batch, Requests::default(), false, |_, _| ()).await.unwrap()
}

fn package(batch: &Batch, serial: &str) -> Package {
    let key = SealKey::load(&batch.out().join("transport.key")).unwrap();
    let sealed = std::fs::read(batch.out().join(format!("{serial}.factory"))).unwrap();
    seal::open(&key, PURPOSE, &sealed).unwrap().expose(|plain| Package::decode(plain).unwrap())
}

async fn factory_identities(authority: &Authority) -> usize {
    let entries = authority.ledger_entries().await.unwrap();
    entries.iter().filter(|entry| entry.kind == Kind::FactoryIdentity).count()
}

//= specs/house.md#house-factory
//= type=test
//# A batch that was killed at any instant MUST be carried on without a second certificate or setup code for a serial.
#[tokio::test]
async fn what_is_lost_is_made_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    authority.add_station("line-1", 100, None).await.unwrap();
    let batch =
        batch(folder.path(), "b", "prefix = \"plug-\"\ncount = 3", "source = \"station\"", 3);
    let report = run(&authority, &batch).await;
    assert_eq!((report.made, report.refused.len(), report.batch_left), (3, 0, 0));
    let before = package(&batch, "plug-000002").encode();
    std::fs::remove_file(batch.out().join("plug-000002.factory")).unwrap();
    let report = run(&authority, &batch).await;
    assert_eq!((report.made, report.completed, report.already), (0, 1, 2));
    assert_eq!(
        package(&batch, "plug-000002").encode(),
        before,
        "certificate, key and verifier are those"
    );
    assert_eq!(factory_identities(&authority).await, 3);
    assert_eq!(authority.stations().await.unwrap()[0].used, 3);

    let made = package(&batch, "plug-000001");
    let labels = authority.batch_labels("b", &["plug-000001".parse().unwrap()]).await.unwrap();
    let setup = &made.setup;
    let params = PakeParams::new(setup.salt, setup.memory_kib, setup.passes, setup.lanes).unwrap();
    let again = pake::derive(labels[0].code(), labels[0].thing(), &params).unwrap().record();
    assert!(
        again.to_secret().expose(|again| again == &setup.verifier[..]),
        "the label opens its device"
    );
}

//= specs/house.md#house-factory
//= type=test
//# The setup codes of a batch MUST be destroyed when its labels are printed.
//= specs/house.md#house-factory
//= type=test
//# A serial's setup code MUST be on the disk, sealed, before anything is made from it.
#[tokio::test]
async fn codes_are_sealed_until_their_labels_are_printed_and_gone_after() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    authority.add_station("line-1", 100, None).await.unwrap();
    let batch = batch(folder.path(), "b", "list = [\"lamp-1\"]", "source = \"station\"", 1);
    run(&authority, &batch).await;
    let labels = authority.batch_labels("b", &[]).await.unwrap();
    let compact = labels[0].code().compact();
    let key = package(&batch, "lamp-1").key.unwrap();
    let mut files = vec![folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|one| one.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for needle in [&compact.as_bytes()[..12], &key[40..60]] {
            assert!(
                !bytes.windows(needle.len()).any(|window| window == needle),
                "{}",
                path.display()
            );
        }
    }
    assert_eq!(authority.destroy_labels("b").await.unwrap(), 1);
    let refused = authority.batch_labels("b", &[]).await.unwrap_err().to_string();
    assert!(refused.contains("destroyed"), "{refused}");
    std::fs::remove_file(batch.out().join("lamp-1.factory")).unwrap();
    let report = run(&authority, &batch).await;
    assert!(report.refused[0].1.contains("destroyed"), "{report:?}");
    assert_eq!(factory_identities(&authority).await, 1);
}

//= specs/house.md#house-factory
//= type=test
//# A station MUST NOT take more identities than its quota, whatever is killed, repeated or done at the same time.
#[tokio::test]
async fn a_quota_holds_for_batches_at_the_same_time_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    authority.add_station("line-1", 5, None).await.unwrap();
    let one = batch(folder.path(), "one", "prefix = \"a-\"\ncount = 4", "source = \"station\"", 4);
    let two = batch(folder.path(), "two", "prefix = \"b-\"\ncount = 4", "source = \"station\"", 2);
    let (first, second) = tokio::join!(run(&authority, &one), run(&authority, &two));
    assert_eq!(first.made + second.made, 5);
    assert!(second.made <= 2, "its own quota");
    for _ in 0..2 {
        let again = run(&authority, &one).await;
        assert_eq!((again.made, again.station_left), (0, 0));
    }
    assert_eq!(factory_identities(&authority).await, 5);
    // A serial of one batch is no serial of another.
    let three = batch(folder.path(), "three", "list = [\"a-000001\"]", "source = \"station\"", 1);
    authority.set_station("line-1", Some(100), None).await.unwrap();
    let report = run(&authority, &three).await;
    assert!(report.refused[0].1.contains("belongs to batch one"), "{report:?}");
    authority.set_station("line-1", None, Some(false)).await.unwrap();
    let closed = authority.provision_batch(&two, Requests::default(), false, |_, _| ()).await;
    assert!(closed.unwrap_err().to_string().contains("closed"));
    let changed =
        batch(folder.path(), "one", "prefix = \"a-\"\ncount = 5", "source = \"station\"", 5);
    authority.set_station("line-1", None, Some(true)).await.unwrap();
    let changed = authority.provision_batch(&changed, Requests::default(), false, |_, _| ()).await;
    assert!(changed.unwrap_err().to_string().contains("another name"));
}

pub(super) fn request_line(serial: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let csr = base64::engine::general_purpose::STANDARD.encode(der);
    format!("{{\"serial\":\"{serial}\",\"csr\":\"{csr}\"}}\n")
}

/// Decision 0041: new devices carry all roots, and their label names the one that their IDevID is below.
#[tokio::test]
async fn a_batch_across_a_roll_of_the_root_has_labels_of_both_roots() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    authority.add_station("line-1", 100, None).await.unwrap();
    let serials = "list = [\"lamp-1\", \"lamp-2\"]";
    let batch = batch(folder.path(), "b", serials, "source = \"device\"\nrequests = \"-\"", 2);
    let (old, new) = (device("lamp-1").1, device("lamp-2").1);
    let ask = |lines: String| Requests::in_lines("lines", lines.as_bytes()).unwrap();
    let first = authority.authorities().unwrap().root().clone();
    let line = request_line("lamp-1", &old);
    authority.provision_batch(&batch, ask(line.clone()), false, |_, _| ()).await.unwrap();
    roll_root(&authority).await;
    let second = authority.authorities().unwrap().root().clone();
    std::fs::remove_file(batch.out().join("lamp-1.factory")).unwrap();
    let both = ask([line, request_line("lamp-2", &new)].concat());
    let report = authority.provision_batch(&batch, both, false, |_, _| ()).await.unwrap();
    assert_eq!((report.made, report.completed), (1, 1), "{report:?}");
    let labels = authority.batch_labels("b", &[]).await.unwrap();
    assert_eq!(labels.len(), 2);
    for (label, above, other) in [(&labels[0], &first, &second), (&labels[1], &second, &first)] {
        let made = package(&batch, label.thing().as_str());
        assert_eq!(made.roots, [above.der(), other.der()], "{}", label.thing());
        assert!(label.root().matches_sha256(&above.fingerprint()), "{}", label.thing());
        let issuer = Certificate::from_der(&made.chain[1]).unwrap();
        issuer.verify_signed_by(above).unwrap();
    }
}

#[tokio::test]
async fn devices_keep_their_keys_and_bad_requests_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    authority.add_station("line-1", 100, None).await.unwrap();
    let serials = "list = [\"lamp-1\", \"lamp-2\", \"lamp-3\", \"lamp-4\"]";
    let batch = batch(folder.path(), "b", serials, "source = \"device\"\nrequests = \"-\"", 4);
    let line = request_line;
    let (key, good) = device("lamp-1");
    let mut forged = device("lamp-3").1;
    let end = forged.len() - 1;
    forged[end] ^= 1;
    let clone = csr::request(&key, "lamp-4").unwrap();
    let lines = [
        line("lamp-1", &good),
        line("lamp-2", &device("lamp-9").1),
        line("lamp-3", &forged),
        line("lamp-4", &clone),
        line("stranger", &device("stranger").1),
    ];
    let ask = |lines: &str| Requests::in_lines("lines", lines.as_bytes()).unwrap();
    let look = authority.provision_batch(&batch, ask(&lines[0]), true, |_, _| ()).await.unwrap();
    assert_eq!((look.made, look.waiting.len()), (1, 3));
    let all = ask(&lines.concat());
    let report = authority.provision_batch(&batch, all, false, |_, _| ()).await.unwrap();
    let refused: Vec<&str> = report.refused.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(report.made, 1, "{report:?}");
    assert_eq!(refused, ["stranger", "lamp-2", "lamp-3", "lamp-4"]);
    let made = package(&batch, "lamp-1");
    assert!(made.key.is_none());
    let leaf = Certificate::from_der(&made.chain[0]).unwrap();
    assert_eq!(leaf.spki_der(), key.spki_der());
    // Refused serials gave their places back; with good requests they are made.
    let lines = [line("lamp-1", &device("lamp-1").1), line("lamp-3", &device("lamp-3").1)];
    let again = authority.provision_batch(&batch, ask(&lines.concat()), false, |_, _| ()).await;
    let again = again.unwrap();
    assert_eq!((again.made, again.batch_left), (1, 2));
    assert!(again.refused[0].1.contains("another key"), "{again:?}");
}
