//! Rules that every certificate keeps, held *before* the issuing key is asked.
//!
//! ```text
//!  Prepared ──lint──► LintedCertificate ──issuance, by move──► signature
//!               │
//!               └──► LintFailure: every broken rule, by name
//! ```
//!
//! One rule a file, in a folder named after who demands it; [`RULES`] lists them. A new rule is a file and a line.

mod house;
mod iot;
mod rfc5280;

use std::time::Duration;

use countersign_crypto::issue::{Facts, Prepared};
use countersign_model::time::Timestamp;

use crate::subject::Purpose;

/// What a rule judges.
#[derive(Debug, Clone)]
pub struct Context {
    /// The certificate.
    pub facts: Facts,
    /// Its issuer.
    pub issuer: Facts,
    /// What it is for; `None` for an issuing CA.
    pub purpose: Option<Purpose>,
    /// The subject's name.
    pub name: String,
    /// The longest life that is configured; `None` for no limit.
    pub life: Option<Duration>,
    /// Now.
    pub now: Timestamp,
}

/// One rule.
pub struct Rule {
    /// Its name: folder and file.
    pub id: &'static str,
    /// Who demands it.
    pub source: &'static str,
    check: fn(&Context) -> Result<(), String>,
}

impl Rule {
    /// Whether the certificate keeps the rule.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, context: &Context) -> Result<(), String> {
        (self.check)(context)
    }
}

/// Every rule, in reading order.
pub const RULES: [Rule; 18] = [
    rfc5280::version::RULE,
    rfc5280::serial::RULE,
    rfc5280::signature_algorithm::RULE,
    rfc5280::issuer::RULE,
    rfc5280::time_form::RULE,
    rfc5280::extensions::RULE,
    rfc5280::issuing_ca::RULE,
    iot::key::RULE,
    iot::key_identifiers::RULE,
    iot::key_usage::RULE,
    iot::extended_key_usage::RULE,
    iot::no_pointers::RULE,
    iot::names::RULE,
    iot::depth::RULE,
    house::identity::RULE,
    house::issuer_fits_purpose::RULE,
    house::serial_entropy::RULE,
    house::validity::RULE,
];

/// A certificate that keeps every rule, and lacks only its signature. Made by linting only.
///
/// ```compile_fail
/// use countersign_authority::lint::LintedCertificate;
/// fn skip(prepared: countersign_crypto::issue::Prepared) -> LintedCertificate {
///     LintedCertificate { prepared }
/// }
/// ```
#[derive(Debug)]
pub struct LintedCertificate {
    prepared: Prepared,
}

impl LintedCertificate {
    /// The bytes that were linted.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.prepared.tbs()
    }

    /// Gives the certificate up to be signed, once.
    pub(crate) fn into_prepared(self) -> Prepared {
        self.prepared
    }
}

/// What a rule needs to know beyond the certificate itself.
pub(crate) struct About<'a> {
    pub(crate) purpose: Option<Purpose>,
    pub(crate) name: &'a str,
    pub(crate) life: Option<Duration>,
    pub(crate) now: Timestamp,
}

/// Holds a prepared certificate against every rule.
pub(crate) fn lint(
    prepared: Prepared,
    about: &About<'_>,
) -> Result<LintedCertificate, LintFailure> {
    let unreadable = |error: countersign_crypto::issue::MalformedCertificate| LintFailure {
        broken: vec![("readable", error.to_string())],
    };
    let context = Context {
        facts: Facts::of(prepared.draft()).map_err(unreadable)?,
        issuer: prepared.issuer().clone(),
        purpose: about.purpose,
        name: about.name.to_owned(),
        life: about.life,
        now: about.now,
    };
    let broken: Vec<_> = RULES
        .iter()
        .filter_map(|rule| rule.check(&context).err().map(|what| (rule.id, what)))
        .collect();
    if broken.is_empty() { Ok(LintedCertificate { prepared }) } else { Err(LintFailure { broken }) }
}

/// Every rule that a certificate would have broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintFailure {
    /// Rule and finding.
    pub broken: Vec<(&'static str, String)>,
}

impl std::fmt::Display for LintFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the certificate was not signed, because it would break")?;
        for (rule, finding) in &self.broken {
            write!(f, " {rule} ({finding});")?;
        }
        Ok(())
    }
}

impl std::error::Error for LintFailure {}

/// A finding unless `fine`.
fn require(fine: bool, finding: impl FnOnce() -> String) -> Result<(), String> {
    if fine { Ok(()) } else { Err(finding()) }
}

#[cfg(test)]
mod tests;
