//! Until when a policy lets a key be used, and what its successor is to be made with.
//!
//! ```text
//!  policy, uses ──► Signatures ──lasts──► Lasts      of a certificate: of its key and of what signed it
//!                        └──────for_new─► the algorithm of the next key
//! ```
//!
//! A certificate counts at several places at once: an operational identity at the gateway, at enrolment and in the
//! home. What one of them refuses is of no use there, so the uses' lists are taken together.

use countersign_model::time::{Day, Timestamp};

use crate::certificate::Certificate;
use crate::policy::{CompiledPolicy, Item, Use};
use crate::signature::SignatureAlgorithm;

/// Until when something may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lasts {
    /// Not any more: the policy does not name it, or its last day is over.
    Ended,
    /// To this instant, included.
    Until(Timestamp),
    /// For as long as the policy says nothing else.
    Open,
}

impl Lasts {
    /// Whether it may still be used at `at`.
    #[must_use]
    pub fn at(self, at: Timestamp) -> bool {
        match self {
            Self::Ended => false,
            Self::Until(last) => at <= last,
            Self::Open => true,
        }
    }
}

impl std::fmt::Display for Lasts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended => f.write_str("not allowed any more"),
            Self::Until(last) => write!(f, "allowed until {}", last.to_rfc3339()),
            Self::Open => f.write_str("allowed"),
        }
    }
}

/// The signature algorithms that a policy allows at several uses at once, most preferred first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures(Vec<(SignatureAlgorithm, Lasts)>);

impl Signatures {
    /// From algorithms and their last instants (`None`: no end), most preferred first.
    #[must_use]
    pub fn new(allowed: impl IntoIterator<Item = (SignatureAlgorithm, Option<Timestamp>)>) -> Self {
        let lasts = |until: Option<Timestamp>| until.map_or(Lasts::Open, Lasts::Until);
        Self(allowed.into_iter().map(|(algorithm, until)| (algorithm, lasts(until))).collect())
    }

    /// What `policy` allows at every one of `uses`, in the first one's order of preference.
    #[must_use]
    pub fn of(policy: &CompiledPolicy, uses: &[Use]) -> Self {
        let of_one = |use_: &Use| {
            let tls = policy.policy().uses.get(use_);
            Self::listed(policy, tls.map_or(&[][..], |tls| &tls.signatures))
        };
        uses.iter().map(of_one).reduce(|all, one| all.and(&one)).unwrap_or(Self(Vec::new()))
    }

    /// What `policy` allows for signatures over documents.
    #[must_use]
    pub fn of_documents(policy: &CompiledPolicy) -> Self {
        Self::listed(policy, &policy.policy().document_signing.signatures)
    }

    fn listed(policy: &CompiledPolicy, items: &[Item]) -> Self {
        let offered = items.iter().filter(|item| item.offered_on(policy.day()));
        Self::new(offered.filter_map(|item| {
            let algorithm = SignatureAlgorithm::from_name(&item.name)?;
            Some((algorithm, item.until.map(Day::end)))
        }))
    }

