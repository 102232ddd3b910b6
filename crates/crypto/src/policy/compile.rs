//! From names to what TLS is configured with, or to errors that say which name and why.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use countersign_model::time::Timestamp;
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};

use super::{Alpn, Policy, TlsUse, Use};
use crate::provider::{self, Scheme};
use crate::secret::Strength;
use crate::signature::SignatureAlgorithm;

//= specs/house.md#house-channel
//# TLS below 1.3 MUST be refused by the default policy.
/// The one version of TLS that the product speaks (RFC 9846).
const TLS13: &str = "TLS 1.3";
/// Most tickets after a handshake: more only helps clients that open many connections at once.
const MAX_TICKETS: u8 = 4;

/// A policy that the provider can carry out, whole.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    policy: Policy,
    expires: Timestamp,
    uses: BTreeMap<Use, TlsRules>,
    signing: Vec<SignatureAlgorithm>,
}

/// One use's TLS rules, resolved.
#[derive(Debug, Clone)]
pub struct TlsRules {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) alpn: Alpn,
    pub(crate) tickets: u8,
    pub(crate) weakest: Strength,
}

impl TlsRules {
    /// The weakest strength that a connection under these rules can have.
    #[must_use]
    pub fn weakest(&self) -> Strength {
        self.weakest
    }
}

impl CompiledPolicy {
    /// Resolves every name of `policy` against the provider.
    ///
    /// # Errors
    /// Every fault found, each with the path of its field.
    //= specs/house.md#house-policy
    //# A policy that the provider cannot carry out MUST be refused with the reason.
    pub fn compile(policy: Policy) -> Result<Self, Vec<CompileError>> {
        let mut errors = Vec::new();
        let mut uses = BTreeMap::new();
        for use_ in Use::ALL {
            let Some(tls) = policy.uses.get(&use_) else {
                errors.push(CompileError::new(
                    format!("uses.{}", use_.as_str()),
                    "is missing: every use needs its rules",
                ));
                continue;
            };
            if let Some(rules) = compile_use(use_, tls, &mut errors) {
                uses.insert(use_, rules);
            }
        }
        let expires = parse_day(&policy.expires).unwrap_or_else(|| {
            errors.push(CompileError::new("expires".into(), "is no day: write YYYY-MM-DD"));
            Timestamp(0)
        });
        let signing = compile_signing(&policy, &mut errors);
        compile_storage(&policy, &mut errors);
        if policy.version == 0 {
            errors.push(CompileError::new("version".into(), "must be 1 or more"));
        }
        if errors.is_empty() { Ok(Self { policy, expires, uses, signing }) } else { Err(errors) }
    }

    /// The built-in policy, compiled.
    #[must_use]
    pub fn built_in() -> Self {
        Self::compile(Policy::built_in()).expect("the built-in policy is tested to compile")
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.policy.version
    }

    /// The last instant of its last day.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The policy as it was written.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rules of one use.
    #[must_use]
    pub fn rules(&self, use_: Use) -> &TlsRules {
        self.uses.get(&use_).expect("a compiled policy has every use")
    }

    /// What signs new certificates and documents.
    #[must_use]
    pub fn signing_algorithm(&self) -> SignatureAlgorithm {
        *self.signing.first().expect("a compiled policy has a signature algorithm")
    }

    /// What signed documents may be signed with.
    #[must_use]
    pub fn signing_algorithms(&self) -> &[SignatureAlgorithm] {
        &self.signing
    }
}

fn compile_use(use_: Use, tls: &TlsUse, errors: &mut Vec<CompileError>) -> Option<TlsRules> {
    let before = errors.len();
    let at = |field: &str| format!("uses.{}.{field}", use_.as_str());
    for version in &tls.versions {
        if version != TLS13 {
            errors.push(CompileError::new(
                at("versions"),
                &format!("{version:?} is not offered: write {TLS13:?}"),
            ));
        }
    }
    if tls.tickets > MAX_TICKETS {
        errors.push(CompileError::new(at("tickets"), &format!("is over {MAX_TICKETS}")));
    }
    let groups = resolve(&tls.groups, &at("groups"), provider::GROUPS, |g| g.name, errors);
    let suites = resolve(&tls.suites, &at("suites"), provider::SUITES, |s| s.name, errors);
    let schemes =
        resolve(&tls.signatures, &at("signatures"), provider::SCHEMES, |s| s.name, errors);
    if tls.versions.is_empty() {
        errors.push(CompileError::new(at("versions"), "is empty: nothing could connect"));
    }
    if errors.len() > before {
        return None;
    }
    let bits = groups.iter().map(|g| g.bits).chain(suites.iter().map(|s| s.bits)).min()?;
    let mut narrowed = provider::tls_backend();
    //= specs/house.md#house-channel
    //# A hybrid group MUST be preferred when both sides have one.
    narrowed.kx_groups = groups.iter().map(|g| g.group).collect();
    narrowed.cipher_suites = suites.iter().map(|s| s.suite).collect();
    narrowed.signature_verification_algorithms = verifiers(&schemes);
    Some(TlsRules {
        provider: Arc::new(narrowed),
        alpn: tls.alpn,
        tickets: tls.tickets,
        weakest: Strength(bits),
    })
}

