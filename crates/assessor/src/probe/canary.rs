//! Canaries: secrets that are known to the assessor, searched for in recorded traffic in every usual encoding.
//!
//! A search that finds nothing says something only if it could have found it. Two controls show that: a
//! plain text known to be in the capture (for example the ALPN name in a ClientHello) is found there, and
//! the canaries are found when they are planted, encoded and deflated, in a copy. What was deflated (gzip, zlib, raw from the
//! first byte) is inflated and searched as well. Encrypted forms are beyond this search.

mod inflate;

use crate::evidence::{CanaryFact, CanaryFacts, Hit, sha256_hex};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use countersign_model::ixit::RowId;
use std::collections::{BTreeMap, BTreeSet};

/// Shorter secrets are found by chance: 8 bytes hit one position in 2^64.
pub const MIN_SECRET: usize = 8;

/// Hits kept for each canary and capture; more change nothing.
const MAX_HITS: usize = 16;

/// A secret to search for.
#[derive(Clone)]
pub struct Canary {
    /// For reports.
    pub label: String,
    /// The critical parameter that it stands for (table 10).
    pub parameter: Option<RowId>,
    /// The secret itself; evidence keeps only its hash.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canary")
            .field("label", &self.label)
            .field("parameter", &self.parameter)
            .finish_non_exhaustive()
    }
}

/// Recorded traffic.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    /// For reports, for example `pairing`.
    pub label: String,
    /// The mechanism whose traffic it holds (table 11).
    pub mechanism: Option<RowId>,
    /// Byte streams, one a direction and connection.
    pub streams: Vec<Vec<u8>>,
    /// A plain text that must be in it if the right traffic was recorded.
    pub control: Option<Vec<u8>>,
}

/// Searches one capture for every canary.
#[must_use]
pub fn search(capture: &Capture, canaries: &[Canary]) -> CanaryFacts {
    let control_found = capture
        .control
        .as_ref()
        .map(|text| capture.streams.iter().any(|stream| find(stream, text).is_some()));
    let inflated: Vec<Inflated> =
        capture.streams.iter().map(|stream| inflate::inflated(stream)).collect();
    CanaryFacts {
        capture: capture.label.clone(),
        mechanism: capture.mechanism.clone(),
        bytes: capture.streams.iter().map(|stream| stream.len() as u64).sum(),
        streams: capture.streams.iter().map(|stream| sha256_hex(stream)).collect(),
        canaries: canaries.iter().map(|canary| fact(capture, &inflated, canary)).collect(),
        control_found,
        self_test: canaries.iter().all(finds_itself),
    }
}

