//! A finished channel held against a policy's rules, by registered names.

use super::{Alpn, TlsRules};

/// What a handshake settled on, by the names that policies use. The channel may have come about under another policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelNames<'a> {
    /// Protocol version, such as `TLS 1.3`.
    pub version: &'a str,
    /// Cipher suite (IANA "TLS Cipher Suites").
    pub suite: &'a str,
    /// Key agreement group (IANA "TLS Supported Groups").
    pub group: &'a str,
    /// Every signature algorithm that the peer's identity rests on: the one of its certificate's key, and the one that its
    /// certificate was signed with (IANA "TLS SignatureScheme"). Empty for a peer without a certificate.
    pub signatures: &'a [&'a str],
    /// Whether an application protocol was agreed on (ALPN).
    pub alpn: bool,
}

/// What of a channel a policy does not allow. The first fault found, in the order of [`ChannelNames`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The protocol version.
    #[error("the version {0} is not allowed")]
    Version(String),
    /// The cipher suite.
    #[error("the suite {0} is not allowed")]
    Suite(String),
    /// The key agreement group.
    #[error("the group {0} is not allowed")]
    Group(String),
    /// An algorithm of the peer's certificate.
    #[error("the signature algorithm {0} of the peer's certificate is not allowed")]
    Signature(String),
    /// No application protocol where one is required.
    #[error("an application protocol (ALPN) is required")]
    Alpn,
}

impl TlsRules {
    /// Whether a channel could have come about under these rules.
    ///
    /// # Errors
    /// [`NotAllowed`] names what could not.
    //= specs/house.md#house-channel
    //# A channel MUST use only versions, suites, groups and signature schemes that the crypto
    //# policy allows.
    pub fn allow(&self, channel: &ChannelNames<'_>) -> Result<(), NotAllowed> {
        let name = |name: &str| name.to_owned();
        if !self.versions().contains(&channel.version) {
            return Err(NotAllowed::Version(name(channel.version)));
        }
        if !self.suites().contains(&channel.suite) {
            return Err(NotAllowed::Suite(name(channel.suite)));
        }
        if !self.groups().contains(&channel.group) {
            return Err(NotAllowed::Group(name(channel.group)));
        }
        for signature in channel.signatures {
            if !self.signatures().contains(signature) {
                return Err(NotAllowed::Signature(name(signature)));
            }
        }
        if self.alpn == Alpn::Required && !channel.alpn {
            return Err(NotAllowed::Alpn);
        }
        Ok(())
    }
}
