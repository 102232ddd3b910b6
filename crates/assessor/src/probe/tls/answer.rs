//! What a server sent back to a ClientHello. Total: any bytes give a [`Reading`], none a panic.

/// Most bytes of an answer that are looked at: a ServerHello, a long certificate chain and a key exchange
/// fit in; a server that sends more before it decides is not worth waiting for.
pub const MAX_ANSWER: usize = 64 * 1024;

/// A record's payload may not be longer (RFC 9846 section 5.2, with the expansion that TLS 1.2 allows).
const MAX_RECORD: usize = (1 << 14) + 2048;

/// The value of `random` that makes a ServerHello a HelloRetryRequest (RFC 9846 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What the bytes so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Nothing yet; more bytes are needed.
    More,
    /// The server chose.
    Hello(ServerHello),
    /// The server refused.
    Alert {
        /// 1 warning, 2 fatal.
        level: u8,
        /// For example 70, protocol_version.
        description: u8,
    },
    /// Not TLS, or broken.
    Garbage(&'static str),
}

/// The server's choices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerHello {
    /// The negotiated version.
    pub version: u16,
    /// The chosen suite.
    pub suite: u16,
    /// The chosen group, where it is in clear.
    pub group: Option<u16>,
    /// A HelloRetryRequest rather than a ServerHello.
    pub retry: bool,
    /// The certificates in DER, for TLS 1.2 and below when the whole flight was read.
    pub certificates: Vec<Vec<u8>>,
}

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// To the ServerHello.
    Hello,
    /// For TLS 1.2 and below on to ServerHelloDone: certificate and group.
    Flight,
}

/// Reads an answer from its beginning.
#[must_use]
pub fn read(bytes: &[u8], depth: Depth) -> Reading {
    let mut rest = Cursor(bytes);
    let mut handshake = Vec::new();
    loop {
        let before = rest.0.len();
        let Some((kind, payload)) = rest.record() else {
            return match before {
                0..5 => partial(&handshake, depth, bytes.len()),
                _ if rest.bad_header() => Reading::Garbage("not a TLS record"),
                _ => partial(&handshake, depth, bytes.len()),
            };
        };
        match kind {
            21 => {
                return match payload {
                    // A warning that the name is unknown decides nothing; the ServerHello follows it.
                    [1, 112] => continue,
                    [level, description] => {
                        Reading::Alert { level: *level, description: *description }
                    }
                    _ => Reading::Garbage("an alert that has not two bytes"),
                };
            }
            22 => handshake.extend_from_slice(payload),
            20 => {}
            _ => return Reading::Garbage("a record that is neither handshake nor alert"),
        }
        match messages(&handshake, depth) {
            Reading::More => {}
            decided => return decided,
        }
    }
}

fn partial(handshake: &[u8], depth: Depth, total: usize) -> Reading {
    match messages(handshake, depth) {
        Reading::More if total >= MAX_ANSWER => {
            Reading::Garbage("no decision within the bound on an answer")
        }
        reading => reading,
    }
}

fn messages(bytes: &[u8], depth: Depth) -> Reading {
    let mut rest = Cursor(bytes);
    let mut hello: Option<ServerHello> = None;
    while let Some(kind) = rest.byte() {
        let Some(body) = rest.vector24() else { return Reading::More };
        match (kind, &mut hello) {
            (2, None) => {
                let Some(found) = server_hello(body) else {
                    return Reading::Garbage("a broken ServerHello");
                };
                if depth == Depth::Hello || found.version >= 0x0304 {
                    return Reading::Hello(found);
                }
                hello = Some(found);
            }
            (11, Some(hello)) => match certificates(body) {
                Some(found) => hello.certificates = found,
                None => return Reading::Garbage("a broken Certificate"),
            },
            // ECDHE: curve type 3 (named) and the group (RFC 8422 section 5.4).
            (12, Some(hello)) => {
                if let [3, high, low, ..] = body {
                    hello.group = Some(u16::from_be_bytes([*high, *low]));
                }
            }
            (14, Some(_)) => break,
            (_, Some(_)) => {}
            (_, None) => {
                return Reading::Garbage("a handshake that does not begin with ServerHello");
            }
        }
        if kind == 14 {
            break;
        }
        if rest.0.is_empty() {
            return Reading::More;
        }
    }
    hello.map_or(Reading::More, Reading::Hello)
}

fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut rest = Cursor(body);
    let legacy = rest.u16()?;
    let random = rest.take(32)?;
    rest.vector8()?;
    let suite = rest.u16()?;
    rest.byte()?;
    let mut hello =
        ServerHello { version: legacy, suite, retry: random == RETRY, ..ServerHello::default() };
    let Some(extensions) = rest.vector16() else { return rest.0.is_empty().then_some(hello) };
    let mut rest = Cursor(extensions);
    while !rest.0.is_empty() {
        let kind = rest.u16()?;
        let mut body = Cursor(rest.vector16()?);
        match kind {
            43 => hello.version = body.u16()?,
            51 => hello.group = Some(body.u16()?),
            _ => {}
        }
    }
    Some(hello)
}

fn certificates(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = Cursor(Cursor(body).vector24()?);
    let mut found = Vec::new();
    while !list.0.is_empty() {
        found.push(list.vector24()?.to_vec());
    }
    Some(found)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }
    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
    fn vector24(&mut self) -> Option<&'a [u8]> {
        let length = self.take(3)?;
        self.take(
            usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]),
        )
    }

    /// The next whole record; leaves the cursor where it is when there is none.
    fn record(&mut self) -> Option<(u8, &'a [u8])> {
        if self.bad_header() {
            return None;
        }
        let mut ahead = Cursor(self.0);
        let kind = ahead.byte()?;
        ahead.take(2)?;
        let payload = ahead.vector16()?;
        self.0 = ahead.0;
        Some((kind, payload))
    }

    fn bad_header(&self) -> bool {
        match self.0 {
            [kind, 3, minor, high, low, ..] => {
                !(20..=24).contains(kind)
                    || *minor > 4
                    || usize::from(u16::from_be_bytes([*high, *low])) > MAX_RECORD
            }
            [_, major, ..] => *major != 3,
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 3, 3];
        out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, length[1], length[2], length[3]], body].concat()
    }

    fn retry_for(group: u16) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&RETRY);
        body.extend_from_slice(&[0, 0x13, 0x01, 0]);
        body.extend_from_slice(&[0, 12, 0, 43, 0, 2, 3, 4, 0, 51, 0, 2]);
        body.extend_from_slice(&group.to_be_bytes());
        message(2, &body)
    }

    #[test]
    fn a_retry_names_the_group() {
        let bytes = record(22, &retry_for(0x11eb));
        let expected = ServerHello {
            version: 0x0304,
            suite: 0x1301,
            group: Some(0x11eb),
            retry: true,
            certificates: vec![],
        };
        assert_eq!(read(&bytes, Depth::Hello), Reading::Hello(expected));
    }

    #[test]
    fn every_prefix_asks_for_more_and_fragments_join() {
        let message = retry_for(29);
        let bytes: Vec<u8> = message.chunks(7).flat_map(|part| record(22, part)).collect();
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], Depth::Hello), Reading::More, "{end}");
        }
        assert!(matches!(read(&bytes, Depth::Hello), Reading::Hello(_)));
    }

    #[test]
    fn a_tls12_flight_yields_certificate_and_group() {
        let mut hello = vec![3, 3];
        hello.extend_from_slice(&[1; 32]);
        hello.extend_from_slice(&[0, 0xc0, 0x2b, 0]);
        let mut bytes = record(22, &message(2, &hello));
        bytes.extend(record(22, &message(11, &[0, 0, 5, 0, 0, 2, 0x30, 0])));
        bytes.extend(record(22, &message(12, &[3, 0, 23, 1, 4])));
        assert_eq!(read(&bytes, Depth::Flight), Reading::More);
        bytes.extend(record(22, &message(14, &[])));
        let Reading::Hello(found) = read(&bytes, Depth::Flight) else { panic!() };
        assert_eq!((found.version, found.suite, found.group), (0x0303, 0xc02b, Some(23)));
        assert_eq!(found.certificates, [vec![0x30, 0]]);
    }

    #[test]
    fn what_is_not_tls_is_garbage_not_refusal() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"SSH-2.0-x\r\n",
            &record(23, b"x"),
            &record(21, &[2]),
        ] {
            assert!(matches!(read(bytes, Depth::Hello), Reading::Garbage(_)), "{bytes:?}");
        }
        let alert = Reading::Alert { level: 2, description: 70 };
        assert_eq!(read(&record(21, &[2, 70]), Depth::Hello), alert);
    }

    proptest! {
        #[test]
        fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes, Depth::Hello);
            let _ = read(&bytes, Depth::Flight);
            let _ = read(&record(22, &bytes), Depth::Flight);
            let _ = read(&record(22, &message(2, &bytes)), Depth::Hello);
            let _ = read(&[record(22, &retry_for(1)), bytes].concat(), Depth::Flight);
        }

        #[test]
        fn a_changed_answer_is_still_read(at in 0usize..80, with in any::<u8>()) {
            let mut bytes = record(22, &retry_for(29));
            let length = bytes.len();
            bytes[at % length] = with;
            let _ = read(&bytes, Depth::Hello);
        }
    }
}
