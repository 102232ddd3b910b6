//! Kills, torn writes and tampering.
#![allow(clippy::unwrap_used)]

use super::super::record::{Home, Slot};
use super::*;
use countersign_crypto::certificate::Certificate;
use countersign_crypto::issue::{CaTemplate, Serial, self_signed_ca};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::time::{Timestamp, Validity};
use countersign_protocol::pairing::{GatewayAddress, NetworkCredentials};
use countersign_protocol::permit::device::AccessList;
use std::fs;
use std::sync::{Arc, OnceLock};

struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
    key: SealKey,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sealed");
        Self { _folder: folder, path, key: SealKey::generate(&mut SystemRandom) }
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.path, self.key.clone(), Box::new(SystemRandom))
    }

    /// A store that has counted three attempts, so that the previous copy says two.
    fn counted(&self) {
        let store = self.open().unwrap();
        for _ in 0..3 {
            store.update(|record| record.attempts = record.attempts.charged(Timestamp(1))).unwrap();
        }
    }
}

fn anchor() -> Certificate {
    static ANCHOR: OnceLock<Certificate> = OnceLock::new();
    let make = || {
        let template = CaTemplate {
            common_name: "home".to_owned(),
            organisation: "home".to_owned(),
            country: "DE".to_owned(),
            validity: Validity { not_before: Timestamp(0), not_after: Validity::FOREVER },
            serial: Serial::random(&mut SystemRandom),
        };
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        self_signed_ca(&template, &key).unwrap()
    };
    ANCHOR.get_or_init(make).clone()
}

#[test]
fn everything_comes_back() {
    let world = World::new();
    world
        .open()
        .unwrap()
        .update(|record| {
            record.phase = DeviceState::Initialised;
            record.home = Some(Home {
                anchor: anchor(),
                access: AccessList::first_owner("ada".parse().unwrap()),
                network: Some(Arc::new(NetworkCredentials {
                    ssid: "home".to_owned(),
                    key: Secret::new(b"wifi".to_vec(), Strength(128)),
                })),
                gateway: Some(GatewayAddress {
                    mqtt: "m:1".to_owned(),
                    est: "e:2".to_owned(),
                    server_name: "m".to_owned(),
                }),
            });
            record.next = Some(Slot { key: "ldevid-7".to_owned(), chain: None });
            record.next_label = 8;
            record.command_floor = Timestamp(77);
        })
        .unwrap();
    let store = world.open().unwrap();
    assert!(!store.recovered());
    let record = store.get();
    assert_eq!(record.phase, DeviceState::Initialised);
    let home = record.home.as_ref().unwrap();
    assert_eq!(home.access.role_of(&"ada".parse().unwrap()), Some(Role::Owner));
    assert_eq!(home.anchor, anchor());
    assert!(home.network.as_ref().unwrap().key.expose(|bytes| bytes == b"wifi"));
    assert_eq!(home.gateway.as_ref().unwrap().est, "e:2");
    assert_eq!(record.labels(), ["ldevid-7"]);
    assert_eq!((record.next_label, record.command_floor.0), (8, 77));
}

//= specs/house.md#house-secrets
//= type=test
//# A sealing key, a setup code's verifier and a network key MUST lie in locked memory where the machine gives it.
#[test]
fn a_network_key_that_is_replaced_lies_in_locked_memory() {
    let key = || Secret::new(b"another wifi".to_vec(), Strength(128));
    let machine_gives_it = key().locked().is_locked();
    let world = World::new();
    let store = paired(&world);
    let network = Arc::new(NetworkCredentials { ssid: "home".to_owned(), key: key() });
    store.update(|record| record.home.as_mut().unwrap().network = Some(network)).unwrap();
    for store in [store, world.open().unwrap()] {
        let network = store.get().home.unwrap().network.unwrap();
        assert_eq!(network.key.is_locked(), machine_gives_it);
        assert_eq!(network.key.strength(), Strength(128));
        assert!(network.key.expose(|bytes| bytes == b"another wifi"));
    }
}

#[test]
fn a_torn_file_falls_back_to_the_last_good_one() {
    let world = World::new();
    world.counted();
    let whole = fs::read(&world.path).unwrap();
    for torn in
        [&whole[..0], &whole[..3], &whole[..HEADER], &whole[..whole.len() - 1], &[0; 64][..]]
    {
        fs::write(&world.path, torn).unwrap();
        let store = world.open().unwrap();
        assert!(store.recovered());
        assert_eq!(store.get().attempts.failed(), 2, "{} bytes", torn.len());
    }
    fs::remove_file(&world.path).unwrap();
    assert_eq!(world.open().unwrap().get().attempts.failed(), 2);
}

