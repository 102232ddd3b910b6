//! What tests share: an authority in a folder, a clock that is set by hand, OpenSSL as a second opinion.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod client;

use std::ops::ControlFlow::Continue;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_crypto::keystore::TokenConfig;
use countersign_crypto::note_key::NoteKey;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::{Clock, SystemClock};
use countersign_model::time::Timestamp;

use crate::root::RootAccess;
use crate::rotation::PUBLICATION;
use crate::rotation::root::Reached;
use crate::store::DatabaseConfig;
use crate::{Authority, AuthorityConfig, CeremonyPlan, IssuingCa, Sources};

/// A clock that runs with the machine's, and may be set forward.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn forward(&self, by: std::time::Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

/// A clock that does not run.
#[derive(Debug)]
pub(crate) struct StandingClock(Timestamp);

impl StandingClock {
    pub(crate) fn now() -> Self {
        Self(SystemClock.now())
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

pub(crate) async fn open(folder: &Path) -> Authority {
    open_at(folder, Arc::new(TestClock::default())).await
}

pub(crate) async fn open_at(folder: &Path, clock: Arc<TestClock>) -> Authority {
    let sources = Sources { clock, random: Box::new(SystemRandom) };
    Authority::open(folder, config(folder), sources).await.unwrap()
}

/// Keys in sealed files; in a PKCS#11 token where the environment names one (`module:label:pin file`), so that the same
/// tests hold for both. A prefix keeps the tests' folders apart.
pub(crate) fn config(folder: &Path) -> AuthorityConfig {
    placed(AuthorityConfig::default(), folder)
}

/// Any configuration, with its keys and its database where those of [`config`] are.
pub(crate) fn placed(config: AuthorityConfig, folder: &Path) -> AuthorityConfig {
    on_server(in_token(config, folder), folder)
}

/// The configuration of what is restored into a folder: its keys are those of the folder before.
pub(crate) fn restored(before: &Path, folder: &Path) -> AuthorityConfig {
    on_server(in_token(AuthorityConfig::default(), before), folder)
}

fn in_token(config: AuthorityConfig, folder: &Path) -> AuthorityConfig {
    let Some(token) = std::env::var("COUNTERSIGN_TEST_TOKEN").ok() else { return config };
    let [module, label, pin_file] = token.split(':').collect::<Vec<_>>()[..] else {
        panic!("COUNTERSIGN_TEST_TOKEN={token}: module:label:pin file is expected");
    };
    let digest = countersign_crypto::digest::sha256(folder.as_os_str().as_encoded_bytes());
    let prefix = format!("{}.", hex::encode(&digest[..8]));
    let token = TokenConfig::new(module.into(), label.into(), pin_file.into(), prefix);
    config.with_token(token.unwrap())
}

/// The database on a PostgreSQL server where the environment names one (an address without a database), so that the same
/// tests hold for both: each folder has a database of its own, made when it is first named.
fn on_server(config: AuthorityConfig, folder: &Path) -> AuthorityConfig {
    let Ok(server) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else { return config };
    config.with_database(DatabaseConfig::new(database_at(&server, folder), None).unwrap())
}

/// The address of the folder's database.
fn database_at(server: &str, folder: &Path) -> String {
    let (address, parameters) = server.split_once('?').unwrap_or((server, ""));
    let digest = countersign_crypto::digest::sha256(folder.as_os_str().as_encoded_bytes());
    let name = format!("test_{}", hex::encode(&digest[..8]));
    let create = format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' STRATEGY file_copy"
    );
    let said = Command::new("psql")
        .args(["-qX", &format!("{address}/postgres?{parameters}"), "-c", &create])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() || told.contains("already exists"), "{told}");
    format!("{address}/{name}?{parameters}")
}

/// An authority after its ceremony.
pub(crate) async fn ready(folder: &Path) -> Authority {
    ready_at(folder, Arc::new(TestClock::default())).await
}

/// The same by that clock.
pub(crate) async fn ready_at(folder: &Path, clock: Arc<TestClock>) -> Authority {
    let authority = open_at(folder, clock).await;
    authority.ceremony(&CeremonyPlan::example(), |_| Continue(())).await.unwrap();
    // The live view hears of the ceremony's operator a moment after it, and of the operator's role another moment later.
    let operator = "admin".parse().unwrap();
    let mut changed = authority.registry().changed();
    while authority.registry().role(&operator).is_none() {
        changed.changed().await.unwrap();
    }
    authority
}

/// Signs a policy for this maker and shows it as the one in force, as `serve` does after its trial.
pub(crate) async fn in_force(authority: &Authority, policy: &countersign_crypto::policy::Policy) {
    let mut policy = policy.clone();
    policy.maker = Some(authority.maker().unwrap());
    let signed = authority.sign_policy(&policy).await.unwrap();
    authority.show_policy(&signed.document).unwrap();
}

/// Rolls the root, and below the new one the CA of factory identities.
pub(crate) async fn roll_root(authority: &Authority) {
    authority.prepare_root(None, &RootAccess::default(), |_| Continue(())).await.unwrap();
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), |_| Continue(())).await.unwrap();
    let ca = IssuingCa::FactoryIdentity;
    authority.prepare_ca(ca, None, |_| Continue(())).await.unwrap();
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_ca(ca, |_| Continue(())).await.unwrap();
}

/// A key for notes that nobody else has.
pub(crate) fn note_key() -> NoteKey {
    NoteKey::from_seed(&NoteKey::fresh_seed(&mut SystemRandom)).unwrap()
}

/// OpenSSL's verdict on a PEM chain file under the folder's roots.
pub(crate) fn openssl_verify(data: &Path, chain: &Path, purpose: &str) {
    let roots = data.join("roots.pem");
    let chain = chain.to_str().unwrap();
    let said = openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        roots.to_str().unwrap(),
        "-untrusted",
        chain,
        chain,
    ]);
    assert!(said.contains(": OK"), "{said}");
}

/// Runs OpenSSL; that it is missing is a failure, not a reason to pass.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("the openssl command judges these tests: install it (Debian package openssl)");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}