    /// What both allow, in this one's order.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both = self.0.iter().map(|(algorithm, lasts)| {
            let lasts = (*lasts).min(other.lasts(*algorithm));
            (*algorithm, lasts)
        });
        Self(both.filter(|(_, lasts)| *lasts != Lasts::Ended).collect())
    }

    /// Until when an algorithm may be used.
    #[must_use]
    pub fn lasts(&self, algorithm: SignatureAlgorithm) -> Lasts {
        self.0.iter().find(|one| one.0 == algorithm).map_or(Lasts::Ended, |one| one.1)
    }

    /// Until when a certificate may be used: its own key, and the signature of whoever issued it.
    #[must_use]
    pub fn lasts_for(&self, certificate: &Certificate) -> Lasts {
        let both = [certificate.key_algorithm(), certificate.signature_algorithm()];
        let lasts = |one: Option<_>| one.map_or(Lasts::Ended, |algorithm| self.lasts(algorithm));
        both.into_iter().map(lasts).min().unwrap_or(Lasts::Ended)
    }

    /// The algorithm of a key that is made at `now` and shall serve to `end`: the first that lasts so long, or else the
    /// one that lasts longest. `None` when every one of them has ended.
    #[must_use]
    pub fn for_new(&self, now: Timestamp, end: Timestamp) -> Option<SignatureAlgorithm> {
        if let Some((algorithm, _)) = self.0.iter().find(|one| one.1.at(end)) {
            return Some(*algorithm);
        }
        // The first of those that last longest: `max_by_key` would take the last.
        let longest = self.0.iter().rev().max_by_key(|one| one.1)?;
        longest.1.at(now).then_some(longest.0)
    }

    /// The names, for messages.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|one| one.0.name()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use SignatureAlgorithm::{EcdsaP256Sha256 as P256, EcdsaP384Sha384 as P384};

    const DAY: u64 = 86_400;

    fn day(number: u64) -> Timestamp {
        Timestamp::from_secs(number * DAY)
    }

    #[test]
    fn several_uses_allow_what_each_allows_until_the_first_end() {
        let uplink = Signatures::new([(P256, Some(day(9))), (P384, None)]);
        let est = Signatures::new([(P384, Some(day(20))), (P256, Some(day(5)))]);
        let both = uplink.and(&est);
        assert_eq!(both, Signatures::new([(P256, Some(day(5))), (P384, Some(day(20)))]));
        assert_eq!(both.lasts(P256), Lasts::Until(day(5)));
        let only = uplink.and(&Signatures::new([(P384, None)]));
        assert_eq!((only.lasts(P256), only.lasts(P384)), (Lasts::Ended, Lasts::Open));
        assert_eq!(only.names(), "ecdsa_secp384r1_sha384");
        assert_eq!(Signatures::new([]).names(), "none");
    }

    #[test]
    fn a_new_key_is_made_with_what_lasts_long_enough() {
        let two = Signatures::new([(P256, Some(day(9))), (P384, None)]);
        assert_eq!(two.for_new(day(1), day(9)), Some(P256), "preferred, and long enough");
        assert_eq!(two.for_new(day(1), day(10)), Some(P384), "preferred, but too short");
        let both_end = Signatures::new([(P256, Some(day(9))), (P384, Some(day(12)))]);
        assert_eq!(both_end.for_new(day(1), day(30)), Some(P384), "what lasts longest");
        let alike = Signatures::new([(P256, Some(day(9))), (P384, Some(day(9)))]);
        assert_eq!(alike.for_new(day(1), day(30)), Some(P256), "the preferred of equals");
        assert_eq!(both_end.for_new(day(13), day(30)), None);
        assert_eq!(Signatures::new([]).for_new(day(1), day(2)), None);
    }

    #[test]
    fn the_built_in_policy_lets_both_curves_stand() {
        let policy = CompiledPolicy::built_in();
        let all = Signatures::of(&policy, &Use::ALL);
        assert_eq!((all.lasts(P256), all.lasts(P384)), (Lasts::Open, Lasts::Open));
        assert_eq!(Signatures::of_documents(&policy).lasts(P256), Lasts::Open);
        assert_eq!(Signatures::of(&policy, &[]).lasts(P256), Lasts::Ended);
    }

    #[test]
    fn a_day_in_the_policy_ends_with_its_last_second() {
        let mut policy = Policy::built_in();
        let last: Day = "2029-06-30".parse().unwrap();
        policy.uses.get_mut(&Use::Est).unwrap().signatures[0].until = Some(last);
        let at = |day: &str| {
            let policy = CompiledPolicy::for_provider(policy.clone(), day.parse().unwrap());
            Signatures::of(&policy.unwrap(), &[Use::DeviceUplink, Use::Est])
        };
        let before = at("2029-06-01").lasts(P256);
        assert_eq!(before, Lasts::Until(last.end()));
        assert!(before.at(last.end()) && !before.at(last.next().start()));
        assert_eq!(at("2029-07-01").lasts(P256), Lasts::Ended);
        assert_eq!(at("2029-07-01").lasts(P384), Lasts::Open);
    }
}
