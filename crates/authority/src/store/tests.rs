//! Damage, newer files, two writers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use super::*;

async fn error(path: &Path) -> String {
    match Store::open(path.into()).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_damaged_file_is_named_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.db");
    std::fs::write(&path, vec![0x5a; 8192]).unwrap();
    let said = error(&path).await;
    assert!(said.contains("authority.db") && said.contains("backup"), "{said}");

    std::fs::remove_file(&path).unwrap();
    let store = Store::open(path.as_path().into()).await.unwrap();
    store.pool.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let said = error(&path).await;
    assert!(said.contains("authority.db") && said.contains("backup"), "{said}");
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.db");
    let store = Store::open(path.as_path().into()).await.unwrap();
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(&store.pool)
        .await
        .unwrap();
    assert!(matches!(
        Store::open(path.as_path().into()).await,
        Err(StoreError::Newer { found: 99, .. })
    ));
}

#[tokio::test]
async fn what_is_not_committed_is_not_there_and_turns_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.db");
    let (one, two) = (
        Store::open(path.as_path().into()).await.unwrap(),
        Store::open(path.as_path().into()).await.unwrap(),
    );
    let mut turn = one.exclusive().await.unwrap();
    turn.next_generation().await.unwrap();
    // Another process waits for the turn to end.
    let waiting = tokio::time::timeout(Duration::from_millis(200), two.exclusive()).await;
    assert!(waiting.is_err());
    drop(turn);
    let mut turn = two.exclusive().await.unwrap();
    assert_eq!(turn.next_generation().await.unwrap(), 1);
    turn.commit().await.unwrap();
    assert_eq!(one.generation().await.unwrap(), 1);
}
