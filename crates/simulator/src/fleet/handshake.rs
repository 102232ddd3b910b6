//! What a TLS 1.3 handshake between two sides comes to, from their rules alone.

use countersign_crypto::policy::{ChannelNames, TlsRules};

/// What both agreed on, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    pub version: &'static str,
    pub suite: &'static str,
    pub group: &'static str,
    /// The algorithm of the client's certificate.
    pub client: &'static str,
}

impl Met {
    /// As the gateway judges it. The issuing authority signs with the algorithm of the key.
    pub fn names<'a>(&'a self, signatures: &'a [&'a str; 1]) -> ChannelNames<'a> {
        let Self { version, suite, group, .. } = self;
        ChannelNames { version, suite, group, signatures, alpn: true }
    }
}

/// A client with its rules and the algorithm of its certificate, at a listener with several sets of rules, the most preferred
/// first, and certificates of these algorithms; or why nothing comes of it.
pub fn meet(
    client: &TlsRules,
    certificate: &'static str,
    listener: &[TlsRules],
    server_certificates: &[&'static str],
) -> Result<Met, &'static str> {
    // The first rules with a suite and a group in common serve the client; within them the server's preference counts.
    let first = |ours: &[&'static str], theirs: &[&'static str]| {
        ours.iter().copied().find(|name| theirs.contains(name))
    };
    let (suite, group) = listener
        .iter()
        .find_map(|rules| {
            let suite = first(rules.suites(), client.suites())?;
            Some((suite, first(rules.groups(), client.groups())?))
        })
        .ok_or("no suite or group in common")?;
    if !server_certificates.iter().any(|algorithm| client.signatures().contains(algorithm)) {
        return Err("the client accepts no certificate of the server");
    }
    if !listener.iter().any(|rules| rules.signatures().contains(&certificate)) {
        return Err("the server does not accept the client's certificate");
    }
    let version = client.versions().first().copied().ok_or("no version")?;
    Ok(Met { version, suite, group, client: certificate })
}
