//! From a signed document to a policy that can be tried: verified, of this maker, compiled.

use super::refusal::{BelowFloor, Refusal};
use super::way::Way;
use countersign_crypto::cose::CoseError;
use countersign_crypto::policy::{
    CompiledPolicy, NotAllowed, Policy, PolicyDigest, SignedPolicyError, Use, VerifiedPolicy,
};
use countersign_crypto::secret::Strength;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::{Day, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Weakest strength that any policy may allow, in bits (NIST SP 800-131A: 112 is disallowed after 2030).
const FLOOR_STRENGTH: Strength = Strength(128);

/// What a policy is measured by on arrival: who may sign it, itself or by a chain of successors that the policy brings, and for whom
/// it must be.
#[derive(Debug, Clone)]
pub struct PolicyTrust {
    key: Vec<u8>,
    second: Option<Vec<u8>>,
    maker: String,
}

impl PolicyTrust {
    /// The policy key's SubjectPublicKeyInfo (DER) and the maker's organisation, as the ceremony's certificates name it.
    #[must_use]
    pub fn new(policy_spki_der: &[u8], maker: &str) -> Self {
        Self { key: policy_spki_der.to_vec(), second: None, maker: maker.to_owned() }
    }

    /// The same with the key of second signatures (SubjectPublicKeyInfo, DER), where the maker has one. Without it no policy
    /// is taken that needs two.
    #[must_use]
    pub fn with_second(self, second_spki_der: Option<Vec<u8>>) -> Self {
        Self { second: second_spki_der, ..self }
    }
}

/// Below this no policy is taken, whoever signed it.
///
/// The rule: the version is not lower than that of the policy in the build; each use offers only protocol versions that the
/// build's own policy has for that use; and every group, suite and signature of every use, and every document signature, has
/// the floor's strength.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFloor {
    version: u64,
    strength: Strength,
    /// Protocol versions that the build's own policy has, per use.
    protocols: BTreeMap<Use, Vec<&'static str>>,
}

impl PolicyFloor {
    /// The floor of this build: its own policy's version, and 128 bits.
    #[must_use]
    pub fn of_build() -> Self {
        let built_in = CompiledPolicy::built_in();
        let protocols = Use::ALL.map(|use_| (use_, built_in.rules(use_).versions().to_vec()));
        Self {
            version: built_in.version(),
            strength: FLOOR_STRENGTH,
            protocols: protocols.into_iter().collect(),
        }
    }

    /// A higher floor than the build's; a lower one cannot be made.
    #[must_use]
    pub fn raised_to(mut self, version: u64, strength: Strength) -> Self {
        self.version = self.version.max(version);
        self.strength = self.strength.max(strength);
        self
    }

    //= specs/house.md#house-policy
    //# A policy that is below the built-in floor MUST be refused.
    pub(super) fn judge(&self, policy: &CompiledPolicy) -> Result<(), BelowFloor> {
        let (offered, floor) = (policy.version(), self.version);
        if offered < floor {
            return Err(BelowFloor::Version { offered, floor });
        }
        let weak = |item: &str, place: &str, bits: Strength| BelowFloor::Strength {
            place: place.to_owned(),
            item: item.to_owned(),
            bits: bits.0,
            floor: self.strength.0,
        };
        for use_ in Use::ALL {
            let rules = policy.rules(use_);
            let known = self.protocols.get(&use_).map_or(&[][..], Vec::as_slice);
            if let Some(version) = rules.versions().iter().find(|name| !known.contains(name)) {
                return Err(BelowFloor::Protocol {
                    place: use_.as_str().to_owned(),
                    version: (*version).to_owned(),
                });
            }
            if rules.weakest() < self.strength {
                return Err(weak("a group or suite", use_.as_str(), rules.weakest()));
            }
            for name in rules.signatures() {
                let bits = SignatureAlgorithm::from_name(name).map(SignatureAlgorithm::strength);
                if let Some(bits) = bits.filter(|bits| *bits < self.strength) {
                    return Err(weak(name, use_.as_str(), bits));
                }
            }
        }
        for algorithm in policy.signing_algorithms() {
            if algorithm.strength() < self.strength {
                return Err(weak(algorithm.name(), "document-signing", algorithm.strength()));
            }
        }
        Ok(())
    }
}

/// Where a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The build carries it.
    BuiltIn,
    /// The policy key signed it.
    Signed,
}

/// A policy that can be offered to [`super::PolicySlots`]: the policy key signed it for this maker, and the provider can carry
/// it out; or it is the build's own.
///
/// ```compile_fail,E0451
/// use countersign_protocol::policy::{Origin, PreparedPolicy};
/// let forged = PreparedPolicy { digest: todo!(), origin: Origin::Signed, second: todo!(), way: todo!(),
///     compiled: todo!() };
/// ```
#[derive(Debug, Clone)]
pub struct PreparedPolicy {
    digest: PolicyDigest,
    origin: Origin,
    second: Second,
    way: Way,
    compiled: CompiledPolicy,
}

/// What a policy has to do with second signatures.
#[derive(Debug, Clone, Copy)]
struct Second {
    /// It asks its successor for one.
    asked: bool,
    /// It bears one under the maker's second key.
    borne: bool,
}

impl PreparedPolicy {
    /// A document that has just arrived, as of `day`.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::NoSecondKey`], [`Refusal::Maker`], [`Refusal::Provider`].
    //= specs/en-303-645.md#5.5-3
    //# A change of algorithms is a security-relevant change and MUST be authenticated like one.
    pub fn prepare(document: &[u8], trust: &PolicyTrust, day: Day) -> Result<Self, Refusal> {
        let (verified, second, way) = verify(document, trust)?;
        let digest = verified.digest();
        // 3. Can this build carry it out?
        let compiled = CompiledPolicy::for_provider(verified.into_policy(), day)?;
        Ok(Self { digest, origin: Origin::Signed, second, way, compiled })
    }

