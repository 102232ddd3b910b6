//! From names to what TLS is configured with, or to errors that say which name and why.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use countersign_model::time::{Day, Timestamp};
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};

use super::resolve::Findings;
use super::{Alpn, CompileError, Policy, TlsUse, Use};
use crate::provider::{self, Scheme};
use crate::second::SecondAlgorithm;
use crate::secret::Strength;
use crate::signature::SignatureAlgorithm;

//= specs/house.md#house-channel
//# TLS below 1.3 MUST be refused by the default policy.
/// The one version of TLS that the product speaks (RFC 9846).
pub(super) static VERSIONS: &[&str] = &["TLS 1.3"];
/// What seals files.
static AEADS: &[&str] = &[provider::SEAL_AEAD];
/// Most tickets after a handshake: more only helps clients that open many connections at once.
const MAX_TICKETS: u8 = 4;
/// Longest name of a maker, in characters (RFC 5280 appendix A.1, `ub-organization-name`).
const MAX_MAKER: usize = 64;
/// Most versions that one policy withdraws. Whoever needs more raises the version once and withdraws none.
const MAX_WITHDRAWN: usize = 256;

/// A policy that the provider can carry out, whole, as of a day.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    policy: Policy,
    day: Day,
    uses: BTreeMap<Use, TlsRules>,
    signing: Vec<SignatureAlgorithm>,
    second: Vec<SecondAlgorithm>,
}

/// One use's TLS rules, resolved.
#[derive(Debug, Clone)]
pub struct TlsRules {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) alpn: Alpn,
    pub(crate) tickets: u8,
    pub(crate) weakest: Strength,
    versions: Vec<&'static str>,
    groups: Vec<&'static str>,
    suites: Vec<&'static str>,
    signatures: Vec<&'static str>,
}

impl TlsRules {
    /// The weakest strength that a connection under these rules can have.
    #[must_use]
    pub fn weakest(&self) -> Strength {
        self.weakest
    }

    /// Versions that are offered, by name, most preferred first.
    #[must_use]
    pub fn versions(&self) -> &[&'static str] {
        &self.versions
    }

    /// Groups that are offered, by registered name, most preferred first.
    #[must_use]
    pub fn groups(&self) -> &[&'static str] {
        &self.groups
    }

    /// Cipher suites that are offered, by registered name, most preferred first.
    #[must_use]
    pub fn suites(&self) -> &[&'static str] {
        &self.suites
    }

    /// Signature schemes that are offered and accepted, by registered name, most preferred first.
    #[must_use]
    pub fn signatures(&self) -> &[&'static str] {
        &self.signatures
    }
}

impl CompiledPolicy {
    /// Compiles what somebody wrote and is about to put in force: every name is resolved against the provider and judged
    /// by the policy's profile, and items past their `until` on `day` are left out.
    ///
    /// # Errors
    /// Every fault found, each with its line, field, item and mend, and the catalogue's statement where one says no.
    //= specs/house.md#house-policy
    //# A policy MUST NOT be put in force with an item that its profile does not allow, unless no source lists the item and the policy says why it stands there.
    pub fn compile(policy: Policy, day: Day) -> Result<Self, Vec<CompileError>> {
        let judged = super::judge::faults(&policy, day);
        match Self::for_provider(policy, day) {
            Ok(compiled) if judged.is_empty() => Ok(compiled),
            Ok(_) => Err(judged),
            Err(mut errors) => {
                // An item that the provider does not have is told once.
                let known = errors.len();
                for fault in judged {
                    if errors[..known].iter().all(|error| error.path != fault.path) {
                        errors.push(fault);
                    }
                }
                Err(errors)
            }
        }
    }

    /// Compiles what its maker has put in force already: a policy that arrived signed, or that was accepted before this
    /// restart. Only the provider and the items' own `until` count: a device that refused its maker's policy on the word
    /// of a catalogue that came with older firmware would be out of reach (`docs/decisions/0013-registry-judges-authors.md`).
    ///
    /// # Errors
    /// As [`CompiledPolicy::compile`].
    //= specs/house.md#house-policy
    //# A policy that the provider cannot carry out MUST be refused with the reason.
    pub fn for_provider(policy: Policy, day: Day) -> Result<Self, Vec<CompileError>> {
        let mut findings = Findings { policy: &policy, day, errors: Vec::new() };
        let mut uses = BTreeMap::new();
        for use_ in Use::ALL {
            let path = format!("uses.{}", use_.as_str());
            match policy.uses.get(&use_) {
                Some(tls) => uses.extend(compile_use(&path, tls, &mut findings).map(|r| (use_, r))),
                None => findings.add(&path, "is missing", "give every use its rules"),
            }
        }
        let documents = &policy.document_signing;
        let signing =
            compile_signing("document-signing.signatures", &documents.signatures, &mut findings);
        let second = findings
            .resolve(
                "document-signing.second",
                &documents.second,
                SecondAlgorithm::offered(),
                |a| a.name(),
            )
            .into_iter()
            .copied()
            .collect();
        if !documents.second.is_empty() {
            findings.some("document-signing.second", &documents.second);
        }
        findings.some("document-signing.signatures", &documents.signatures);
        findings.resolve("storage.aead", &policy.storage.aead, AEADS, |name| name);
        findings.some("storage.aead", &policy.storage.aead);
        check_head(&policy, &mut findings);
        let errors = findings.errors;
        if errors.is_empty() {
            Ok(Self { policy, day, uses, signing, second })
        } else {
            Err(errors)
        }
    }

