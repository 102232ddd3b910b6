//! One entry: its canonical bytes, its leaf hash, its place in the chain.

use countersign_crypto::digest::sha256;
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::merkle::Hash;

/// The longest line, in bytes. The largest entry is a ceremony's transcript with a few KiB.
pub const MAX_LINE: usize = 64 * 1024;

//= specs/en-303-645.md#5.5-8
//= type=implication
//# The manufacturer MUST manage critical security parameters by secure processes over their entire life cycle.
/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A ceremony began under a plan.
    CeremonyBegun,
    /// A ceremony made a key, a certificate or a file.
    CeremonyStep,
    /// A ceremony ended; the body is its transcript.
    CeremonyFinished,
    /// A subject became known, or its grants changed.
    Registered,
    /// A certificate is about to be signed.
    IssuanceIntent,
    /// A certificate was signed and recorded.
    Issued,
    /// A factory identity was written for a device.
    FactoryIdentity,
    /// A certificate or subject was revoked.
    Revoked,
    /// A subject may enrol again.
    Reinstated,
    /// A subject's grants changed.
    GrantsChanged,
    /// The key of the policies' second, post-quantum signatures was made.
    SecondPolicyKey,
    /// A crypto policy was signed.
    PolicySigned,
    /// A signed policy was handed to whoever serves.
    PolicyPublished,
    /// A policy is in force at the gateway.
    PolicyActivated,
    /// The policy in force has carried a client's session.
    PolicyProven,
    /// A policy was not signed, not published or not taken, and why.
    PolicyRefused,
    /// Something left the authority: a private key that was made for somebody, a copy of the ledger.
    Exported,
    /// Something happened that somebody must hear of: a key that others have or know, a clone, a serial that came twice.
    Alarm,
    /// A code for one enrolment was made, used, or is void after too many wrong ones.
    EnrolmentCode,
    /// A key was destroyed.
    KeyDestroyed,
    /// The key that signs the ledger's checkpoints from here on.
    LedgerKey,
    /// A torn tail was set aside, or a checkpoint was missing.
    LedgerRepaired,
    /// Custodians are asked for the root's use.
    RootRequested,
    /// The root's key is about to be used, by whose approvals.
    RootUsed,
    /// A ceremony's signed transcript; the body has its hash.
    Transcript,
    /// The root took a step of its roll.
    RootRolled,
    /// The policy key took a step of its roll.
    PolicyKeyRolled,
    /// The authority was restored from a backup; the key of the checkpoints is another from here on.
    Restored,
    /// An operator got a role.
    RoleAssigned,
    /// An operator called the admin interface: about to change something, or with its outcome.
    AdminCall,
    /// An issuing CA took a step of its roll: its successor was prepared or activated, or it was retired.
    CaRolled,
    /// A station of the factory became known, got another quota, or was closed.
    Station,
    /// A batch of factory identities began, or was closed.
    Batch,
    /// What a station said became of a batch's identities.
    Reconciled,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 0, 1, 2, …
    pub index: u64,
    /// When, by the authority's clock.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// The particulars.
    pub body: Value,
    /// Hexadecimal leaf hash.
    pub leaf: String,
    /// Hexadecimal running hash.
    pub chain: String,
}

/// What an entry says, without its hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// 0, 1, 2, …
    pub index: u64,
    /// When, by the authority's clock.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// The particulars.
    pub body: Value,
}

impl Leaf {
    /// What is hashed as the leaf.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        leaf_data(self.index, self.at, self.kind, &self.body)
    }
}

impl Entry {
    /// The entry that follows `chain`.
    pub(crate) fn following(
        chain: &[u8; 32],
        index: u64,
        at: Timestamp,
        kind: Kind,
        body: Value,
    ) -> Self {
        let leaf = Hash::leaf(&leaf_data(index, at, kind, &body)).0;
        let chain = chain_hash(chain, &leaf);
        Self { index, at, kind, body, leaf: hex::encode(leaf), chain: hex::encode(chain) }
    }

    /// What is hashed as the leaf: canonical JSON of index, time, kind and body.
    #[must_use]
    pub fn leaf_data(&self) -> Vec<u8> {
        leaf_data(self.index, self.at, self.kind, &self.body)
    }

