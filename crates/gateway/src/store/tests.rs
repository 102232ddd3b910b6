//! The file: what was stored comes back, what was not acknowledged may be missing, damage is named.

use super::*;
use crate::broker::Input;
use crate::broker::record::Record;
use crate::broker::tests::kit::{Dial, World, backend, device, got, kept, v5};
use crate::config::Limits;

const POWER: &str = "things/plug-1/properties/power";

async fn open(path: &Path) -> (Store, Snapshot) {
    Store::open(path).await.unwrap()
}

/// A gateway's life until its process is killed: everything handed to the disk before is there, nothing else is.
async fn apply(store: &mut Store, world: &mut World) {
    for (_, records) in std::mem::take(&mut world.batches) {
        store.apply(&records).await.unwrap();
    }
}

fn filled() -> World {
    let mut world = World::new();
    world.disk_works = false;
    let subscriber = world.dial(&backend(), kept(v5("s")));
    world.client(subscriber).subscribe(&[("things/+/properties/#", 2), ("$share/g/home/+", 1)]);
    world.settle();
    world.cut(subscriber);
    let plug = world.dial(&device("plug-1"), Dial { clean: true, ..kept(v5("plug-1")) });
    world.client(plug).publish(POWER, "kept", 1, true);
    world.client(plug).publish(POWER, "twice", 2, false);
    world.settle();
    world
}

//= specs/house.md#house-mqtt
//= type=test
//# An acknowledged message for a persistent session MUST survive the death of the gateway.
#[tokio::test]
async fn a_killed_gateway_forgets_nothing_that_it_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let (mut store, empty) = open(&path).await;
    assert_eq!(empty, Snapshot::default());
    let mut world = filled();
    apply(&mut store, &mut world).await;
    // The process is killed between the commit and the acknowledgement: no ticket was ever confirmed.
    drop(store);
    let (_, snapshot) = open(&path).await;
    assert_eq!(snapshot.retained.len(), 1);
    assert_eq!(snapshot.sessions.len(), 2);

    let mut world = World::with(Limits::default(), snapshot);
    let again = world.dial(&backend(), kept(v5("s")));
    assert_eq!(world.client(again).connack(), Some((0, true)));
    let expected = [got(POWER, "kept", 1, false), got(POWER, "twice", 2, false)];
    assert_eq!(world.messages(again), expected);
    let later = world.dial(&backend(), v5("later"));
    world.subscribe(later, &[("things/#", 0)]);
    assert_eq!(world.messages(later), [got(POWER, "kept", 0, true)]);
    // The QoS 2 message that was taken is known as such: its repetition is not a new message.
    let plug = world.dial(&device("plug-1"), kept(v5("plug-1")));
    assert_eq!(world.client(plug).connack(), Some((0, true)));
    let mut repeated = vec![0x3c, 0, 0, u8::try_from(POWER.len()).unwrap()];
    repeated.extend(POWER.as_bytes());
    repeated.extend([0, 2, 0]);
    repeated.extend(b"twice");
    repeated[1] = u8::try_from(repeated.len() - 2).unwrap();
    world.clients.remove(&plug);
    world.bytes(plug, &repeated);
    assert_eq!(world.raw, [0x50, 3, 0, 2, 0], "PUBREC");
    assert_eq!(world.messages(again), []);
}

#[tokio::test]
async fn an_unstored_message_was_never_acknowledged() {
    let mut world = filled();
    let (conn, client) =
        world.clients.iter().max_by_key(|(conn, _)| conn.0).map(|(conn, c)| (*conn, c)).unwrap();
    assert_eq!(client.pubacks(), [], "the disk has stopped, and so have acknowledgements");
    let tickets: Vec<_> = world.batches.iter().map(|(ticket, _)| *ticket).collect();
    for ticket in tickets {
        world.call(|broker, context| broker.handle(Input::Stored { ticket }, context));
    }
    assert_eq!(world.client(conn).pubacks().len(), 1);
}

#[tokio::test]
async fn what_is_done_leaves_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let (mut store, _) = open(&path).await;
    let mut world = filled();
    let again = world.dial(&backend(), kept(v5("s")));
    world.disk_works = true;
    world.settle();
    world.client(again).subscribe(&[(POWER, 0)]);
    world.settle();
    store.apply(&world.log).await.unwrap();
    let (_, snapshot) = open(&path).await;
    let session = snapshot.sessions.iter().find(|s| &*s.name.client_id == "s").unwrap();
    assert_eq!(session.messages, []);
    assert_eq!(session.subscriptions.len(), 3);
    assert_eq!(session.subject, backend());

    // A clean start removes it all.
    world.log.clear();
    world.dial(&backend(), v5("s"));
    store.apply(&world.log).await.unwrap();
    let (_, snapshot) = open(&path).await;
    assert!(snapshot.sessions.iter().all(|s| &*s.name.client_id != "s"));
}

#[tokio::test]
async fn a_batch_is_applied_wholly_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let (mut store, _) = open(&path).await;
    let mut world = filled();
    let records: Vec<Record> = world.batches.drain(..).flat_map(|(_, records)| records).collect();
    let queued = records.iter().find(|r| matches!(r, Record::Queued { .. })).unwrap().clone();
    let mut twice = records.clone();
    // The same place in the same queue again is what no broker says.
    twice.push(queued);
    assert!(store.apply(&twice).await.is_err());
    let (_, snapshot) = open(&path).await;
    assert_eq!(snapshot, Snapshot::default());
    store.apply(&records).await.unwrap();
}

//= specs/house.md#house-state
//= type=test
//# A corrupt state file MUST be refused with its name and the mend.
#[tokio::test]
async fn a_damaged_file_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    std::fs::write(
        &path,
        b"this is no database, but it is long enough to look like one. ".repeat(40),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("gateway.db") && text.contains("Move it"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn an_unreadable_row_and_a_newer_schema_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let (mut store, _) = open(&path).await;
    sqlx::query("INSERT INTO taken (session, packet_id) VALUES (1, 70000)")
        .execute(&mut store.connection)
        .await
        .unwrap();
    drop(store);
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Row { what: "taken packet identifier", .. }), "{error}");

    let path = folder.path().join("newer.db");
    let (mut store, _) = open(&path).await;
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(&mut store.connection)
        .await
        .unwrap();
    drop(store);
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}