    /// The built-in policy, as of the day on which its items were last reviewed. A shell that has a clock asks
    /// [`CompiledPolicy::at`] for today's.
    #[must_use]
    pub fn built_in() -> Self {
        Self::for_provider(Policy::built_in(), reviewed())
            .expect("the built-in policy is tested to compile")
    }

    /// The same policy as of another day. Cheap when no item's `until` lies between.
    ///
    /// # Errors
    /// As [`CompiledPolicy::compile`]: when a use is left without any item, which the fault names with the day.
    pub fn at(&self, day: Day) -> Result<Self, Vec<CompileError>> {
        let same = self.policy.lists().all(|(_, items)| {
            items.iter().all(|item| item.offered_on(day) == item.offered_on(self.day))
        });
        if same {
            return Ok(Self { day, ..self.clone() });
        }
        Self::for_provider(self.policy.clone(), day)
    }

    /// The first day on which this compilation no longer holds, because an item's `until` has passed: ask
    /// [`CompiledPolicy::at`] then. None when no item ends any more.
    #[must_use]
    pub fn next_change(&self) -> Option<Day> {
        let lists = self.policy.lists();
        let ends = lists.flat_map(|(_, items)| items.iter().filter_map(|item| item.until));
        ends.filter(|until| self.day <= *until).min().map(Day::next)
    }

    /// The day that it was compiled for.
    #[must_use]
    pub fn day(&self) -> Day {
        self.day
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.policy.version
    }

    /// Whose devices it is for; none for the built-in one.
    #[must_use]
    pub fn maker(&self) -> Option<&str> {
        self.policy.maker.as_deref()
    }

    /// Earlier versions to which nobody may return.
    #[must_use]
    pub fn withdraws(&self) -> &[u64] {
        &self.policy.withdraws
    }

    /// The last instant of its last day.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.policy.expires.end()
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

    /// What a second signature, needed beside the first, may be made with; empty when none is needed.
    #[must_use]
    pub fn second_signing_algorithms(&self) -> &[SecondAlgorithm] {
        &self.second
    }
}

/// The day on which the built-in policy's items were last reviewed. It moves with `default.toml`.
fn reviewed() -> Day {
    Day::new(2026, 11, 25).expect("a day of the calendar")
}

fn check_head(policy: &Policy, findings: &mut Findings<'_>) {
    if policy.version == 0 {
        findings.add("version", "is 0", "write 1 or more");
    }
    if let Some(maker) = &policy.maker {
        let length = maker.chars().count();
        if maker.trim().is_empty() || length > MAX_MAKER || maker.chars().any(char::is_control) {
            let mend = format!(
                "write the organisation of the ceremony plan, 1 to {MAX_MAKER} printable characters"
            );
            findings.add("maker", "is no organisation", mend);
        }
    }
    if policy.withdraws.len() > MAX_WITHDRAWN {
        let fault = format!("lists {} versions, over {MAX_WITHDRAWN}", policy.withdraws.len());
        findings.add("withdraws", fault, "leave out those that have expired");
    }
    for (index, version) in policy.withdraws.iter().enumerate() {
        if *version >= policy.version {
            let fault = format!("withdraws version {version}, which is not an earlier one");
            let mend = format!("name versions below {} only", policy.version);
            findings.add(&format!("withdraws[{index}]"), fault, mend);
            break;
        }
    }
    for (path, items) in policy.lists() {
        findings.bounded(&path, items);
    }
}

fn compile_use(path: &str, tls: &TlsUse, findings: &mut Findings<'_>) -> Option<TlsRules> {
    let before = findings.errors.len();
    let at = |field: &str| format!("{path}.{field}");
    let versions = findings.resolve(&at("versions"), &tls.versions, VERSIONS, |name| name);
    let groups = findings.resolve(&at("groups"), &tls.groups, provider::GROUPS, |g| g.name);
    let suites = findings.resolve(&at("suites"), &tls.suites, provider::SUITES, |s| s.name);
    let schemes =
        findings.resolve(&at("signatures"), &tls.signatures, provider::SCHEMES, |s| s.name);
    if tls.tickets > MAX_TICKETS {
        let fault = format!("is {}, over {MAX_TICKETS}", tls.tickets);
        findings.add(&at("tickets"), fault, format!("write 0 to {MAX_TICKETS}"));
    }
    findings.some(&at("versions"), &tls.versions);
    findings.some(&at("groups"), &tls.groups);
    findings.some(&at("suites"), &tls.suites);
    findings.some(&at("signatures"), &tls.signatures);
    if findings.errors.len() > before {
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
        versions: versions.into_iter().copied().collect(),
        groups: groups.iter().map(|g| g.name).collect(),
        suites: suites.iter().map(|s| s.name).collect(),
        signatures: schemes.iter().map(|s| s.name).collect(),
    })
}

fn compile_signing(
    path: &str,
    items: &[super::Item],
    findings: &mut Findings<'_>,
) -> Vec<SignatureAlgorithm> {
    findings
        .resolve(path, items, provider::SCHEMES, |scheme| scheme.name)
        .into_iter()
        .filter_map(|scheme| SignatureAlgorithm::from_name(scheme.name))
        .collect()
}

/// rustls wants these tables for ever. They are made once per set of schemes, of which the registry allows few.
pub(super) fn verifiers(schemes: &[&'static Scheme]) -> WebPkiSupportedAlgorithms {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