    /// Reads a leaf's data, which must be that of the entry `index`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_leaf_data(data: &[u8], index: u64) -> Result<Leaf, &'static str> {
        let leaf: Leaf = serde_json::from_slice(data).map_err(|_| "is not a ledger entry")?;
        if leaf.index != index {
            return Err("has another index than its place: an entry is missing, added or moved");
        }
        if leaf.data() != data {
            return Err("is not in the form that this program writes");
        }
        Ok(leaf)
    }

    /// The line without its end.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"{\"index\":");
        out.extend_from_slice(self.index.to_string().as_bytes());
        out.extend_from_slice(format!(",\"at\":{},\"kind\":", self.at.0).as_bytes());
        json(&self.kind, &mut out);
        out.extend_from_slice(b",\"body\":");
        canonical(&self.body, &mut out);
        out.extend_from_slice(
            format!(",\"leaf\":\"{}\",\"chain\":\"{}\"}}", self.leaf, self.chain).as_bytes(),
        );
        out
    }

    /// Reads the line that must follow `chain` with `index`; says what is wrong with it otherwise.
    //= specs/house.md#house-ledger
    //# A changed, removed or reordered entry MUST be found by verification.
    pub(crate) fn read(line: &[u8], chain: &[u8; 32], index: u64) -> Result<Read, &'static str> {
        if line.len() > MAX_LINE {
            return Err("is longer than an entry can be");
        }
        let entry: Self = serde_json::from_slice(line).map_err(|_| "is not a ledger entry")?;
        if entry.index != index {
            return Err("has another index than its place: an entry is missing, added or moved");
        }
        let leaf = Hash::leaf(&entry.leaf_data()).0;
        if hex::encode(leaf) != entry.leaf {
            return Err("was changed: its contents do not have its leaf hash");
        }
        let next = chain_hash(chain, &leaf);
        if hex::encode(next) != entry.chain {
            return Err("does not follow the line before it: the running hash differs");
        }
        if entry.line() != line {
            return Err("is not in the form that this program writes");
        }
        Ok(Read { entry, leaf: Hash(leaf), chain: next })
    }
}

/// A line that was read and fits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub(crate) entry: Entry,
    /// Its leaf in the tree.
    pub(crate) leaf: Hash,
    /// The running hash after it.
    pub(crate) chain: [u8; 32],
}

/// A kind, a string, a number, a truth value or null.
fn json(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a scalar serialises, and a vector takes all of it");
}

fn leaf_data(index: u64, at: Timestamp, kind: Kind, body: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(format!("{{\"at\":{},\"body\":", at.0).as_bytes());
    canonical(body, &mut bytes);
    bytes.extend_from_slice(format!(",\"index\":{index},\"kind\":").as_bytes());
    json(&kind, &mut bytes);
    bytes.push(b'}');
    bytes
}

fn chain_hash(before: &[u8; 32], leaf: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[0x02], before.as_slice(), leaf.as_slice()].concat())
}

/// JSON without spaces, members sorted by name (the subset of RFC 8785 that integers and strings need).
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            out.push(b'{');
            for (position, (name, member)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                json(name, out);
                out.push(b':');
                canonical(member, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                canonical(item, out);
            }
            out.push(b']');
        }
        scalar => json(scalar, out),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_form_is_fixed() {
        let body = json!({"b": [1, "ü\n"], "a": {"y": null, "x": true}});
        let entry = Entry::following(&[0; 32], 0, Timestamp(7), Kind::IssuanceIntent, body);
        let line = String::from_utf8(entry.line()).unwrap();
        assert!(line.starts_with(
            r#"{"index":0,"at":7,"kind":"issuance-intent","body":{"a":{"x":true,"y":null},"b":[1,"ü\n"]},"leaf":""#
        ));
        let leaf = sha256(
            &[
                &b"\0"[..],
                r#"{"at":7,"body":{"a":{"x":true,"y":null},"b":[1,"ü\n"]},"index":0,"kind":"issuance-intent"}"#.as_bytes(),
            ]
            .concat(),
        );
        assert_eq!(entry.leaf, hex::encode(leaf));
        assert_eq!(Entry::read(line.as_bytes(), &[0; 32], 0).unwrap().entry, entry);
        assert_eq!(Hash::leaf(&entry.leaf_data()).to_string(), entry.leaf);
        assert_eq!(Entry::of_leaf_data(&entry.leaf_data(), 0).unwrap().body, entry.body);
        assert!(Entry::of_leaf_data(&entry.leaf_data(), 1).unwrap_err().contains("missing"));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let entry =
            Entry::following(&[9; 32], 3, Timestamp(7), Kind::Issued, json!({"serial": "ab"}));
        let line = entry.line();
        for index in 0..line.len() {
            for bit in 0..8 {
                let mut bad = line.clone();
                bad[index] ^= 1 << bit;
                assert!(Entry::read(&bad, &[9; 32], 3).is_err(), "octet {index}, bit {bit}");
            }
        }
    }
}