    /// A document that was taken before a restart, as of `day`. A list whose items have all ended meanwhile stays as it was on
    /// its last whole day: with nothing in it there would be nothing to ask for a newer policy with.
    ///
    /// # Errors
    /// As [`PreparedPolicy::prepare`].
    pub fn restore(document: &[u8], trust: &PolicyTrust, day: Day) -> Result<Self, Refusal> {
        let (verified, second, way) = verify(document, trust)?;
        let digest = verified.digest();
        let compiled = compile_latest(verified.into_policy(), day)?;
        Ok(Self { digest, origin: Origin::Signed, second, way, compiled })
    }

    /// The build's own, as of `day`.
    #[must_use]
    pub fn built_in(day: Day) -> Self {
        let built_in = CompiledPolicy::built_in();
        let compiled = compile_latest(Policy::built_in(), day).unwrap_or(built_in);
        let asked = !Policy::built_in().document_signing.second.is_empty();
        let second = Second { asked, borne: false };
        let (digest, way) = (PolicyDigest::of_built_in(), Way::default());
        Self { digest, origin: Origin::BuiltIn, second, way, compiled }
    }

    /// Whether `next` bears every signature that this policy asks of its successor.
    pub(super) const fn satisfied_by(&self, next: &Self) -> bool {
        !self.second.asked || next.second.borne
    }

    /// Whether it asks its successor for a second signature.
    pub(super) const fn asks_second(&self) -> bool {
        self.second.asked
    }

    /// The keys that led to it.
    pub(super) const fn way(&self) -> &Way {
        &self.way
    }

    /// The same as of another day; itself when nothing would be left.
    pub(super) fn on(&self, day: Day) -> Self {
        let compiled = self.compiled.at(day).unwrap_or_else(|_| self.compiled.clone());
        Self { compiled, ..self.clone() }
    }

    /// Whether channels come about under the other as they do under this one.
    pub(super) fn same_rules(&self, other: &Self) -> bool {
        Use::ALL.into_iter().all(|use_| {
            let (one, other) = (self.compiled.rules(use_), other.compiled.rules(use_));
            one.versions() == other.versions()
                && one.groups() == other.groups()
                && one.suites() == other.suites()
                && one.signatures() == other.signatures()
        })
    }

    /// Whether one's own certificate could be shown under it: the algorithm of its key, and the one that it was signed with. To be
    /// asked before a trial, since the other side may still take for the update door what this policy forbids.
    ///
    /// # Errors
    /// [`NotAllowed::Signature`]: the trial has failed, and is made again when the certificate was renewed.
    pub fn allows_identity(&self, use_: Use, signatures: &[&str]) -> Result<(), NotAllowed> {
        let allowed = self.compiled.rules(use_).signatures();
        match signatures.iter().find(|name| !allowed.contains(name)) {
            Some(name) => Err(NotAllowed::Signature((*name).to_owned())),
            None => Ok(()),
        }
    }

    /// Which policy it is.
    #[must_use]
    pub const fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// Where it comes from.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// What TLS is configured with.
    #[must_use]
    pub const fn compiled(&self) -> &CompiledPolicy {
        &self.compiled
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.compiled.version()
    }

    /// Its last instant.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.compiled.expires()
    }

    /// Whether its last day is over.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        // The whole of its last second belongs to it.
        now.as_secs() > self.expires().as_secs()
    }

    /// Whether it forbids a return to `version`.
    #[must_use]
    pub fn withdraws(&self, version: u64) -> bool {
        self.compiled.withdraws().contains(&version)
    }
}

fn verify(document: &[u8], trust: &PolicyTrust) -> Result<(VerifiedPolicy, Second, Way), Refusal> {
    // 1. Who wrote it? Nothing of the content is looked at before this is settled, but whether it needs two signatures.
    let verified = VerifiedPolicy::verify(document, &trust.key)?;
    let asked = !verified.policy().document_signing.second.is_empty();
    let (way, second) = Way::of(&verified, &trust.key, trust.second.as_deref())?;
    let borne = match (verified.second_spki_der(), &second) {
        (Some(key), Some(trusted)) if key != trusted => {
            return Err(SignedPolicyError::Cose(CoseError::SecondKey).into());
        }
        (Some(_), Some(_)) => true,
        (_, None) if asked => return Err(Refusal::NoSecondKey),
        _ => false,
    };
    // 2. For whom? One policy key may sign for several makers.
    //= specs/house.md#house-policy
    //# A policy for another maker MUST be refused.
    if verified.policy().maker.as_deref() != Some(trust.maker.as_str()) {
        let of = verified.policy().maker.clone().unwrap_or_default();
        return Err(Refusal::Maker { of, ours: trust.maker.clone() });
    }
    Ok((verified, Second { asked, borne }, way))
}

/// As of `day`, or else as of the last day before on which every list had something in it.
fn compile_latest(policy: Policy, day: Day) -> Result<CompiledPolicy, Refusal> {
    let refused = match CompiledPolicy::for_provider(policy.clone(), day) {
        Ok(compiled) => return Ok(compiled),
        Err(errors) => errors,
    };
    let ends: BTreeSet<Day> = policy
        .lists()
        .flat_map(|(_, items)| items.iter().filter_map(|item| item.until).collect::<Vec<_>>())
        .filter(|until| *until < day)
        .collect();
    let latest = ends
        .into_iter()
        .rev()
        .find_map(|end| CompiledPolicy::for_provider(policy.clone(), end).ok());
    latest.ok_or(Refusal::Provider(refused))
}
