//! Kits: a batch leaves once, whole, under one authorisation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::batches::{batch, request_line, run};
use super::*;
use crate::factory::requests::Requests;
use crate::factory::station::Station;
use crate::factory::{Batch, ItemState, Outcome};
use crate::testing::{TestClock, ready_at};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority, a station away from it, and a batch for that station.
struct Line {
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    authority: Authority,
    station: Station,
    batch: Batch,
}

impl Line {
    async fn new(serials: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let authority = ready_at(folder.path(), clock.clone()).await;
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let station = Station::init(&folder.path().join("line-1"), "line-1", algorithm).unwrap();
        let request = station.request().unwrap();
        authority.add_station("line-1", 100, Some(&request)).await.unwrap();
        let batch = batch(folder.path(), "b", serials, keys, 10);
        Self { folder, clock, authority, station, batch }
    }

    fn kit(&self) -> PathBuf {
        self.folder.path().join("kit")
    }

    async fn export(&self) -> Result<u64, String> {
        let kit = self.kit();
        let _ = std::fs::remove_dir_all(&kit);
        let made = self.authority.export_kit("b", self.batch.out(), &kit, 30).await;
        made.map_err(|error| error.to_string())
    }

    fn import(&self) -> Vec<u8> {
        let pin = hex::encode(sha256(&self.authority.factory_key().unwrap()));
        let transport = self.batch.out().join("transport.key");
        self.station.import(&self.kit(), &transport, Some(&pin), self.now()).unwrap();
        std::fs::read(self.kit().join(super::super::kit::AUTHORISATION)).unwrap()
    }

    async fn ship(&self, serial: &str) {
        let thing: ThingId = serial.parse().unwrap();
        self.station.take("b", Some(&thing), false, self.now()).unwrap();
        self.station.mark("b", &thing, Outcome::Shipped, "", self.now()).unwrap();
        let manifest = std::fs::read(self.station.manifest("b")).unwrap();
        assert_eq!(self.authority.reconcile(&manifest).await.unwrap().shipped, 1);
    }

    fn now(&self) -> countersign_model::time::Timestamp {
        self.authority.core.now()
    }
}

#[tokio::test]
async fn a_kit_that_is_given_again_is_the_same_and_its_records_go_on() {
    let line = Line::new("prefix = \"p-\"\ncount = 3", "source = \"station\"").await;
    run(&line.authority, &line.batch).await;
    assert_eq!(line.export().await, Ok(3));
    let first = line.import();
    line.ship("p-000001").await;
    assert_eq!(line.export().await, Ok(3));
    assert_eq!(line.import(), first);
    line.ship("p-000002").await;
}

#[tokio::test]
async fn an_authorisation_that_has_ended_is_not_followed_by_another() {
    let line = Line::new("prefix = \"p-\"\ncount = 1", "source = \"station\"").await;
    run(&line.authority, &line.batch).await;
    assert_eq!(line.export().await, Ok(1));
    line.import();
    let thing: ThingId = "p-000001".parse().unwrap();
    line.station.take("b", Some(&thing), false, line.now()).unwrap();
    line.station.mark("b", &thing, Outcome::Shipped, "", line.now()).unwrap();
    line.clock.forward(31 * DAY);
    let refused = line.export().await.unwrap_err();
    assert!(refused.contains("has ended") && refused.contains("another batch"), "{refused}");
    // What the station said in time is still taken.
    let manifest = std::fs::read(line.station.manifest("b")).unwrap();
    assert_eq!(line.authority.reconcile(&manifest).await.unwrap().shipped, 1);
}

#[tokio::test]
async fn a_batch_that_was_handed_out_does_not_grow() {
    let serials = "list = [\"lamp-1\", \"lamp-2\"]";
    let line = Line::new(serials, "source = \"device\"\nrequests = \"-\"").await;
    let mut lines = String::new();
    for (serial, exported) in [("lamp-1", true), ("lamp-2", false)] {
        lines.push_str(&request_line(serial, &device(serial).1));
        let requests = Requests::in_lines("lines", lines.as_bytes()).unwrap();
        line.authority.provision_batch(&line.batch, requests, false, |_, _| ()).await.unwrap();
        match line.export().await {
            Ok(count) => assert!(exported && count == 1, "{serial}"),
            Err(why) => assert!(!exported && why.contains("other identities"), "{serial}: {why}"),
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_not_whole_does_not_leave() {
    let line = Line::new("prefix = \"p-\"\ncount = 2", "source = \"station\"").await;
    run(&line.authority, &line.batch).await;
    let mut turn = line.authority.core.store.exclusive().await.unwrap();
    let mut item = turn.item("p-000002").await.unwrap().unwrap();
    let issued = item.clone();
    item.state = ItemState::Reserved;
    turn.put_item(&item).await.unwrap();
    turn.commit().await.unwrap();
    let refused = line.export().await.unwrap_err();
    assert!(refused.contains("provision it to its end"), "{refused}");
    let mut turn = line.authority.core.store.exclusive().await.unwrap();
    turn.put_item(&issued).await.unwrap();
    turn.commit().await.unwrap();
    assert_eq!(line.export().await, Ok(2));
}

#[tokio::test]
async fn a_manifest_is_verified_while_others_write() {
    let line = Line::new("prefix = \"p-\"\ncount = 1", "source = \"station\"").await;
    run(&line.authority, &line.batch).await;
    line.export().await.unwrap();
    line.import();
    let thing: ThingId = "p-000001".parse().unwrap();
    line.station.take("b", Some(&thing), false, line.now()).unwrap();
    let mut manifest = std::fs::read(line.station.manifest("b")).unwrap();
    let last = manifest.len() - 1;
    manifest[last] ^= 1;
    let turn = line.authority.core.store.exclusive().await.unwrap();
    let reconciled = line.authority.reconcile(&manifest);
    let refused = tokio::time::timeout(Duration::from_secs(5), reconciled).await;
    let refused = refused.expect("nobody waits for the writer's turn to verify");
    assert!(refused.unwrap_err().to_string().contains("record 0"), "the signature is changed");
    drop(turn);
}
