//! Opening, damaged folders, policies.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::testing::{config, open, ready};

async fn refusal(data: &Path) -> String {
    match Authority::open(data, config(data), Sources::system()).await {
        Ok(authority) => authority.authorities().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

//= specs/house.md#house-state
//= type=test
//# A corrupt state file MUST be refused with its name and the mend.
#[tokio::test]
async fn damaged_files_are_named_with_the_mend() {
    for file in [
        "authority/ledger.log",
        "authority/ca/root.crt",
        "authority/ca/ldevid-ca.crt",
        "authority/keys/service-ca.key",
        "seal.key",
    ] {
        let folder = tempfile::tempdir().unwrap();
        ready(folder.path()).await;
        // A token has no key files that could be damaged.
        if file.starts_with("authority/keys") && config(folder.path()).token().is_some() {
            continue;
        }
        let path = folder.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].fill(b'#');
        bytes.push(b'\n');
        std::fs::write(&path, bytes).unwrap();
        // Nothing of the authority's is sealed where its keys are in a token.
        if file == "seal.key" && config(folder.path()).token().is_some() {
            continue;
        }
        let said = refusal(folder.path()).await;
        // A wrong sealing key shows at the first key that does not open.
        let expected = if file == "seal.key" { "seal.key" } else { file };
        assert!(said.contains(expected) && said.contains("restore"), "{file}: {said}");
    }
}

/// A CA's certificate from another ceremony does not pass for this one's.
#[tokio::test]
async fn a_foreign_ca_is_noticed() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ready(folder.path()).await;
    ready(other.path()).await;
    let file = "authority/ca/ldevid-ca.crt";
    std::fs::copy(other.path().join(file), folder.path().join(file)).unwrap();
    let said = refusal(folder.path()).await;
    assert!(said.contains("ldevid-ca.crt") && said.contains("not signed by the roots"), "{said}");
}

#[tokio::test]
async fn two_opens_of_a_new_folder_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(open(folder.path()), open(folder.path()));
    assert!(one.authorities().is_err() && two.authorities().is_err());
    assert_eq!(one.verify_ledger().await.unwrap(), two.verify_ledger().await.unwrap());
}
