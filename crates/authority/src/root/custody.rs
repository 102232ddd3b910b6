//! Who holds the root, as the plan says it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::custody::{Holder, MAX_CUSTODIANS, WrapPublic};
use countersign_crypto::digest::sha256;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::id::OperatorName;
use serde::{Deserialize, Serialize};

/// `[[custodian]]` of a plan, as `authority custodian new` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCustodian {
    pub(crate) name: OperatorName,
    /// SubjectPublicKeyInfo DER, base64.
    pub(crate) key: String,
    /// An uncompressed point, base64.
    pub(crate) share_key: String,
}

/// One person who holds the root together with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custodian {
    /// Their name.
    pub name: OperatorName,
    /// Under which key their approvals are verified, SubjectPublicKeyInfo DER.
    pub spki_der: Vec<u8>,
    /// To which key their shares are wrapped.
    pub share_key: WrapPublic,
}

impl Custodian {
    /// The fingerprint that they compare with their own: SHA-256 of the key, hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(sha256(&self.spki_der))
    }

    fn read(raw: &RawCustodian) -> Result<Self, String> {
        let field = |field: &str, detail: &str| {
            format!(
                "custodian {:?}: {field}: {detail}: copy it as `authority custodian new` prints it",
                raw.name.as_str()
            )
        };
        let spki_der = STANDARD.decode(&raw.key).map_err(|_| field("key", "is not base64"))?;
        if SignatureAlgorithm::of_spki(&spki_der).is_none() {
            return Err(field("key", "is no public key of a kind that signs here"));
        }
        let point =
            STANDARD.decode(&raw.share_key).map_err(|_| field("share_key", "is not base64"))?;
        let share_key = WrapPublic::from_bytes(&point)
            .ok_or_else(|| field("share_key", "is no key that a share can be wrapped to"))?;
        Ok(Self { name: raw.name.clone(), spki_der, share_key })
    }
}

/// Who must agree before the root signs: `needed` of these people, or nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Custody {
    needed: usize,
    custodians: Vec<Custodian>,
}

impl Custody {
    /// Reads `custodians_needed` and `[[custodian]]` of a plan.
    pub(crate) fn read(needed: Option<u8>, raw: &[RawCustodian]) -> Result<Self, String> {
        let custodians = raw.iter().map(Custodian::read).collect::<Result<Vec<_>, _>>()?;
        if custodians.len() > MAX_CUSTODIANS {
            return Err(format!("custodian: {} of them: name at most {MAX_CUSTODIANS}", raw.len()));
        }
        for (at, one) in custodians.iter().enumerate() {
            for other in &custodians[..at] {
                if one.name.as_str().eq_ignore_ascii_case(other.name.as_str()) {
                    return Err(format!("custodian {:?}: is named twice", one.name.as_str()));
                }
                if one.spki_der == other.spki_der || one.share_key == other.share_key {
                    return Err(format!(
                        "custodian {:?}: has the same key as {:?}: each makes their own",
                        one.name.as_str(),
                        other.name.as_str()
                    ));
                }
            }
        }
        let needed = usize::from(needed.unwrap_or(0));
        match custodians.len() {
            0 if needed > 0 => Err(format!(
                "custodians_needed = {needed}: the plan names no custodian: add [[custodian]], or leave it out"
            )),
            0 => Ok(Self::default()),
            of if (1..=of).contains(&needed) => Ok(Self { needed, custodians }),
            of => Err(format!("custodians_needed = {needed}: use 1 to the {of} custodians")),
        }
    }

    /// How many must agree; 0 where the plan names no custodians.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// Everybody who may.
    #[must_use]
    pub fn custodians(&self) -> &[Custodian] {
        &self.custodians
    }

    /// Whether anybody must agree.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.needed > 0
    }

    /// Which custody it is: SHA-256 over number, names and keys, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut text = format!("countersign custody v1\n{}\n", self.needed);
        for one in &self.custodians {
            let share_key = hex::encode(one.share_key.as_bytes());
            text.push_str(&format!("{} {} {share_key}\n", one.name, one.fingerprint()));
        }
        hex::encode(sha256(text.as_bytes()))
    }

    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.custodians.iter().map(|one| Holder { public: one.share_key.clone() }).collect()
    }
}

impl std::fmt::Display for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.is_held() {
            return f.write_str("none: whoever can use this folder can use the root");
        }
        let names: Vec<_> = self.custodians.iter().map(|one| one.name.as_str()).collect();
        write!(f, "{} of {}: {}", self.needed, names.len(), names.join(", "))
    }
}
