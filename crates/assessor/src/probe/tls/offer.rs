//! One offer to one server.

use super::answer::{Depth, MAX_ANSWER, Reading, ServerHello, read};
use super::hello::Hello;
use super::names;
use crate::probe::{CONNECT_LIMIT, ProbeError, REPLY_LIMIT, connect};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// A TLS version to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// SSL 3.0
    Ssl3,
    /// TLS 1.0
    Tls10,
    /// TLS 1.1
    Tls11,
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 5] = [Self::Ssl3, Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// The code point.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Ssl3 => 0x0300,
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// The server chose from it.
    Accepted(ServerHello),
    /// The server answered with an alert, for example 70 (protocol_version).
    Refused(u8),
    /// The server closed the connection without a word.
    Closed,
}

impl Offered {
    /// Whether the server chose from the offer.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

impl std::fmt::Display for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted(hello) => write!(f, "accepted ({})", names::version(hello.version)),
            Self::Refused(alert) => write!(f, "refused (alert {alert}, {})", names::alert(*alert)),
            Self::Closed => f.write_str("refused (connection closed)"),
        }
    }
}

/// Offers one version, with every suite and group that could go with it.
///
/// A server that answers with another version has not accepted this one: that counts as
/// [`Offered::Refused`] with alert 70.
///
/// # Errors
/// [`ProbeError`] when there is no connection, no answer in time or no TLS.
pub async fn offers(address: SocketAddr, version: Version) -> Result<Offered, ProbeError> {
    let hello = hello_for(version.code(), None);
    match ask(address, &hello, Depth::Hello).await? {
        Offered::Accepted(found) if found.version != version.code() => Ok(Offered::Refused(70)),
        other => Ok(other),
    }
}

/// The broadest hello for one version.
pub(super) fn hello_for(version: u16, server_name: Option<&str>) -> Hello<'_> {
    let tls13 = version >= 0x0304;
    Hello {
        legacy_version: version.min(0x0303),
        versions: if tls13 { &[0x0304] } else { &[] },
        suites: if tls13 { &names::SUITES_13 } else { &names::SUITES_12 },
        groups: &names::GROUPS,
        schemes: if version >= 0x0303 { &names::SCHEMES } else { &[] },
        server_name,
        alpn: &[],
        random: super::super::random(),
    }
}

/// Sends a hello and reads the answer, within [`CONNECT_LIMIT`], [`REPLY_LIMIT`] and [`MAX_ANSWER`].
///
/// # Errors
/// As [`offers`].
pub async fn ask(
    address: SocketAddr,
    hello: &Hello<'_>,
    depth: Depth,
) -> Result<Offered, ProbeError> {
    let mut stream = connect(address, CONNECT_LIMIT).await?;
    let deadline = Instant::now() + REPLY_LIMIT;
    // A server may close before it has read everything; what it said first still counts.
    if timeout_at(deadline, stream.write_all(&hello.encode())).await.is_err() {
        return Err(ProbeError::Silent);
    }
    let mut bytes = Vec::with_capacity(4096);
    let mut chunk = [0; 4096];
    loop {
        match read(&bytes, depth) {
            Reading::More => {}
            Reading::Hello(hello) => return Ok(Offered::Accepted(hello)),
            Reading::Alert { description: 0, .. } => return Ok(Offered::Closed),
            Reading::Alert { description, .. } => return Ok(Offered::Refused(description)),
            Reading::Garbage(why) => return Err(ProbeError::NotTls(why)),
        }
        if bytes.len() >= MAX_ANSWER {
            return Err(ProbeError::NotTls("no decision within the bound on an answer"));
        }
        match timeout_at(deadline, stream.read(&mut chunk)).await {
            Err(_) => return Err(ProbeError::Silent),
            Ok(Ok(0) | Err(_)) => return Ok(Offered::Closed),
            Ok(Ok(count)) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
