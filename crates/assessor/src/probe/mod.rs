//! Probes observe. They connect, send, read within bounds and write down facts; they judge nothing.

pub mod access;
pub mod canary;
mod http;
pub mod scan;
pub mod tls;

use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a TCP connection may take: a round trip on a poor link, three times over.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long a server may take to answer a hello or a request: constrained devices need seconds for a signature.
pub const REPLY_LIMIT: Duration = Duration::from_secs(6);

/// Why a probe has nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No TCP connection.
    #[error("no connection: {0}")]
    Unreachable(std::io::Error),
    /// Connected, but no answer in time.
    #[error("no answer within {} s", REPLY_LIMIT.as_secs())]
    Silent,
    /// The answer was not TLS.
    #[error("the answer is no TLS: {0}")]
    NotTls(&'static str),
}

pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream, ProbeError> {
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Small messages back and forth: waiting to fill segments only costs time.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(ProbeError::Unreachable(error)),
        Err(_) => Err(ProbeError::Unreachable(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "no answer to SYN",
        ))),
    }
}

/// Bytes for a client random: unpredictable where the system can give that, which no probe depends on.
fn random() -> [u8; 32] {
    let mut bytes = [0x5a; 32];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}