#[test]
fn a_changed_file_is_refused_by_name_and_never_replaced_by_a_guess() {
    let world = World::new();
    world.counted();
    let whole = fs::read(&world.path).unwrap();
    for index in [0, HEADER, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        fs::write(&world.path, changed).unwrap();
        let error = world.open().err().unwrap().to_string();
        assert!(error.contains("state.sealed") && error.contains("reset"), "{error}");
    }
    // The advice works: the copy beside it is whole.
    fs::copy(file::previous(&world.path), &world.path).unwrap();
    assert_eq!(world.open().unwrap().get().attempts.failed(), 2);
}

#[test]
fn both_files_torn_is_an_error_not_a_new_device() {
    let world = World::new();
    world.counted();
    fs::write(&world.path, b"").unwrap();
    fs::write(file::previous(&world.path), b"").unwrap();
    assert!(matches!(world.open(), Err(StoreError::Changed(_))));
}

#[test]
fn a_change_that_cannot_be_written_did_not_happen() {
    let world = World::new();
    world.counted();
    let store = world.open().unwrap();
    fs::remove_dir_all(world.path.parent().unwrap()).unwrap();
    assert!(store.update(|record| record.next_label = 99).is_err());
    assert_eq!(store.get().next_label, 1);
}

#[test]
fn what_is_replaced_for_good_is_in_no_file() {
    let world = World::new();
    world.counted();
    let store = world.open().unwrap();
    store.replace_for_good(store.get().forgotten(), world.key.clone()).unwrap();
    for path in [world.path.clone(), file::previous(&world.path)] {
        let Found::Good(record) = load(&path, &world.key).unwrap() else { panic!("not good") };
        assert_eq!(record.attempts.failed(), 0);
    }
}

/// A paired device's store, and what its record said when it was read from disk anew.
fn paired(world: &World) -> Store {
    let store = world.open().unwrap();
    let change = |record: &mut Record| {
        record.phase = DeviceState::Initialised;
        let access = AccessList::first_owner("ada".parse().unwrap());
        record.home = Some(Home { anchor: anchor(), access, network: None, gateway: None });
    };
    store.update(change).unwrap();
    store
}

fn noted(world: &World) -> Vec<String> {
    let record = world.open().unwrap().get();
    let line = |entry: &countersign_protocol::journal::Entry| {
        let note = entry.note();
        let who = note.person().map(|who| format!(" {who}")).unwrap_or_default();
        let role = note.role().map(|role| format!(" {role}")).unwrap_or_default();
        format!("{}{who}{role} by {}", note.what().as_str(), entry.by())
    };
    record.journal.entries().map(line).collect()
}

//= specs/house.md#house-sharing
//= type=test
//# A change of who may what MUST be stored together with its entry in the device's record, or not at all.
#[test]
fn whatever_changes_permissions_is_noted_in_the_same_write_and_nothing_else_is() {
    let world = World::new();
    let store = paired(&world);
    let list = |text: &str| serde_json::from_str::<AccessList>(text).unwrap();
    let lists = [
        r#"[{"person":"ada","role":"owner"},{"person":"bob","role":"viewer"}]"#,
        r#"[{"person":"ada","role":"owner"},{"person":"bob","role":"member"}]"#,
        r#"[{"person":"ada","role":"owner"}]"#,
    ];
    for text in lists {
        let access = list(text);
        let change = |record: &mut Record| record.home.as_mut().unwrap().access = access;
        store.update_by("person:ada", change).unwrap();
    }
    let key = Secret::new(b"wifi".to_vec(), Strength(128));
    let network = Arc::new(NetworkCredentials { ssid: "home".to_owned(), key });
    let change = |record: &mut Record| record.home.as_mut().unwrap().network = Some(network);
    store.update_by("person:ada", change).unwrap();
    // These change nothing of it.
    store.update(|record| record.attempts = record.attempts.charged(Timestamp(1))).unwrap();
    store.update(|record| record.time_floor = Timestamp(7)).unwrap();
    store.update(|record| record.phase = DeviceState::Resetting).unwrap();
    assert_eq!(
        noted(&world),
        [
            "paired ada owner by the setup code",
            "role-given bob viewer by person:ada",
            "role-changed bob member by person:ada",
            "unshared bob by person:ada",
            "network-replaced by person:ada",
            "reset by an owner, or somebody at the device",
        ]
    );
    let left = store.get().forgotten().journal;
    assert_eq!((left.entries().count(), left.head()), (1, store.get().journal.head()));
}