fn resolve<T>(
    names: &[String],
    path: &str,
    known: &'static [T],
    name_of: impl Fn(&T) -> &'static str,
    errors: &mut Vec<CompileError>,
) -> Vec<&'static T> {
    if names.is_empty() {
        errors.push(CompileError::new(path.to_owned(), "is empty: nothing could connect"));
    }
    let mut found: Vec<&'static T> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(entry) = known.iter().find(|entry| name_of(entry) == name) else {
            let all = known.iter().map(&name_of).collect::<Vec<_>>().join(", ");
            let text = format!("{name:?} is not offered by the provider: use one of {all}");
            errors.push(CompileError::new(path, &text));
            continue;
        };
        if found.iter().any(|earlier| name_of(earlier) == name_of(entry)) {
            errors.push(CompileError::new(path, &format!("{name:?} stands twice")));
        } else {
            found.push(entry);
        }
    }
    found
}

fn compile_signing(policy: &Policy, errors: &mut Vec<CompileError>) -> Vec<SignatureAlgorithm> {
    let path = "document-signing.signatures";
    let names = &policy.document_signing.signatures;
    resolve(names, path, provider::SCHEMES, |s| s.name, errors)
        .into_iter()
        .filter_map(|scheme| SignatureAlgorithm::from_name(scheme.name))
        .collect()
}

fn compile_storage(policy: &Policy, errors: &mut Vec<CompileError>) {
    if policy.storage.aead.is_empty() {
        errors.push(CompileError::new("storage.aead".into(), "is empty: nothing could be stored"));
    }
    for (index, name) in policy.storage.aead.iter().enumerate() {
        if name != provider::SEAL_AEAD {
            let text = format!("{name:?} is not offered: use {}", provider::SEAL_AEAD);
            errors.push(CompileError::new(format!("storage.aead[{index}]"), &text));
        }
    }
}

/// rustls wants these tables for ever. They are made once per set of schemes, of which the registry allows few.
fn verifiers(schemes: &[&'static Scheme]) -> WebPkiSupportedAlgorithms {
    type Tables = HashMap<Vec<u16>, WebPkiSupportedAlgorithms>;
    static MADE: OnceLock<Mutex<Tables>> = OnceLock::new();
    let key = schemes.iter().map(|scheme| u16::from(scheme.scheme)).collect();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    *made.entry(key).or_insert_with(|| {
        let all: Vec<_> = schemes.iter().flat_map(|s| s.verifiers.iter().copied()).collect();
        let mapping: Vec<(SignatureScheme, _)> =
            schemes.iter().map(|s| (s.scheme, s.verifiers)).collect();
        WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() }
    })
}

/// The last instant of a day `YYYY-MM-DD`.
fn parse_day(day: &str) -> Option<Timestamp> {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(day, form).ok()?;
    let end = date.with_hms(23, 59, 59).ok()?.assume_utc().unix_timestamp();
    u64::try_from(end).ok().map(Timestamp::from_secs)
}

/// One fault of a policy: where, and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {text}")]
pub struct CompileError {
    /// Path of the field, such as `uses.pairing.groups[1]`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl CompileError {
    fn new(path: String, text: &str) -> Self {
        Self { path, text: text.to_owned() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::policy::DEFAULT_TOML;

    fn compile(text: &str) -> Result<CompiledPolicy, Vec<CompileError>> {
        CompiledPolicy::compile(Policy::from_toml(text).unwrap())
    }

    //= specs/en-303-645.md#5.5-1
    //= type=test
    //# A device MUST use best-practice cryptography for its communication.
    #[test]
    fn the_built_in_policy_compiles_hybrid_first() {
        let policy = CompiledPolicy::built_in();
        for use_ in Use::ALL {
            let rules = policy.rules(use_);
            assert!(rules.weakest() >= Strength(128));
            assert!(format!("{:?}", rules.provider.kx_groups[0].name()).contains("MLKEM768"));
        }
        assert_eq!(policy.expires().to_rfc3339(), "2031-12-31T23:59:59Z");
    }

    //= specs/house.md#house-channel
    //= type=test
    //# TLS below 1.3 MUST be refused by the default policy.
    //= specs/house.md#house-policy
    //= type=test
    //# A policy that the provider cannot carry out MUST be refused with the reason.
    #[test]
    fn each_fault_names_its_field_and_the_mend() {
        for (from, to, path, mend) in [
            ("\"X25519MLKEM768\"", "\"X25519Kyber\"", "uses.device-uplink.groups[1]", "use one of"),
            ("\"TLS 1.3\"", "\"TLS 1.2\"", "uses.device-uplink.versions", "write \"TLS 1.3\""),
            ("2031-12-31", "31.12.2031", "expires", "YYYY-MM-DD"),
            ("tickets = 0", "tickets = 9", "uses.device-uplink.tickets", "over 4"),
            ("version = 1\n", "version = 0\n", "version", "1 or more"),
            ("AEAD_AES_256_GCM_SIV", "ROT13", "storage.aead[0]", "AEAD_AES_256_GCM_SIV"),
        ] {
            let errors = compile(&DEFAULT_TOML.replace(from, to)).unwrap_err();
            let found = errors.iter().any(|e| e.path == path && e.text.contains(mend));
            assert!(found, "{path}: {errors:?}");
        }
    }

    #[test]
    fn a_missing_use_and_a_name_that_stands_twice_are_faults() {
        let missing = DEFAULT_TOML.replace("[uses.est]", "[uses.pairing2]");
        assert!(Policy::from_toml(&missing).is_err(), "an unknown use is no use");
        let twice = DEFAULT_TOML.replace("\"X25519MLKEM768\"", "\"SecP256r1MLKEM768\"");
        assert!(compile(&twice).unwrap_err()[0].text.contains("twice"));
    }
}
