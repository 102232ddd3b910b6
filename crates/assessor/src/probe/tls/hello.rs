//! ClientHellos made by hand, since a modern TLS library cannot offer what a probe must offer: TLS 1.0,
//! one single suite, a group without a key share.

/// What a ClientHello offers. Everything is taken as given; nothing is checked for good taste.
#[derive(Debug, Clone, Default)]
pub struct Hello<'a> {
    /// `legacy_version`: the highest version for TLS 1.2 and below, `0x0303` for TLS 1.3.
    pub legacy_version: u16,
    /// Versions of the `supported_versions` extension; empty: the extension is left out.
    pub versions: &'a [u16],
    /// Cipher suites.
    pub suites: &'a [u16],
    /// Groups of `supported_groups`; empty: left out.
    pub groups: &'a [u16],
    /// Signature schemes; empty: left out.
    pub schemes: &'a [u16],
    /// Host name for SNI.
    pub server_name: Option<&'a str>,
    /// ALPN protocols; empty: left out.
    pub alpn: &'a [String],
    /// 32 bytes of client random.
    pub random: [u8; 32],
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The version in the record header of a first ClientHello (RFC 9846 section 5.1); SSL 3.0 gets its own.
const FIRST_RECORD: u16 = 0x0301;

impl Hello<'_> {
    /// The record as it goes on the wire.
    ///
    /// TLS 1.3 hellos carry an empty `key_share`: a server that accepts the offer then answers with a
    /// HelloRetryRequest that names the group (RFC 9846 section 4.2.8), so that no key is needed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(512);
        put16(&mut body, self.legacy_version);
        body.extend_from_slice(&self.random);
        // Middlebox compatibility (RFC 9846 appendix D.4) wants a session id with TLS 1.3.
        let session = if self.versions.is_empty() { &[][..] } else { &self.random[..] };
        vector8(&mut body, session);
        vector16(&mut body, &list16(self.suites));
        vector8(&mut body, &[0]);
        if self.legacy_version > 0x0300 {
            vector16(&mut body, &self.extensions());
        }
        let mut message = vec![CLIENT_HELLO, 0];
        vector16(&mut message, &body);
        let mut record = vec![HANDSHAKE];
        put16(&mut record, FIRST_RECORD.min(self.legacy_version));
        vector16(&mut record, &message);
        record
    }

    fn extensions(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        if let Some(name) = self.server_name {
            let mut entry = vec![0];
            vector16(&mut entry, name.as_bytes());
            let mut list = Vec::new();
            vector16(&mut list, &entry);
            extension(&mut out, 0, &list);
        }
        if !self.groups.is_empty() {
            let mut list = Vec::new();
            vector16(&mut list, &list16(self.groups));
            extension(&mut out, 10, &list);
            extension(&mut out, 11, &[1, 0]);
        }
        if !self.schemes.is_empty() {
            let mut list = Vec::new();
            vector16(&mut list, &list16(self.schemes));
            extension(&mut out, 13, &list);
        }
        if !self.alpn.is_empty() {
            let mut names = Vec::new();
            for name in self.alpn {
                vector8(&mut names, name.as_bytes());
            }
            let mut list = Vec::new();
            vector16(&mut list, &names);
            extension(&mut out, 16, &list);
        }
        if self.versions.is_empty() {
            extension(&mut out, 0xff01, &[0]);
        } else {
            let mut list = Vec::new();
            vector8(&mut list, &list16(self.versions));
            extension(&mut out, 43, &list);
            extension(&mut out, 45, &[1, 1]);
            extension(&mut out, 51, &[0, 0]);
        }
        out
    }
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn list16(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// Lists here come from our own tables and from declared names; what would not fit is cut, not wrapped.
fn vector8(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

fn vector16(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    put16(out, length);
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

fn extension(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    put16(out, kind);
    vector16(out, body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_agree_with_contents() {
        let alpn = ["mqtt".to_owned()];
        let hello = Hello {
            legacy_version: 0x0303,
            versions: &[0x0304],
            suites: &[0x1301],
            groups: &[0x11eb],
            schemes: &[0x0403],
            server_name: Some("plug.local"),
            alpn: &alpn,
            random: [7; 32],
        };
        let bytes = hello.encode();
        assert_eq!(bytes[0], HANDSHAKE);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), bytes.len() - 5);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[7], bytes[8]])), bytes.len() - 9);
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(has(b"plug.local") && has(b"\x04mqtt") && has(&[0, 51, 0, 2, 0, 0]));
    }

    #[test]
    fn ssl3_has_no_extensions() {
        let hello =
            Hello { legacy_version: 0x0300, suites: &[0x000a], groups: &[23], ..Hello::default() };
        let bytes = hello.encode();
        assert_eq!(bytes[1..3], [3, 0]);
        assert_eq!(bytes.len(), 5 + 4 + 2 + 32 + 1 + 4 + 2);
    }
}
