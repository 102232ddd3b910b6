//! What a client offers in its ClientHello, and what a policy has, in one form: so that the two can be laid over each other
//! without a handshake.

use std::fmt;
use std::str::FromStr;

use rustls::server::ClientHello;
use serde::{Serialize, Serializer};

use crate::policy::TlsRules;
use crate::provider;

/// Code points of one list that are looked at. OpenSSL offers about 30 suites; nobody honest offers more than this.
const MAX_LOOKED_AT: usize = 256;

/// Code points of one list that are kept though this build has no name for them. Named ones are always kept.
const MAX_UNKNOWN: usize = 48;

/// Longest stored form of one offer, in bytes: three lists, each of them full, five characters a code point.
const MAX_TEXT: usize = 3 * 5 * MAX_LOOKED_AT;

/// Suites, groups and signature schemes as code points of the IANA registries, most preferred first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Choices {
    suites: Vec<u16>,
    groups: Vec<u16>,
    signatures: Vec<u16>,
}

/// One of the three lists of [`Choices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceKind {
    /// Cipher suites.
    Suites,
    /// Key agreement groups.
    Groups,
    /// Signature schemes.
    Signatures,
}

impl ChoiceKind {
    /// Every kind, in the order in which a handshake needs them.
    pub const ALL: [Self; 3] = [Self::Suites, Self::Groups, Self::Signatures];

    /// The word in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suites => "suites",
            Self::Groups => "groups",
            Self::Signatures => "signatures",
        }
    }

    /// The registered name of a code point, or its number as `0x001e` where this build has no name for it.
    #[must_use]
    pub fn name(self, code: u16) -> String {
        let known = match self {
            Self::Suites => provider::SUITES.iter().find(|s| s.code == code).map(|s| s.name),
            Self::Groups => provider::GROUPS.iter().find(|g| g.code == code).map(|g| g.name),
            Self::Signatures => provider::SCHEMES
                .iter()
                .find(|s| u16::from(s.scheme) == code)
                .map(|scheme| scheme.name),
        };
        known.map_or_else(|| format!("0x{code:04x}"), str::to_owned)
    }

    fn is_known(self, code: u16) -> bool {
        match self {
            Self::Suites => provider::SUITES.iter().any(|s| s.code == code),
            Self::Groups => provider::GROUPS.iter().any(|g| g.code == code),
            Self::Signatures => provider::SCHEMES.iter().any(|s| u16::from(s.scheme) == code),
        }
    }

    /// A peer's list, bounded: no GREASE, nothing twice, and only so much of what nobody here can name.
    fn bounded(self, codes: impl Iterator<Item = u16>) -> Vec<u16> {
        let (mut kept, mut unknown) = (Vec::new(), 0);
        for code in codes.take(MAX_LOOKED_AT) {
            if is_grease(code) || kept.contains(&code) {
                continue;
            }
            if !self.is_known(code) {
                unknown += 1;
                if unknown > MAX_UNKNOWN {
                    continue;
                }
            }
            kept.push(code);
        }
        kept
    }
}

/// RFC 8701: values that mean nothing, drawn anew for each connection; kept, they would make every offer a new one.
const fn is_grease(code: u16) -> bool {
    code & 0x0f0f == 0x0a0a && code >> 8 == code & 0xff
}

impl Choices {
    /// What one use of a policy has.
    #[must_use]
    pub fn of_policy(rules: &TlsRules) -> Self {
        let provider = &rules.provider;
        let mapping = provider.signature_verification_algorithms.mapping;
        Self {
            suites: provider.cipher_suites.iter().map(|suite| suite.suite().into()).collect(),
            groups: provider.kx_groups.iter().map(|group| group.name().into()).collect(),
            signatures: mapping.iter().map(|(scheme, _)| (*scheme).into()).collect(),
        }
    }

    /// The code points of one list.
    #[must_use]
    pub fn codes(&self, kind: ChoiceKind) -> &[u16] {
        match kind {
            ChoiceKind::Suites => &self.suites,
            ChoiceKind::Groups => &self.groups,
            ChoiceKind::Signatures => &self.signatures,
        }
    }

    /// The names of one list.
    #[must_use]
    pub fn names(&self, kind: ChoiceKind) -> Vec<String> {
        self.codes(kind).iter().map(|code| kind.name(*code)).collect()
    }

    /// Our most preferred item that `other` has too.
    #[must_use]
    pub fn first_in_common(&self, other: &Self, kind: ChoiceKind) -> Option<u16> {
        self.codes(kind).iter().copied().find(|code| other.codes(kind).contains(code))
    }
}

