//! One HTTP/1.1 request and the status that came back: all that an access probe needs.

use super::REPLY_LIMIT;
use super::tls::alert_of;
use crate::evidence::Outcome;
use countersign_model::ixit::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// A status line longer than this is none.
const MAX_STATUS_LINE: usize = 1024;

/// Sends a request and reads the status of its answer. The connection is of no use afterwards.
pub(super) async fn exchange<IO>(
    io: &mut IO,
    host: &str,
    method: Method,
    path: &str,
    body: Option<&[u8]>,
) -> Outcome
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + REPLY_LIMIT;
    let request = request(host, method, path, body);
    let sent = timeout_at(deadline, async {
        io.write_all(&request).await?;
        io.flush().await
    })
    .await;
    match sent {
        Err(_) => return Outcome::Silent,
        // A refusal may already be there to be read, and a refused write must not hide it.
        Ok(Err(error)) if alert_of(&error).is_some() => return ended(&error),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        match status(&bytes) {
            Line::More if bytes.len() < MAX_STATUS_LINE => {}
            // An interim answer (100 to 199) is followed by the real one, which a request such as ours never gets.
            Line::Status(code) => return Outcome::Status(code),
            Line::More | Line::Garbage => return Outcome::Garbage,
        }
        match timeout_at(deadline, io.read(&mut chunk)).await {
            Err(_) => return Outcome::Silent,
            Ok(Ok(0)) => return Outcome::Closed,
            Ok(Ok(count)) => bytes.extend_from_slice(&chunk[..count]),
            Ok(Err(error)) => return ended(&error),
        }
    }
}

fn ended(error: &std::io::Error) -> Outcome {
    match alert_of(error) {
        Some(alert) => Outcome::Alert(alert),
        None => Outcome::Closed,
    }
}

fn request(host: &str, method: Method, path: &str, body: Option<&[u8]>) -> Vec<u8> {
    let mut head = format!(
        "{} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n",
        method.as_str()
    );
    if let Some(body) = body {
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(body.unwrap_or_default());
    request
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    More,
    Status(u16),
    Garbage,
}

/// Reads a status line (RFC 9112 section 4). Total.
fn status(bytes: &[u8]) -> Line {
    const START: &[u8] = b"HTTP/1.";
    let head = bytes.len().min(START.len());
    if bytes[..head] != START[..head] {
        return Line::Garbage;
    }
    match bytes.get(START.len()..) {
        Some([b'0' | b'1', b' ', a, b, c, b' ' | b'\r' | b'\n', ..]) => {
            let digits = [a, b, c];
            if !digits.iter().all(|digit| digit.is_ascii_digit()) {
                return Line::Garbage;
            }
            Line::Status(digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0')))
        }
        Some([_, _, _, _, _, _, ..]) => Line::Garbage,
        _ => Line::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_line_is_read_as_it_arrives() {
        let line = b"HTTP/1.1 403 Forbidden\r\n\r\n";
        for end in 0..13 {
            assert_eq!(status(&line[..end]), Line::More, "{end}");
        }
        assert_eq!(status(line), Line::Status(403));
        for bad in [&b"HTTP/2 403 x"[..], b"HTTP/1.1 4o3 x", b"MQTT", b"HTTP/1.1 4030 "] {
            assert_eq!(status(bad), Line::Garbage, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = status(&bytes);
            let _ = status(&[&b"HTTP/1.1 "[..], &bytes].concat());
        }
    }

    #[tokio::test]
    async fn a_body_is_sent_with_its_length() {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move {
            let mut seen = vec![0; 4096];
            let count = theirs.read(&mut seen).await.unwrap_or(0);
            let _ = theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            String::from_utf8_lossy(&seen[..count]).into_owned()
        });
        let outcome =
            exchange(&mut ours, "plug.local", Method::Put, "/properties/on", Some(b"true")).await;
        assert_eq!(outcome, Outcome::Status(204));
        let seen = server.await.unwrap_or_default();
        assert!(seen.starts_with("PUT /properties/on HTTP/1.1\r\nHost: plug.local\r\n"), "{seen}");
        assert!(seen.contains("Content-Length: 4\r\n") && seen.ends_with("\r\n\r\ntrue"), "{seen}");
    }
}
