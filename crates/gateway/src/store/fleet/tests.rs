//! What is noted comes back, bounded, also for a reader in another process and from an older file.

use super::*;
use countersign_crypto::policy::{CompiledPolicy, Use};

fn sighting(subject: &str, group: &str, offered: Option<&str>, at: u64) -> Sighting {
    Sighting {
        subject: subject.into(),
        version: "TLS 1.3".into(),
        suite: "TLS_AES_128_GCM_SHA256".into(),
        group: group.into(),
        offered: offered.map(|text| text.parse().unwrap()),
        certificate: Certificate {
            serial: format!("{at:032x}"),
            key: Some("ecdsa_secp256r1_sha256".into()),
            signature: None,
            not_after: Timestamp(at + 1_000),
        },
        at: Timestamp(at),
    }
}

async fn open(path: &Path) -> Store {
    Store::open(path).await.unwrap().0
}

#[tokio::test]
async fn the_newest_of_each_is_kept_and_what_is_held_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let mut store = open(&path).await;
    let held = HeldPolicy { subject: "thing:plug-1".into(), version: 4, at: Timestamp(1) };
    store.note_policy(&held).await.unwrap();
    let (old, new) = ("1301;0017;0403;", "1302,1301;11ec,0017;0403,0503;alpn");
    let notes = [
        sighting("thing:plug-1", "secp256r1", Some(old), 5),
        sighting("thing:plug-1", "X25519MLKEM768", Some(new), 6),
        sighting("thing:plug-1", "secp256r1", Some(old), 9),
        sighting("service:backend", "secp256r1", None, 7),
    ];
    store.note(&notes).await.unwrap();

    // The writer is still open: another process reads beside it.
    let fleet = read_fleet(&path).await.unwrap();
    assert_eq!(fleet, store.fleet().await.unwrap());
    let [backend, plug] = &fleet[..] else { panic!("{fleet:?}") };
    assert_eq!(backend.offers, []);
    assert_eq!((plug.first_seen, plug.last_seen), (Timestamp(1), Timestamp(9)));
    assert_eq!(plug.policy_version, Some(4));
    assert_eq!(plug.certificate, Some(notes[2].certificate.clone()));
    let kinds: Vec<_> = plug.negotiated.iter().map(|one| (one.group.as_str(), one.at.0)).collect();
    assert_eq!(kinds, [("secp256r1", 9), ("X25519MLKEM768", 6)]);
    let offers: Vec<_> = plug
        .offers
        .iter()
        .map(|offer| (offer.offered.to_string(), offer.first.0, offer.last.0))
        .collect();
    assert_eq!(offers, [(old.to_owned(), 5, 9), (new.to_owned(), 6, 6)]);
}

#[tokio::test]
async fn a_subject_that_always_offers_something_else_keeps_few_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("gateway.db")).await;
    for at in 0..30 {
        let offer = format!("1301;{:04x};0403;", 0x4000 + at);
        store.note(&[sighting("thing:odd", "secp256r1", Some(&offer), at)]).await.unwrap();
    }
    let fleet = store.fleet().await.unwrap();
    let kept: Vec<u64> = fleet[0].offers.iter().map(|offer| offer.last.0).collect();
    assert_eq!(kept, (22..30).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_of_the_first_version_holds_what_was_negotiated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let mut store = open(&path).await;
    store.note(&[sighting("thing:plug-1", "secp256r1", Some("1301;0017;0403;"), 5)]).await.unwrap();
    // As the first version left it.
    for statement in [
        "DROP TABLE seen",
        "DROP TABLE offers",
        "DROP TABLE anchors",
        "DELETE FROM schema_version WHERE version > 1",
    ] {
        sqlx::query(statement).execute(&mut store.connection).await.unwrap();
    }
    let fleet = read_fleet(&path).await.unwrap();
    assert_eq!(fleet.len(), 1);
    assert_eq!(fleet[0].negotiated[0].group, "secp256r1");
    assert_eq!((&fleet[0].certificate, fleet[0].offers.len()), (&None, 0));
    store.close().await;
    // The next start brings it up to date and loses nothing.
    let mut store = open(&path).await;
    assert_eq!(store.fleet().await.unwrap(), fleet);
}

#[tokio::test]
async fn damage_and_a_newer_file_are_named_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    assert!(read_fleet(&path).await.is_err());
    assert!(!path.exists(), "a reader makes no file");
    let mut store = open(&path).await;
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(&mut store.connection)
        .await
        .unwrap();
    let error = read_fleet(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    let path = folder.path().join("damaged.db");
    std::fs::write(&path, b"this is no database, however long it may be. ".repeat(40)).unwrap();
    let error = read_fleet(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn what_was_never_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("gateway.db")).await;
    let rules = CompiledPolicy::built_in();
    let offered = Offered::of_policy(rules.rules(Use::DeviceUplink)).to_string();
    store.note(&[sighting("thing:plug-1", "secp256r1", Some(&offered), 5)]).await.unwrap();
    sqlx::query("UPDATE offers SET offer = 'nonsense'")
        .execute(&mut store.connection)
        .await
        .unwrap();
    let error = store.fleet().await.unwrap_err();
    assert!(matches!(error, StoreError::Row { what: "offer", .. }), "{error}");
}

//= specs/house.md#house-anchors
//= type=test
//# A gateway MUST note the newest root that each device has acknowledged.
//= specs/house.md#house-anchors
//= type=test
//# A gateway MUST note from which place on each device says that it trusts roots.
#[tokio::test]
async fn the_root_that_a_device_trusts_is_noted_and_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let mut store = open(&path).await;
    store.note(&[sighting("thing:plug-1", "x25519", None, 5)]).await.unwrap();
    let held = |root: Option<&str>, at: u64| HeldRoot {
        subject: "thing:plug-1".into(),
        root: root.map(str::to_owned),
        floor: (at == 7).then_some(2),
        at: Timestamp(at),
    };
    for (root, at) in [(Some("aa"), 6), (Some("bb"), 7), (Some("bb"), 7), (None, 9), (None, 8)] {
        store.note_root(&held(root, at)).await.unwrap();
    }
    // Whoever was never seen is not made up.
    let stranger = HeldRoot { subject: "thing:nobody".into(), ..held(Some("cc"), 9) };
    store.note_root(&stranger).await.unwrap();
    // Killed: nobody closes it.
    drop(store);
    let fleet = read_fleet(&path).await.unwrap();
    let [plug] = &fleet[..] else { panic!("{fleet:?}") };
    assert_eq!((plug.root.as_deref(), plug.last_seen), (Some("bb"), Timestamp(9)));
    assert_eq!(plug.root_floor, Some(2));
    assert_eq!(open(&path).await.fleet().await.unwrap(), fleet);
    // As the version before this left it: what was noted then is still there, and more can be.
    let mut store = open(&path).await;
    for statement in
        ["ALTER TABLE anchors DROP COLUMN floor", "DELETE FROM schema_version WHERE version > 3"]
    {
        sqlx::query(statement).execute(&mut store.connection).await.unwrap();
    }
    drop(store);
    let older = read_fleet(&path).await.unwrap();
    assert_eq!((older[0].root.as_deref(), older[0].root_floor), (Some("bb"), None));
    let mut store = open(&path).await;
    store.note_root(&held(Some("bb"), 7)).await.unwrap();
    assert_eq!(store.fleet().await.unwrap(), fleet);
}
