//! The reviewed plan, TOML.

use std::time::Duration;

use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::id::OperatorName;
use serde::{Deserialize, Serialize};

use crate::error::AuthorityError;
use crate::root::{Custody, RawCustodian};

/// The commented default, as the command writes it for review.
#[must_use]
pub fn default_plan() -> String {
    let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name);
    let preferred = CompiledPolicy::built_in().signing_algorithm().name();
    TEMPLATE
        .replace("ALL_ALGORITHMS", &names.join(" or "))
        .replace("STRONGEST", strongest().name())
        .replace("ALGORITHM", preferred)
}

fn strongest() -> SignatureAlgorithm {
    let all = SignatureAlgorithm::ALL;
    all.into_iter().max_by_key(|one| one.strength()).expect("there are some")
}

const TEMPLATE: &str = r#"# Plan of a key ceremony. Two people review it before it is carried out; it stands in the ledger afterwards.

# The manufacturer, as it appears in every CA certificate (1 to 64 characters).
organisation = "Example Manufacturer"

# Its country, two letters (ISO 3166-1).
country = "DE"

# Signature algorithm of the issuing CAs, the policy key and the first operator: ALL_ALGORITHMS.
# A policy may retire it later: the issuing CAs are then rolled.
algorithm = "ALGORITHM"

# Signature algorithm of the root; left out: the same. Devices keep the root that they were made with, so no policy can
# retire its algorithm while they are in use: choose what outlasts them.
root_algorithm = "STRONGEST"

# Life of the root, in years (1 to 60). Devices carry it in their label and firmware.
root_years = 40

# Life of the CA of factory identities: as long as the last device may be set up anew. Not longer than the root's.
factory_years = 40

# Life of the CAs of operational identities and services. Not longer than the root's.
issuing_years = 10

# The first operator; gets credentials in operators/.
administrator = "admin"

# How many custodians must approve before the root signs anything; left out: none, and whoever can use this folder can
# use the root. 1 to all of those below.
# custodians_needed = 2

# [root]
# Where the root's key is kept: "here" in this folder (with custodians: sealed so that only they open it together),
# "file": in the file that --root names, which leaves the machine, or "token": in the PKCS#11 token of the configuration.
# keep = "here"

# Who they are, up to 7: each makes their key on their own machine by `countersign authority custodian new`, which prints
# these lines.
# [[custodian]]
# name = "alice"
# key = "…"
# share_key = "…"
"#;

/// The longest organisation name, in characters (RFC 5280 appendix A.1, `ub-organization-name`).
const MAX_ORGANISATION: usize = 64;
/// The longest life of a root, in years: what lives longer outlives its algorithm.
const MAX_YEARS: u32 = 60;
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60 + 6 * 60 * 60);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    organisation: String,
    country: String,
    algorithm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_algorithm: Option<String>,
    root_years: u32,
    factory_years: u32,
    issuing_years: u32,
    administrator: OperatorName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    custodians_needed: Option<u8>,
    #[serde(default, skip_serializing_if = "RawRoot::is_default")]
    root: RawRoot,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    custodian: Vec<RawCustodian>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoot {
    #[serde(default)]
    keep: Keep,
}

impl RawRoot {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the root's key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// In the data folder, or where the configuration keeps all keys.
    #[default]
    Here,
    /// In a file that leaves the machine.
    File,
    /// In the PKCS#11 token of the configuration.
    Token,
}

/// A plan that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonyPlan {
    raw: RawPlan,
    algorithm: SignatureAlgorithm,
    root_algorithm: SignatureAlgorithm,
    custody: Custody,
}

impl CeremonyPlan {
    /// Reads and checks a plan; `file` names it in errors.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] with field and mend.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, AuthorityError> {
        let refused =
            |detail: String| AuthorityError::Configuration { file: file.to_owned(), detail };
        let raw: RawPlan = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        Self::check(raw).map_err(refused)
    }

    /// The default plan, for demonstrations.
    #[must_use]
    pub fn example() -> Self {
        Self::from_toml("default plan", &default_plan())
            .expect("the default is valid: a test holds it")
    }

    fn check(raw: RawPlan) -> Result<Self, String> {
        let length = raw.organisation.chars().count();
        if !(1..=MAX_ORGANISATION).contains(&length)
            || raw.organisation.chars().any(char::is_control)
        {
            return Err(format!("organisation: use 1 to {MAX_ORGANISATION} printable characters"));
        }
        if raw.country.len() != 2 || !raw.country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(format!(
                "country = {:?}: use two upper-case letters (ISO 3166-1)",
                raw.country
            ));
        }
        let known = |field: &str, name: &str| {
            SignatureAlgorithm::from_name(name).ok_or_else(|| {
                let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name).join(" or ");
                format!("{field} = {name:?}: use {names}")
            })
        };
        let algorithm = known("algorithm", &raw.algorithm)?;
        let root_algorithm = match &raw.root_algorithm {
            Some(name) => known("root_algorithm", name)?,
            None => algorithm,
        };
        if !(1..=MAX_YEARS).contains(&raw.root_years) {
            return Err(format!("root_years = {}: use 1 to {MAX_YEARS}", raw.root_years));
        }
        for (field, years) in
            [("factory_years", raw.factory_years), ("issuing_years", raw.issuing_years)]
        {
            if !(1..=raw.root_years).contains(&years) {
                let root = raw.root_years;
                return Err(format!("{field} = {years}: use 1 to the root's {root} years"));
            }
        }
        let custody = Custody::read(raw.custodians_needed, &raw.custodian)?;
        Ok(Self { raw, algorithm, root_algorithm, custody })
    }

    /// The plan as it is kept beside the keys, and hashed in the ledger.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.raw).expect("strings and numbers serialise")
    }

    /// The manufacturer.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.raw.organisation
    }
    /// Its country.
    #[must_use]
    pub fn country(&self) -> &str {
        &self.raw.country
    }
    /// Who must agree before the root signs.
    #[must_use]
    pub fn custody(&self) -> &Custody {
        &self.custody
    }
    /// Where the root's key is kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.raw.root.keep
    }
    /// Algorithm of all keys but the root's.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    /// Algorithm of the root's key.
    #[must_use]
    pub fn root_algorithm(&self) -> SignatureAlgorithm {
        self.root_algorithm
    }
    /// Life of the root.
    #[must_use]
    pub fn root_life(&self) -> Duration {
        YEAR * self.raw.root_years
    }
    /// Life of the CA of factory identities.
    #[must_use]
    pub fn factory_life(&self) -> Duration {
        YEAR * self.raw.factory_years
    }
    /// Life of the other issuing CAs.
    #[must_use]
    pub fn issuing_life(&self) -> Duration {
        YEAR * self.raw.issuing_years
    }
    /// The first operator.
    #[must_use]
    pub fn administrator(&self) -> &OperatorName {
        &self.raw.administrator
    }
}
