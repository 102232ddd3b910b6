//! Crypto policies as files, and the policy key for what an insider could sign.

use std::path::PathBuf;

use countersign_crypto::keystore::Keystore;
use countersign_crypto::policy::{Policy, sign};
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::KeyHandle;
use serde_json::Value;

use super::{Authority, Finished, countersign};

/// Groups of a fleet that has not moved yet, and of one that has.
pub(crate) const CLASSICAL: &[&str] = &["secp256r1"];
pub(crate) const HYBRID: &[&str] = &["SecP256r1MLKEM768", "X25519MLKEM768"];

/// The build's policy with another version and these groups alone, for the example maker.
pub(crate) fn policy(version: u64, groups: &[&str]) -> Policy {
    let mut policy = Policy::built_in();
    (policy.version, policy.maker) = (version, Some("Example Manufacturer".to_owned()));
    for tls in policy.uses.values_mut() {
        tls.groups.retain(|item| groups.contains(&item.name.as_str()));
    }
    policy
}

/// An authority's policies.
pub(crate) struct PolicyFiles<'a>(pub(crate) &'a Authority);

impl PolicyFiles<'_> {
    /// The policy as a text beside the data folder.
    pub(crate) fn text(&self, name: &str, policy: &Policy) -> PathBuf {
        let path = self.0.folder().join(format!("{name}.toml"));
        std::fs::write(&path, toml::to_string_pretty(policy).unwrap()).unwrap();
        path
    }

    /// `policy COMMAND FILE --data DATA`.
    pub(crate) fn run(&self, command: &str, file: &std::path::Path) -> Finished {
        let data = self.0.data();
        countersign([
            "policy".as_ref(),
            command.as_ref(),
            file.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
        ])
    }

    /// Signs and publishes, as an operator does.
    #[track_caller]
    pub(crate) fn publish(&self, policy: &Policy) {
        let text = self.text(&format!("v{}", policy.version), policy);
        self.run("publish", &text).with_code(0).saying("is in force");
    }

    /// The policy key itself.
    pub(crate) fn key(&self) -> KeyHandle {
        let seal = SealKey::load(&self.0.data().join("seal.key")).unwrap();
        Keystore::open(&self.0.data().join("authority/keys"), seal)
            .unwrap()
            .require("policy")
            .unwrap()
    }

    /// What somebody with the policy key can make, past every check.
    pub(crate) fn signed(&self, policy: &Policy) -> Vec<u8> {
        sign(policy, &self.key()).unwrap()
    }

    /// Puts a document where `serve` looks, past every check; what `serve` says of it.
    pub(crate) fn slip_in(&self, document: &[u8]) -> Value {
        let folder = self.0.data().join("policy");
        let outcome = folder.join("outcome.json");
        let _ = std::fs::remove_file(&outcome);
        std::fs::write(folder.join("slipped"), document).unwrap();
        std::fs::rename(folder.join("slipped"), folder.join("next.cose")).unwrap();
        super::until("serve says what became of it", || {
            serde_json::from_slice(&std::fs::read(&outcome).ok()?).ok()
        })
    }

    /// Versions in the ledger under this kind, in order.
    pub(crate) fn recorded(&self, kind: &str) -> Vec<Value> {
        let shown = countersign(self.0.command(&["ledger", "show"], &[])).with_code(0).stdout;
        let entries = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.filter(|entry| entry["kind"] == kind).map(|entry| entry["body"].clone()).collect()
    }
}