impl Serialize for Choices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut map = serializer.serialize_struct("Choices", 3)?;
        for kind in ChoiceKind::ALL {
            map.serialize_field(kind.as_str(), &self.names(kind))?;
        }
        map.end()
    }
}

/// What a client offered, in its order. Its text form is for storage: code points, so that a later build may know more names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Offered {
    /// Suites, groups and signature schemes.
    #[serde(flatten)]
    pub choices: Choices,
    /// Whether it offered an application protocol (ALPN).
    pub alpn: bool,
}

impl Offered {
    pub(super) fn of_hello(hello: &ClientHello<'_>) -> Self {
        let groups = hello.named_groups().unwrap_or_default();
        let suites = hello.cipher_suites().iter().map(|suite| u16::from(*suite));
        let schemes = hello.signature_schemes().iter().map(|scheme| u16::from(*scheme));
        Self {
            choices: Choices {
                suites: ChoiceKind::Suites.bounded(suites),
                groups: ChoiceKind::Groups.bounded(groups.iter().map(|group| u16::from(*group))),
                signatures: ChoiceKind::Signatures.bounded(schemes),
            },
            alpn: hello.alpn().is_some(),
        }
    }

    /// What a client of ours offers when it follows this policy.
    #[must_use]
    pub fn of_policy(rules: &TlsRules) -> Self {
        Self { choices: Choices::of_policy(rules), alpn: true }
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in ChoiceKind::ALL {
            for (index, code) in self.choices.codes(kind).iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma}{code:04x}")?;
            }
            f.write_str(";")?;
        }
        f.write_str(if self.alpn { "alpn" } else { "" })
    }
}

impl FromStr for Offered {
    type Err = InvalidOffer;

    fn from_str(text: &str) -> Result<Self, InvalidOffer> {
        if text.len() > MAX_TEXT {
            return Err(InvalidOffer);
        }
        let mut parts = text.split(';');
        let mut list = || -> Result<Vec<u16>, InvalidOffer> {
            let codes =
                parts.next().ok_or(InvalidOffer)?.split(',').filter(|code| !code.is_empty());
            codes.map(|code| u16::from_str_radix(code, 16).map_err(|_| InvalidOffer)).collect()
        };
        let choices = Choices { suites: list()?, groups: list()?, signatures: list()? };
        let alpn = match parts.next() {
            Some("alpn") => true,
            Some("") => false,
            _ => return Err(InvalidOffer),
        };
        if parts.next().is_some() { Err(InvalidOffer) } else { Ok(Self { choices, alpn }) }
    }
}

/// A text that is no stored offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no offer: three lists of code points and \"alpn\" or nothing, with semicolons between them"
)]
pub struct InvalidOffer;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::policy::{CompiledPolicy, Use};

    #[test]
    fn a_policy_is_named_by_what_it_has_and_comes_back_from_text() {
        let policy = CompiledPolicy::built_in();
        let rules = policy.rules(Use::DeviceUplink);
        let offered = Offered::of_policy(rules);
        assert_eq!(offered.choices.names(ChoiceKind::Groups), rules.groups());
        assert_eq!(offered.choices.names(ChoiceKind::Suites), rules.suites());
        assert_eq!(offered.choices.names(ChoiceKind::Signatures), rules.signatures());
        assert_eq!(offered.to_string().parse::<Offered>().unwrap(), offered);
        assert_eq!(Offered::default().to_string().parse::<Offered>().unwrap(), Offered::default());
    }

    #[test]
    fn a_text_that_is_no_offer_is_refused() {
        for bad in
            ["", ";;", ";;;x", "1301;;;alpn;", "13g1;;;", "11301;;;", &";".repeat(MAX_TEXT + 1)]
        {
            assert!(bad.parse::<Offered>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_peers_list_is_bounded_and_what_can_be_named_is_kept() {
        let grease = (0..16).map(|n| n << 12 | 0x0a00 | n << 4 | 0x0a);
        let kept = ChoiceKind::Groups.bounded(grease.chain([23, 23, 29]));
        assert_eq!(kept, [23, 29]);
        let many = (0x1000..0x1080).chain([23]);
        let kept = ChoiceKind::Groups.bounded(many);
        assert_eq!(kept.len(), MAX_UNKNOWN + 1);
        assert_eq!(kept.last(), Some(&23));
        assert!(ChoiceKind::Groups.bounded((0x1000..0x2000).chain([23])).len() <= MAX_UNKNOWN);
        assert_eq!(ChoiceKind::Groups.name(0x001e), "0x001e");
    }
}
