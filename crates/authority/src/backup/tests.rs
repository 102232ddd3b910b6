//! Backup and restore within one process; `crates/cli/tests/e2e/backup.rs` has the processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use countersign_crypto::envelope::RecipientKey;

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::{Reason, State};
use crate::testing::ready;
use crate::{Authority, Sources};

async fn enrol(authority: &Authority, folder: &Path, name: &str) {
    let names = EnrolNames::One(name.to_owned());
    let (profile, out) = (EnrolProfile::Device, folder.join("out"));
    let wanted = EnrolRequest { profile, names, out, force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
}

struct House {
    folder: tempfile::TempDir,
    authority: Authority,
    key: RecipientKey,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = ready(&folder.path().join("data")).await;
        Self { folder, authority, key: RecipientKey::generate().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn backup(&self, name: &str) -> BackupMade {
        let to = [self.key.recipient().clone()];
        self.authority.backup(&self.path(name), &to, Path::new("none")).await.unwrap()
    }

    async fn restore(
        &self,
        name: &str,
        into: &str,
        ledger: Option<&Path>,
    ) -> Result<Restored, AuthorityError> {
        let (backup, data) = (self.path(name), self.path(into));
        let restoring = Restoring::open(&backup, &self.key, &data, &Pinned::default(), ledger)?;
        let config = crate::testing::restored(&self.path("data"), &data);
        restoring.finish(config, Sources::system()).await
    }

    async fn open(&self, name: &str) -> Authority {
        let config = crate::testing::restored(&self.path("data"), &self.path(name));
        Authority::open(&self.path(name), config, Sources::system()).await.unwrap()
    }
}

//= specs/house.md#house-backup
//= type=test
//# A restored authority MUST NOT sign checkpoints under the key of the ledger before.
//= specs/house.md#house-backup
//= type=test
//# The key that signs the ledger's checkpoints MUST NOT be in a backup.
#[tokio::test]
async fn what_was_restored_goes_on_and_forks_nothing() {
    let house = House::new().await;
    enrol(&house.authority, house.folder.path(), "plug-000001").await;
    let made = house.backup("one.backup").await;
    assert!(!made.manifest.files.keys().any(|name| name.contains("ledger.key")));
    // What the old one signs after the backup, nobody signs again.
    enrol(&house.authority, house.folder.path(), "plug-000002").await;
    let old = house.authority.ledger_checkpoint().await.unwrap();
    let old_key = house.authority.ledger_key();
    let restored = house.restore("one.backup", "new", None).await.unwrap();
    assert_eq!((restored.entries, restored.findings.len()), (made.manifest.ledger_entries, 0));
    let authority = house.open("new").await;
    assert_ne!(authority.ledger_key(), old_key);
    enrol(&authority, house.folder.path(), "plug-000003").await;
    let new = authority.ledger_checkpoint().await.unwrap();
    assert!(new.checkpoint().size > made.manifest.ledger_entries);
    assert_ne!(new.checkpoint().origin, old.checkpoint().origin);
    assert!(!new.note().signed_by(&old_key).unwrap_or(false));
    // The entries before are the same, and the new ledger says what it is.
    let (ours, theirs) = (
        authority.ledger_entries().await.unwrap(),
        house.authority.ledger_entries().await.unwrap(),
    );
    let common = usize::try_from(restored.entries).unwrap();
    assert_eq!(ours[..common], theirs[..common]);
    let said = ours.iter().find(|entry| entry.kind == Kind::Restored).unwrap();
    assert_eq!(said.body["former_key"], old_key.to_string());
    // Generations do not come again.
    let before = house.authority.core.store.generation().await.unwrap();
    assert!(authority.core.store.generation().await.unwrap() > before + (1 << 31));
    let known = authority.subjects().await.unwrap();
    let names: Vec<_> = known.iter().map(|one| one.subject.name()).collect();
    assert!(names.contains(&"plug-000001") && !names.contains(&"plug-000002"), "{names:?}");
}

async fn policy_key_rolled(authority: &Authority) {
    let go_on = |_| std::ops::ControlFlow::Continue(());
    authority.prepare_policy_key(None, false, go_on).await.unwrap();
    authority.activate_policy_key(go_on).await.unwrap();
}

#[tokio::test]
async fn the_line_of_policy_keys_comes_back_and_one_that_is_missing_is_told() {
    let house = House::new().await;
    let first = house.authority.policy_verification_key().unwrap();
    policy_key_rolled(&house.authority).await;
    let second = house.authority.policy_verification_key().unwrap();
    house.backup("one.backup").await;
    let restored = house.restore("one.backup", "new", None).await.unwrap();
    assert_eq!(restored.findings, Vec::<String>::new());
    let authority = house.open("new").await;
    assert_eq!(authority.policy_verification_key().unwrap(), second);
    assert_eq!(authority.authorities().unwrap().first_policy_key(), first);
    let policy = authority.first_policy().await.unwrap().document;
    assert!(countersign_crypto::policy::verify(&policy, &first).is_ok());
    drop(authority);

    policy_key_rolled(&house.authority).await;
    house.authority.ledger_checkpoint().await.unwrap();
    let old = house.authority.layout().ledger();
    let restored = house.restore("one.backup", "behind", Some(&old)).await.unwrap();
    assert!(restored.findings.iter().any(|one| one.starts_with("policy-3")), "{restored:?}");
}

//= specs/house.md#house-backup
//= type=test
//# A revocation that the ledger tells of MUST be in force in a restored authority.
#[tokio::test]
async fn the_old_ledger_brings_the_revocations_since() {
    let house = House::new().await;
    for name in ["plug-000001", "plug-000002"] {
        enrol(&house.authority, house.folder.path(), name).await;
    }
    house.backup("one.backup").await;
    let target = "thing:plug-000001".parse().unwrap();
    let done = house.authority.revoke(&target, Reason::KeyCompromise).await.unwrap();
    enrol(&house.authority, house.folder.path(), "plug-000003").await;
    house.authority.ledger_checkpoint().await.unwrap();
    let old = house.authority.layout().ledger();

    let without = house.restore("one.backup", "without", None).await.unwrap();
    assert_eq!((without.later, without.revocations, without.unknown), (0, 0, 0));
    let with = house.restore("one.backup", "with", Some(&old)).await.unwrap();
    assert_eq!((with.revocations, with.unknown), (1, 1));
    assert!(with.later >= 4, "{with:?}");
    let authority = house.open("with").await;
    assert!(authority.registry().revoked(&done.serials[0]).is_some());
    let subject = "thing:plug-000001".parse().unwrap();
    assert_eq!(authority.registry().subject(&subject).unwrap().state, State::Suspended);
    authority.verify_ledger().await.unwrap();

    // A ledger that did not grow out of the backup's, or from which the end was cut, is none.
    let text = std::fs::read_to_string(&old).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let other = house.path("other.log");
    std::fs::write(&other, lines[..lines.len() / 2].join("\n") + "\n").unwrap();
    let refused = house.restore("one.backup", "x", Some(&other)).await.unwrap_err().to_string();
    assert!(refused.contains("other.log") && refused.contains("cut off"), "{refused}");
    assert!(!house.path("x").exists() && !house.path("x.restoring").exists());
}

#[tokio::test]
async fn only_into_a_new_folder_and_only_of_the_authority_that_is_meant() {
    let house = House::new().await;
    house.backup("one.backup").await;
    let taken = house.restore("one.backup", "data", None).await.unwrap_err().to_string();
    assert!(taken.contains("not empty"), "{taken}");
    let again = house.authority.backup(&house.path("one.backup"), &[], Path::new("none")).await;
    assert!(matches!(again, Err(AuthorityError::Exists(_))));
    let nobody = house.authority.backup(&house.path("two"), &[], Path::new("none")).await;
    assert!(nobody.unwrap_err().to_string().contains("0 recipients"));
    assert!(!house.path("two").exists() && !house.path("two.part").exists());

    let other = House::new().await;
    let pinned = |roots: bool| Pinned {
        roots: roots.then(|| other.authority.layout().roots()),
        ledger_key: (!roots)
            .then(|| other.authority.layout().ledger().with_extension("").join("key")),
    };
    for (roots, word) in [(true, "another root"), (false, "another ledger key")] {
        let (backup, data) = (house.path("one.backup"), house.path("new"));
        let opened = Restoring::open(&backup, &house.key, &data, &pinned(roots), None);
        let said = opened.err().unwrap().to_string();
        assert!(said.contains(word), "{said}");
    }
}

//= specs/house.md#house-backup
//= type=test
//# A revocation that the ledger tells of MUST be in force in a restored authority.
#[tokio::test]
async fn the_old_ledger_brings_the_orders_since() {
    let house = House::new().await;
    let authority = &house.authority;
    let names = ["plug-000001", "plug-000002", "plug-000003"];
    for name in names {
        enrol(authority, house.folder.path(), name).await;
    }
    let things: Vec<_> = names.map(|name| name.parse().unwrap()).into();
    authority.label_batch(&things[..2], "2026-11-A").await.unwrap();
    let active = |authority: &Authority, name: &str| {
        let subject = format!("thing:{name}").parse().unwrap();
        authority.registry().subject(&subject).unwrap().state == State::Active
    };
    // An order that the backup knows is no finding, nor given again.
    authority.label_batch(&things[2..], "2026-11-B").await.unwrap();
    let before = "batch:2026-11-B".parse().unwrap();
    authority.revoke_many(&before, Reason::Suspended, |_, _| {}).await.unwrap();
    house.backup("one.backup").await;
    let batch = "batch:2026-11-A".parse().unwrap();
    authority.revoke_many(&batch, Reason::KeyCompromise, |_, _| {}).await.unwrap();
    let revoked = authority.core.store.revocations_since(0).await.unwrap();
    authority.ledger_checkpoint().await.unwrap();
    let old = authority.layout().ledger();

    let without = house.restore("one.backup", "without", None).await.unwrap();
    assert_eq!((without.orders, without.findings.len()), (0, 0));
    let with = house.restore("one.backup", "with", Some(&old)).await.unwrap();
    assert_eq!((with.orders, with.findings.len()), (1, 0), "{with:?}");
    let restored = house.open("with").await;
    for one in &revoked {
        assert!(restored.registry().revoked(&one.serial).is_some(), "{one:?}");
    }
    assert!(names.iter().all(|name| !active(&restored, name)));
}

/// An issuing CA that was rolled, retired and is known so; then one that an order took out of use.
#[tokio::test]
async fn what_went_with_its_issuing_ca_stays_gone() {
    use crate::IssuingCa;
    use crate::rotation::{PUBLICATION, Retirement, RollStep};
    let go_on = |_: RollStep| std::ops::ControlFlow::Continue(());
    let house = House::new().await;
    let authority = &house.authority;
    enrol(authority, house.folder.path(), "plug-000001").await;
    let roll = async || {
        authority.prepare_ca(IssuingCa::Operation, None, go_on).await.unwrap();
        tokio::time::sleep(PUBLICATION).await;
        authority.activate_ca(IssuingCa::Operation, go_on).await.unwrap();
    };
    roll().await;
    authority.retire_ca(IssuingCa::Operation, Retirement::AtOnce, go_on).await.unwrap();
    enrol(authority, house.folder.path(), "plug-000002").await;
    roll().await;
    house.backup("one.backup").await;
    if authority.core.config.token().is_some() {
        // What is restored has the same token, from which the old one's keys go below.
        return;
    }
    // After the backup: one goes with its CA, another is made and goes by an order about the next.
    authority.retire_ca(IssuingCa::Operation, Retirement::AtOnce, go_on).await.unwrap();
    enrol(authority, house.folder.path(), "plug-000003").await;
    let issuer = "issuer:ldevid-ca-3".parse().unwrap();
    authority.revoke_many(&issuer, Reason::CaCompromise, |_, _| {}).await.unwrap();
    let gone = authority.core.store.revocations_since(0).await.unwrap();
    authority.ledger_checkpoint().await.unwrap();
    let old = authority.layout().ledger();
    let with = house.restore("one.backup", "with", Some(&old)).await.unwrap();
    assert_eq!((with.revocations, with.orders, with.findings.len()), (1, 1, 0), "{with:?}");
    let restored = house.open("with").await;
    for one in gone.iter().filter(|one| one.subject.name() != "plug-000003") {
        assert!(restored.registry().revoked(&one.serial).is_some(), "{one:?}");
    }
    let authorities = restored.authorities().unwrap();
    assert_eq!(authorities.label(IssuingCa::Operation), "ldevid-ca-4");
    assert!(restored.core.keys.load("ldevid-ca-3").unwrap().is_none(), "its key is destroyed");
}

/// The root is in a file that is elsewhere: a CA that was revoked since has no successor yet, which is said, and nothing below it counts.
#[tokio::test]
async fn an_issuing_ca_that_was_revoked_waits_for_the_root() {
    use crate::IssuingCa;
    use crate::rotation::{PUBLICATION, RollStep};
    let house = House::new().await;
    let authority = &house.authority;
    if authority.core.config.token().is_some() {
        return;
    }
    enrol(authority, house.folder.path(), "plug-000001").await;
    let plan = crate::ceremony::plan_file(authority.layout());
    let here = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, format!("{here}\n[root]\nkeep = \"file\"\n")).unwrap();
    house.backup("one.backup").await;
    std::fs::write(&plan, &here).unwrap();
    // Two orders, of which the second is about the first one's successor: the backup does not know it.
    for label in ["issuer:ldevid-ca", "issuer:ldevid-ca-2"] {
        let issuer = label.parse().unwrap();
        authority.revoke_many(&issuer, Reason::CaCompromise, |_, _| {}).await.unwrap();
    }
    authority.ledger_checkpoint().await.unwrap();
    let old = authority.layout().ledger();
    let with = house.restore("one.backup", "with", Some(&old)).await.unwrap();
    assert!(matches!(&with.findings[..], [one] if one.contains("ldevid-ca ")), "{with:?}");
    let restored = house.open("with").await;
    let ca = IssuingCa::Operation;
    let counts = restored.core.store.revocations_since(0).await.unwrap();
    assert_eq!((counts.len(), restored.authorities().unwrap().label(ca)), (1, "ldevid-ca"));
    enrol(&restored, &house.path("again"), "plug-000002").await;
    assert_eq!(restored.carry_on_orders(std::time::Duration::ZERO).await.unwrap(), 1);
    assert_eq!(restored.core.store.revocations_since(0).await.unwrap().len(), 2);
    // With the root it ends.
    std::fs::write(crate::ceremony::plan_file(restored.layout()), &here).unwrap();
    let go_on = |_: RollStep| std::ops::ControlFlow::Continue(());
    restored.prepare_ca(ca, None, go_on).await.unwrap();
    tokio::time::sleep(PUBLICATION).await;
    restored.activate_ca(ca, go_on).await.unwrap();
    restored.carry_on_orders(std::time::Duration::ZERO).await.unwrap();
    assert!(restored.core.keys.load("ldevid-ca").unwrap().is_none(), "its key is destroyed");
    assert_eq!(restored.authorities().unwrap().label(ca), "ldevid-ca-2");
    assert_eq!(restored.carry_on_orders(std::time::Duration::ZERO).await.unwrap(), 0);
}

/// Nobody can go on with them under the restored ledger's key, and what custodians answered to is destroyed when it was used.
#[tokio::test]
async fn requests_for_the_roots_use_are_not_in_a_backup() {
    let house = House::new().await;
    let root = house.path("data/authority/root");
    std::fs::create_dir_all(&root).unwrap();
    for name in ["0011.reply", "0011.request", "root.public"] {
        std::fs::write(root.join(name), name).unwrap();
    }
    let made = house.backup("one.backup").await;
    let names = made.manifest.files.keys().filter(|name| name.starts_with("authority/root/"));
    assert!(names.eq(["authority/root/root.public"]));
}

/// Somebody who has a backup and its key puts another authority behind the genuine `roots.pem`.
#[tokio::test]
async fn the_roots_in_use_are_those_that_were_brought() {
    let (house, other) = (House::new().await, House::new().await);
    let genuine = house.authority.layout().roots();
    std::fs::copy(&genuine, other.authority.layout().roots()).unwrap();
    other.backup("forged.backup").await;
    let (backup, data) = (other.path("forged.backup"), other.path("new"));
    let pinned = Pinned { roots: Some(genuine), ledger_key: None };
    let restoring = Restoring::open(&backup, &other.key, &data, &pinned, None).unwrap();
    let config = crate::testing::restored(&other.path("data"), &data);
    let refused = restoring.finish(config, Sources::system()).await.unwrap_err().to_string();
    assert!(refused.contains("another root"), "{refused}");
    assert!(!data.exists() && !other.path("new.restoring").exists());
}

#[tokio::test]
async fn the_old_ledgers_checkpoint_is_believed_or_the_ledger_is_not() {
    let house = House::new().await;
    house.backup("one.backup").await;
    enrol(&house.authority, house.folder.path(), "plug-000001").await;
    let size = house.authority.ledger_checkpoint().await.unwrap().checkpoint().size;
    let old = house.authority.layout().ledger();
    let with = house.restore("one.backup", "with", Some(&old)).await.unwrap();
    assert_eq!(with.old_checkpoint, Some(size));
    // A copy of the file alone has none, which is said; one that is none stops the restore.
    let alone = house.path("alone.log");
    std::fs::copy(&old, &alone).unwrap();
    let without = house.restore("one.backup", "without", Some(&alone)).await.unwrap();
    assert_eq!(without.old_checkpoint, None);
    std::fs::create_dir(house.path("alone")).unwrap();
    std::fs::write(house.path("alone/checkpoint"), "forged\n").unwrap();
    let refused = house.restore("one.backup", "x", Some(&alone)).await.unwrap_err().to_string();
    assert!(refused.contains("checkpoint"), "{refused}");
}

//= specs/house.md#house-backup
//= type=test
//# A restored database MUST be compared with the ledger.
#[tokio::test]
async fn what_the_ledger_does_not_know_is_found() {
    let house = House::new().await;
    enrol(&house.authority, house.folder.path(), "plug-000001").await;
    let mut turn = house.authority.core.store.exclusive().await.unwrap();
    let thing = "thing:plug-000001".parse().unwrap();
    let record = turn.certificates_of(&thing, crate::subject::Purpose::Operation).await.unwrap();
    let serial = record[0].certificate.serial_hex();
    let now = house.authority.core.now();
    turn.put_revocation(now, &thing, &serial, Reason::Unspecified).await.unwrap();
    turn.commit().await.unwrap();
    house.backup("one.backup").await;
    let restored = house.restore("one.backup", "new", None).await.unwrap();
    assert_eq!(restored.findings, [format!("revocation of {serial} is not in the ledger")]);
}