type Inflated = Vec<(usize, &'static str, Vec<u8>)>;

fn fact(capture: &Capture, inflated: &[Inflated], canary: &Canary) -> CanaryFact {
    let searchable = canary.secret.len() >= MIN_SECRET;
    let mut hits = BTreeSet::new();
    if searchable {
        let needles = needles(&canary.secret);
        for (index, stream) in capture.streams.iter().enumerate() {
            let mut hit = |offset: usize, encoding: String| {
                hits.insert(Hit { stream: index, offset: offset as u64, encoding });
            };
            for (needle, encoding) in &needles {
                if let Some(offset) = find(stream, needle) {
                    hit(offset, (*encoding).to_owned());
                }
            }
            for (offset, kind, text) in &inflated[index] {
                let found = needles.iter().find(|(needle, _)| find(text, needle).is_some());
                if let Some((_, encoding)) = found {
                    hit(*offset, format!("{encoding}, in {kind}"));
                }
            }
        }
    }
    CanaryFact {
        label: canary.label.clone(),
        parameter: canary.parameter.clone(),
        sha256: sha256_hex(&canary.secret),
        searchable,
        hits: hits.into_iter().take(MAX_HITS).collect(),
    }
}

/// Every needle must be found in noise around it.
fn finds_itself(canary: &Canary) -> bool {
    if canary.secret.len() < MIN_SECRET {
        return true;
    }
    needles(&canary.secret).keys().all(|needle| {
        let mut hay: Vec<u8> = (0..=255).cycle().take(1000).collect();
        hay.splice(517..517, needle.iter().copied());
        find(&hay, needle) == Some(517) && finds_deflated(needle)
    })
}

/// The same when it was deflated.
fn finds_deflated(needle: &[u8]) -> bool {
    let line = [b"a line of a log with ", needle, b" in it"].concat();
    let zlib = miniz_oxide::deflate::compress_to_vec_zlib(&line, 6);
    let noise = [b"noise ", &zlib[..]].concat();
    inflate::inflated(&noise).iter().any(|(_, _, text)| find(text, needle).is_some())
}

/// Every form in which a secret may stand in a stream, with its name.
fn needles(secret: &[u8]) -> BTreeMap<Vec<u8>, &'static str> {
    let mut all = BTreeMap::new();
    let mut add = |needle: Vec<u8>, name| {
        // What an encoding leaves unchanged keeps the plainer name.
        if needle.len() >= MIN_SECRET {
            all.entry(needle).or_insert(name);
        }
    };
    add(secret.to_vec(), "raw");
    add(hex::encode(secret).into_bytes(), "hex");
    add(hex::encode_upper(secret).into_bytes(), "hex, upper case");
    for skip in 0..3 {
        add(base64_core(secret, skip, &STANDARD_NO_PAD), "base64");
        add(base64_core(secret, skip, &URL_SAFE_NO_PAD), "base64url");
    }
    add(percent(secret, false), "URL-encoded");
    add(percent(secret, true), "URL-encoded, every byte");
    add(percent(secret, true).to_ascii_lowercase(), "URL-encoded, every byte, lower case");
    let little: Vec<u8> = secret.iter().flat_map(|byte| [*byte, 0]).collect();
    let big: Vec<u8> = secret.iter().flat_map(|byte| [0, *byte]).collect();
    add(little, "UTF-16LE");
    add(big, "UTF-16BE");
    if let Some(text) = std::str::from_utf8(secret).ok().filter(|text| !text.is_ascii()) {
        add(text.encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-16LE");
        add(text.encode_utf16().flat_map(u16::to_be_bytes).collect(), "UTF-16BE");
    }
    if let Some(text) = std::str::from_utf8(secret).ok().filter(|text| text.is_ascii()) {
        add(text.to_ascii_uppercase().into_bytes(), "raw, upper case");
        add(text.to_ascii_lowercase().into_bytes(), "raw, lower case");
        // Printed codes are typed and sent with or without their dashes.
        add(text.replace('-', "").into_bytes(), "raw, without dashes");
    }
    all
}

/// The characters of a base64 text that depend on the secret alone when `skip` bytes stand before it.
fn base64_core(secret: &[u8], skip: usize, engine: &base64::engine::GeneralPurpose) -> Vec<u8> {
    let padded: Vec<u8> = std::iter::repeat_n(0, skip).chain(secret.iter().copied()).collect();
    let text = engine.encode(&padded).into_bytes();
    let from = [0, 2, 3][skip];
    let to = padded.len() * 8 / 6;
    text.get(from..to).unwrap_or_default().to_vec()
}

fn percent(secret: &[u8], every: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(secret.len() * 3);
    for byte in secret {
        if !every && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// The first place of a needle (at least one byte long).
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() { None } else { memchr::memmem::find(hay, needle) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canary(secret: &[u8]) -> Canary {
        Canary { label: "setup code".into(), parameter: None, secret: secret.to_vec() }
    }

    fn hits(stream: &[u8], secret: &[u8]) -> Vec<String> {
        let capture = Capture { streams: vec![stream.to_vec()], ..Capture::default() };
        search(&capture, &[canary(secret)]).canaries[0]
            .hits
            .iter()
            .map(|hit| hit.encoding.clone())
            .collect()
    }

    #[test]
    fn every_encoding_is_found() {
        let secret = b"\xfb\xef\xff-Wi-Fi key?";
        let standard = STANDARD_NO_PAD.encode([b"{\"k\":\"", &secret[..], b"\"}"].concat());
        assert!(hits(standard.as_bytes(), secret).contains(&"base64".into()));
        let url = URL_SAFE_NO_PAD.encode([b"ab", &secret[..], b"xyz"].concat());
        assert!(hits(url.as_bytes(), secret).contains(&"base64url".into()));
        assert!(
            hits(hex::encode_upper(secret).as_bytes(), secret).contains(&"hex, upper case".into())
        );
        assert!(hits(&percent(secret, false), secret).contains(&"URL-encoded".into()));
        let wide: Vec<u8> = "passphrase".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(hits(&wide, b"passphrase").contains(&"UTF-16LE".into()));
        assert_eq!(hits(b"a code: ABCDEFGH12", b"ABCDE-FGH12"), ["raw, without dashes"]);
        assert!(hits(b"nothing of that kind in here", secret).is_empty());
    }

    #[test]
    fn what_was_deflated_is_found_in_every_encoding() {
        let secret = b"\xfb\xef\xff-Wi-Fi key?";
        for (text, encoding) in [
            (secret.to_vec(), "raw"),
            (hex::encode(secret).into_bytes(), "hex"),
            (percent(secret, false), "URL-encoded"),
        ] {
            let line = [b"what a log says: ", &text[..], b", and more of it"].concat();
            let found = hits(&inflate::tests::gzip(&line), secret);
            assert!(found.contains(&format!("{encoding}, in gzip")), "{found:?}");
        }
    }

    #[test]
    fn the_secret_itself_never_reaches_the_evidence() {
        let secret = b"ABCDE-FGHJK-12345";
        let capture = Capture { streams: vec![secret.to_vec()], ..Capture::default() };
        let facts = search(&capture, &[canary(secret)]);
        let text = serde_json::to_string(&facts).unwrap();
        assert!(!facts.canaries[0].hits.is_empty());
        assert!(!text.contains("FGHJK") && !format!("{:?}", canary(secret)).contains("FGHJK"));
    }

    #[test]
    fn a_short_secret_is_not_searched_and_says_so() {
        let facts = search(
            &Capture { streams: vec![b"1234".to_vec()], ..Capture::default() },
            &[canary(b"1234")],
        );
        assert!(!facts.canaries[0].searchable && facts.canaries[0].hits.is_empty());
    }

    #[test]
    fn the_control_tells_whether_the_right_traffic_was_recorded() {
        let mut capture =
            Capture { control: Some(b"countersign-pairing/1".to_vec()), ..Capture::default() };
        assert_eq!(search(&capture, &[]).control_found, Some(false));
        capture.streams.push(b"\x16\x03\x01..countersign-pairing/1..".to_vec());
        assert_eq!(search(&capture, &[]).control_found, Some(true));
        capture.control = None;
        assert_eq!(search(&capture, &[]).control_found, None);
    }

    proptest! {
        #[test]
        fn base64_is_found_at_every_alignment(secret in proptest::collection::vec(any::<u8>(), MIN_SECRET..40),
                                              before in proptest::collection::vec(any::<u8>(), 0..7),
                                              after in proptest::collection::vec(any::<u8>(), 0..7)) {
            let all = [&before[..], &secret, &after].concat();
            let text = STANDARD_NO_PAD.encode(&all);
            prop_assert!(hits(text.as_bytes(), &secret).contains(&"base64".to_owned())
                || hits(text.as_bytes(), &secret).contains(&"base64url".to_owned()));
            prop_assert!(finds_itself(&canary(&secret)));
        }
    }
}
