//! Policies: good ones of several kinds, and bad ones of each kind that must be refused.

use countersign_crypto::cose::DocumentKeys;
use countersign_crypto::policy::keys::{MAX_KEY_CHANGES, name_successor, with_changes};
use countersign_crypto::policy::{self, Policy};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::{Day, Timestamp};
use countersign_protocol::policy::{PolicyTrust, Word};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub const P256: &str = "ecdsa_secp256r1_sha256";
pub const P384: &str = "ecdsa_secp384r1_sha384";
const MAKER: &str = "Example Manufacturer";

/// What a new policy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Classical groups only.
    Classical,
    /// One hybrid group only: nothing in common with the others.
    Hybrid,
    /// Another hybrid group only.
    OtherHybrid,
    /// Several groups and suites.
    Broad,
    /// One suite only.
    OneSuite,
    /// P-384 certificates only: nobody can follow who has no such certificate.
    NewSignature,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Classical,
        Self::Hybrid,
        Self::OtherHybrid,
        Self::Broad,
        Self::OneSuite,
        Self::NewSignature,
    ];
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    Lower,
    Equal,
    WrongKey,
    WrongMaker,
    Truncated,
    Flipped,
    Uncompilable,
    Expired,
}

impl Bad {
    pub const ALL: [Self; 8] = [
        Self::Lower,
        Self::Equal,
        Self::WrongKey,
        Self::WrongMaker,
        Self::Truncated,
        Self::Flipped,
        Self::Uncompilable,
        Self::Expired,
    ];

    /// Whether a refusal is for the right reason.
    pub fn deserves(self, word: Word) -> bool {
        match self {
            Self::Lower => matches!(word, Word::NotNewer | Word::Withdrawn | Word::BelowFloor),
            Self::Equal => matches!(word, Word::NotNewer | Word::Withdrawn | Word::Busy),
            Self::WrongKey | Self::Truncated | Self::Flipped => word == Word::Signature,
            // After a change of the key it has our maker's statements, which do not lead to another maker's policy.
            Self::WrongMaker => matches!(word, Word::Maker | Word::Signature),
            Self::Uncompilable => word == Word::Provider,
            Self::Expired => word == Word::Expired,
        }
    }
}

/// Every how many versions the maker changes the policy key, for as long as it can be changed.
const VERSIONS_A_KEY: u64 = 6;

/// The maker's policy keys, and everything that they ever signed.
pub struct Press {
    key: KeyHandle,
    /// Of the key that everybody was given in the factory.
    first_spki_der: Vec<u8>,
    /// What leads from that one to the one that signs.
    pub key_changes: Vec<Vec<u8>>,
    stranger: KeyHandle,
    pub published: BTreeMap<u64, Rc<[u8]>>,
    start: Timestamp,
}

impl Press {
    pub fn new(start: Timestamp) -> Self {
        let key = || KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let (key, stranger) = (key(), key());
        let first_spki_der = key.spki_der().to_vec();
        let (key_changes, published) = (Vec::new(), BTreeMap::new());
        Self { key, first_spki_der, key_changes, stranger, published, start }
    }

    pub fn trust(&self) -> PolicyTrust {
        PolicyTrust::new(&self.first_spki_der, MAKER)
    }

    pub fn latest(&self) -> u64 {
        self.published.keys().next_back().copied().unwrap_or(0)
    }

    fn written(&self, version: u64, days: u64) -> Policy {
        let mut policy = Policy::built_in();
        (policy.version, policy.maker) = (version, Some(MAKER.to_owned()));
        policy.expires = Day::of(self.start.plus(Duration::from_secs(days * 86_400)));
        policy
    }

    fn sign(&self, policy: &Policy) -> Rc<[u8]> {
        let signed = policy::sign(policy, &self.key).unwrap();
        with_changes(&self.key_changes, signed).unwrap().into()
    }

    /// From now on another key signs.
    fn change_key(&mut self) {
        let next = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let before = DocumentKeys::new(std::mem::replace(&mut self.key, next));
        let place = u64::try_from(self.key_changes.len()).unwrap() + 1;
        let next = DocumentKeys::new(self.key.clone());
        self.key_changes.push(name_successor(&before, &next, place, MAKER).unwrap());
    }

    /// The build's policy in the maker's words.
    pub fn first(&mut self) -> Rc<[u8]> {
        let mut policy = self.written(1, 0);
        policy.expires = Policy::built_in().expires;
        let document = self.sign(&policy);
        self.published.insert(1, document.clone());
        document
    }

    /// The next version, which ends `days` after the world began.
    pub fn publish(&mut self, kind: Kind, days: u64, withdraws: Vec<u64>) -> Rc<[u8]> {
        let version = self.latest() + 1;
        if version.is_multiple_of(VERSIONS_A_KEY) && self.key_changes.len() < MAX_KEY_CHANGES {
            self.change_key();
        }
        let mut policy = self.written(version, days);
        policy.withdraws = withdraws;
        for tls in policy.uses.values_mut() {
            let groups: &[&str] = match kind {
                Kind::Classical => &["secp256r1", "secp384r1"],
                Kind::Hybrid => &["X25519MLKEM768"],
                Kind::OtherHybrid => &["SecP256r1MLKEM768"],
                Kind::Broad => &["SecP256r1MLKEM768", "X25519MLKEM768", "secp256r1"],
                Kind::OneSuite | Kind::NewSignature => &["X25519MLKEM768", "secp256r1"],
            };
            tls.groups = groups.iter().map(|name| (*name).into()).collect();
            if kind == Kind::OneSuite {
                tls.suites = vec!["TLS_AES_256_GCM_SHA384".into()];
            }
            if kind == Kind::NewSignature {
                tls.signatures = vec![P384.into()];
            }
        }
        let document = self.sign(&policy);
        self.published.insert(version, document.clone());
        document
    }

    /// What a document of this press says.
    pub fn read(&self, document: &[u8]) -> Policy {
        policy::verify(document, &self.first_spki_der).unwrap()
    }

    /// A document that whoever stands at `version` must refuse.
    pub fn bad(&self, bad: Bad, version: u64, now: Timestamp) -> Rc<[u8]> {
        let good = self.written(version + 1, 36_500);
        match bad {
            Bad::Lower => self.sign(&self.written(version.saturating_sub(1).max(1), 36_500)),
            Bad::Equal => self.sign(&self.written(version, 36_499)),
            Bad::WrongKey => policy::sign(&good, &self.stranger).unwrap().into(),
            Bad::WrongMaker => {
                let mut policy = good;
                policy.maker = Some("Somebody Else".to_owned());
                self.sign(&policy)
            }
            Bad::Truncated => {
                let whole = self.sign(&good);
                whole[..whole.len() * 2 / 3].into()
            }
            Bad::Flipped => {
                let mut changed = self.sign(&good).to_vec();
                let at = changed.len() / 3;
                changed[at] ^= 0x10;
                changed.into()
            }
            Bad::Uncompilable => {
                let mut policy = good;
                for tls in policy.uses.values_mut() {
                    tls.groups = vec!["X25519Kyber768Draft00".into()];
                }
                self.sign(&policy)
            }
            Bad::Expired => {
                let mut policy = good;
                policy.expires = Day::of(Timestamp(now.0.saturating_sub(3 * 86_400_000)));
                self.sign(&policy)
            }
        }
    }
}
