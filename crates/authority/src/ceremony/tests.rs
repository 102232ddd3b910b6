//! Ceremonies that end well, are killed anywhere, or are tried again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::ledger::Kind;
use crate::testing::open;
use crate::{AuthorityError, IssuingCa};

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

async fn hold(folder: &Path) -> CeremonyOutcome {
    open(folder).await.ceremony(&CeremonyPlan::example(), |_| GO_ON).await.unwrap()
}

#[tokio::test]
async fn a_ceremony_leaves_what_the_platform_expects() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let CeremonyOutcome::Finished(transcript) = hold(data).await else { panic!("not finished") };
    assert_eq!(transcript.made.len(), Step::ALL.len() - 1);
    assert!(transcript.to_string().contains("IDevID CA"), "{transcript}");
    let mode =
        |path: &str| std::fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("operators/admin.key"), 0o600);
    assert_eq!(mode("seal.key"), 0o600);
    assert_eq!(mode("roots.pem"), 0o644);
    let authority = open(data).await;
    let authorities = authority.authorities().unwrap();
    for ca in IssuingCa::ALL {
        authorities.certificate(ca).verify_signed_by(authorities.root()).unwrap();
    }
    // Nobody's private key, and nothing that looks like one, is in the ledger.
    let ledger = std::fs::read_to_string(data.join("authority/ledger.log")).unwrap();
    assert!(!ledger.contains("PRIVATE"));
    crate::testing::openssl_verify(data, &data.join("operators/admin.crt"), "sslclient");
}

#[tokio::test]
async fn a_finished_ceremony_is_told_of_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let CeremonyOutcome::Finished(first) = hold(folder.path()).await else {
        panic!("not finished")
    };
    let root = std::fs::read(folder.path().join("roots.pem")).unwrap();
    assert_eq!(hold(folder.path()).await, CeremonyOutcome::AlreadyFinished(first));
    assert_eq!(std::fs::read(folder.path().join("roots.pem")).unwrap(), root);
}

/// Killed before every step in turn, and each time carried on by a new process: one root, one entry a step.
//= specs/en-303-645.md#5.5-8
//= type=test
//# Generation MUST leave a record.
#[tokio::test]
async fn a_ceremony_killed_at_every_step_is_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    for stop in Step::ALL {
        let authority = open(folder.path()).await;
        let outcome = authority
            .ceremony(&CeremonyPlan::example(), |step| {
                if step == stop { ControlFlow::Break(()) } else { GO_ON }
            })
            .await
            .unwrap();
        assert_eq!(outcome, CeremonyOutcome::Stopped(stop));
    }
    assert!(matches!(hold(folder.path()).await, CeremonyOutcome::Finished(_)));
    assert_once(folder.path()).await;
}

/// The same inside a step: what it made is there, the ledger's entry or the files after it are not.
#[tokio::test]
async fn a_ceremony_killed_inside_a_step_is_carried_on() {
    for lost in ["authority/ceremony.json", "operators/admin.crt", "roots.pem"] {
        let folder = tempfile::tempdir().unwrap();
        hold(folder.path()).await;
        let marker = folder.path().join("authority/ceremony.json");
        std::fs::remove_file(&marker).unwrap();
        let _ = std::fs::remove_file(folder.path().join(lost));
        assert!(matches!(hold(folder.path()).await, CeremonyOutcome::Finished(_)), "{lost}");
        assert!(folder.path().join(lost).exists(), "{lost}");
        assert_once(folder.path()).await;
    }
}

/// The ledger cut after any of its lines, as if the kill had come before the next entry.
#[tokio::test]
async fn a_ceremony_whose_entries_are_missing_records_them_again() {
    let folder = tempfile::tempdir().unwrap();
    hold(folder.path()).await;
    let path = folder.path().join("authority/ledger.log");
    let whole = std::fs::read_to_string(&path).unwrap();
    for keep in [0, 1, 4, 9, 12] {
        let kept: String = whole.split_inclusive('\n').take(keep).collect();
        std::fs::write(&path, kept).unwrap();
        // A kill comes before the checkpoint over what it prevents.
        std::fs::remove_dir_all(folder.path().join("authority/ledger")).unwrap();
        std::fs::remove_file(folder.path().join("authority/ceremony.json")).unwrap();
        hold(folder.path()).await;
        assert_once(folder.path()).await;
    }
}

async fn assert_once(folder: &Path) {
    let authority = open(folder).await;
    authority.authorities().unwrap();
    let entries = authority.ledger_entries().await.unwrap();
    let count = |kind: Kind| entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!(count(Kind::CeremonyBegun), 1);
    assert_eq!(count(Kind::CeremonyFinished), 1);
    let steps: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::CeremonyStep)
        .map(|entry| entry.body["step"].to_string())
        .collect();
    let distinct: std::collections::HashSet<_> = steps.iter().collect();
    assert_eq!((steps.len(), distinct.len()), (Step::ALL.len() - 2, Step::ALL.len() - 2));
}

#[tokio::test]
async fn another_plan_is_refused_once_one_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path()).await;
    let stop = |step| if step == Step::RootKey { ControlFlow::Break(()) } else { GO_ON };
    authority.ceremony(&CeremonyPlan::example(), stop).await.unwrap();
    let other = default_plan().replace("Example Manufacturer", "Somebody Else");
    let other = CeremonyPlan::from_toml("other.toml", &other).unwrap();
    let refused = authority.ceremony(&other, |_| GO_ON).await.unwrap_err();
    assert!(refused.to_string().contains("ceremony.toml"), "{refused}");
}

#[tokio::test]
async fn nothing_is_issued_before_the_ceremony() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path()).await;
    assert!(matches!(authority.authorities(), Err(AuthorityError::NoCeremony(_))));
}

#[test]
fn plans_are_checked_with_field_and_mend() {
    for (from, to, expected) in [
        ("country = \"DE\"", "country = \"Germany\"", "country"),
        ("root_years = 40", "root_years = 61", "root_years"),
        ("issuing_years = 10", "issuing_years = 41", "issuing_years"),
        ("ecdsa_secp256r1_sha256\"", "rsa_pkcs1_sha1\"", "algorithm"),
        ("ecdsa_secp384r1_sha384\"", "rsa_pkcs1_sha1\"", "root_algorithm"),
        ("administrator", "administrators", "administrators"),
        ("\"Example Manufacturer\"", "\"\"", "organisation"),
    ] {
        let text = default_plan().replace(from, to);
        let refused = CeremonyPlan::from_toml("plan.toml", &text).unwrap_err().to_string();
        assert!(refused.contains("plan.toml") && refused.contains(expected), "{refused}");
    }
    assert_eq!(CeremonyPlan::example().organisation(), "Example Manufacturer");
    // A plan from before the root had an algorithm of its own, and what is kept of it.
    let old = default_plan().replace("root_algorithm", "# root_algorithm");
    let old = CeremonyPlan::from_toml("plan.toml", &old).unwrap();
    assert_eq!(old.root_algorithm(), old.algorithm());
    assert!(!old.to_toml().contains("root_algorithm"));
}
