//! Real processes: two that issue into one folder at once, and one that is killed at any instant.
//!
//! The child is this test binary again, running [`child`] alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use countersign_authority::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use countersign_authority::ledger::Kind;
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, Sources};
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::keystore::key_from_pem;

const DATA: &str = "COUNTERSIGN_TEST_DATA";
const PREFIX: &str = "COUNTERSIGN_TEST_PREFIX";
const COUNT: &str = "COUNTERSIGN_TEST_COUNT";

async fn open(data: &Path) -> Authority {
    Authority::open(data, AuthorityConfig::default(), Sources::system()).await.unwrap()
}

async fn enrol(authority: &Authority, data: &Path, prefix: &str, count: u32) {
    for number in 1..=count {
        let wanted = EnrolRequest {
            profile: EnrolProfile::Device,
            names: EnrolNames::One(format!("{prefix}{number:06}")),
            out: data.join("out"),
            force: false,
        };
        match authority.enrol(&wanted, |_, _| {}).await {
            Ok(_) | Err(countersign_authority::AuthorityError::Exists(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a child process does; without its environment it is no test.
#[tokio::test]
#[ignore = "runs in a child process of the other tests"]
async fn child() {
    let data = std::env::var(DATA).expect("started by the other tests");
    let prefix = std::env::var(PREFIX).unwrap();
    let count = std::env::var(COUNT).unwrap().parse().unwrap();
    let data = Path::new(&data);
    enrol(&open(data).await, data, &prefix, count).await;
}

fn spawn(data: &Path, prefix: &str, count: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(DATA, data)
        .env(PREFIX, prefix)
        .env(COUNT, count.to_string())
        .spawn()
        .unwrap()
}

async fn ready(data: &Path) {
    let authority = open(data).await;
    authority.ceremony(&CeremonyPlan::example(), |_| ControlFlow::Continue(())).await.unwrap();
}

#[tokio::test]
async fn two_processes_issue_into_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    ready(folder.path()).await;
    let here = open(folder.path()).await;
    let mut other = spawn(folder.path(), "there-", 20);
    enrol(&here, folder.path(), "here-", 20).await;
    assert!(other.wait().unwrap().success());
    let entries = here.ledger_entries().await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::Issued).count(), 41);
    assert_eq!(here.subjects().await.unwrap().len(), 41);
}

/// `kill -9` again and again: what was handed out is known, the ledger verifies, and the next run goes on.
#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    ready(folder.path()).await;
    let out = folder.path().join("out");
    let certificates = || {
        let all = std::fs::read_dir(&out).into_iter().flatten().flatten();
        all.filter(|file| file.path().extension().is_some_and(|ending| ending == "crt")).count()
    };
    for round in 0..12_u64 {
        let before = certificates();
        let mut child = spawn(folder.path(), "plug-", 10_000);
        // On a busy machine it takes long to come so far that there is something to lose.
        for _ in 0..1_000 {
            if certificates() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        tokio::time::sleep(Duration::from_millis(round * 23)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let authority = open(folder.path()).await;
        authority.verify_ledger().await.unwrap();
    }
    let authority = open(folder.path()).await;
    let mut seen = 0;
    for file in std::fs::read_dir(&out).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "crt") {
            continue;
        }
        let chain = CertificateChain::from_pem(&std::fs::read(&path).unwrap()).unwrap();
        let known = authority.certificate(&chain.leaf().serial_hex()).await.unwrap();
        assert_eq!(known.as_ref(), Some(chain.leaf()), "{}", path.display());
        let key = key_from_pem(&std::fs::read(path.with_extension("key")).unwrap()).unwrap();
        assert_eq!(key.spki_der(), chain.leaf().spki_der());
        seen += 1;
    }
    assert!(seen > 0, "the child never came so far as to enrol one");
    // The run after the last kill ends what it had begun.
    enrol(&authority, folder.path(), "plug-", seen + 1).await;
}
