//! Certification requests that devices made: files of a folder, or JSON lines.
//!
//! ```text
//!  {"serial":"plug-000001","csr":"MIIB…"}      base64 of PKCS#10, a line a device
//! ```

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use countersign_crypto::csr;
use serde::Deserialize;

use super::batch::MAX_BATCH;
use crate::error::AuthorityError;
use crate::est::body::request_der;

/// The longest line, in bytes: the longest request in base64, and its serial.
pub const MAX_LINE: usize = 2 * csr::MAX_REQUEST;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    serial: String,
    csr: std::borrow::Cow<'a, str>,
}

/// Reads one JSON line; any input gets an answer.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn parse_line(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    if line.len() > MAX_LINE {
        return Err("is longer than a request can be");
    }
    let read: Line<'_> =
        serde_json::from_slice(line).map_err(|_| "is not an object of serial and csr")?;
    let der = request_der(read.csr.as_bytes()).ok_or("csr is not base64 of a request")?;
    Ok((read.serial, der))
}

/// What a folder or a stream held.
#[derive(Debug, Default)]
pub struct Requests {
    pub(crate) found: HashMap<String, Vec<u8>>,
    /// Which file or line was not taken, and why.
    pub refused: Vec<(String, String)>,
}

impl Requests {
    /// Every `.csr`, `.pem`, `.der` and `.jsonl` of a folder.
    ///
    /// # Errors
    /// [`AuthorityError::Io`] for a folder or file that cannot be read.
    pub fn in_folder(folder: &Path) -> Result<Self, AuthorityError> {
        let mut all = Self::default();
        let listed = std::fs::read_dir(folder).map_err(AuthorityError::io(folder))?;
        let mut paths = Vec::new();
        for entry in listed {
            paths.push(entry.map_err(AuthorityError::io(folder))?.path());
        }
        paths.sort();
        for path in paths {
            let place = path.display().to_string();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("jsonl") => {
                    let file = std::fs::File::open(&path).map_err(AuthorityError::io(&path))?;
                    all.lines(&place, file).map_err(AuthorityError::io(&path))?;
                }
                Some("csr" | "pem" | "der") => {
                    let mut bytes = Vec::new();
                    let file = std::fs::File::open(&path).map_err(AuthorityError::io(&path))?;
                    file.take(MAX_LINE as u64 + 1)
                        .read_to_end(&mut bytes)
                        .map_err(AuthorityError::io(&path))?;
                    all.one_file(place, &bytes);
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// JSON lines of a stream, named `place` in refusals.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn in_lines(place: &str, stream: impl Read) -> Result<Self, AuthorityError> {
        let mut all = Self::default();
        all.lines(place, stream).map_err(AuthorityError::io(place))?;
        Ok(all)
    }

    fn lines(&mut self, place: &str, stream: impl Read) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        for number in 1_u64.. {
            let mut line = Vec::new();
            reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                break;
            }
            if line.len() > MAX_LINE {
                // Where the next one begins is a guess: nothing after it is read.
                self.refuse(format!("{place}:{number}"), "is longer than a request can be");
                break;
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match parse_line(text) {
                Ok((serial, der)) => self.put(format!("{place}:{number}"), serial, der),
                Err(why) => self.refuse(format!("{place}:{number}"), why),
            }
        }
        Ok(())
    }

    fn one_file(&mut self, place: String, bytes: &[u8]) {
        let Some(der) = request_der(bytes) else {
            return self.refuse(place, "is not a PEM or DER certification request");
        };
        match csr::verify(&der) {
            Ok(request) => {
                let serial = request.common_name().unwrap_or_default().to_owned();
                self.put(place, serial, der);
            }
            Err(error) => self.refuse(place, &error.to_string()),
        }
    }

    fn put(&mut self, place: String, serial: String, der: Vec<u8>) {
        if self.found.len() >= MAX_BATCH {
            return self.refuse(place, "is one more than a batch can have");
        }
        match self.found.get(&serial) {
            Some(other) if *other != der => {
                self.refuse(place, &format!("is a second request for {serial}"));
            }
            Some(_) => {}
            None => drop(self.found.insert(serial, der)),
        }
    }

    fn refuse(&mut self, place: String, why: &str) {
        self.refused.push((place, why.to_owned()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use base64::Engine as _;

    #[test]
    fn good_lines_are_read_and_bad_ones_named() {
        let der = base64::engine::general_purpose::STANDARD.encode([0x30, 3, 1, 2, 3]);
        let lines = format!(
            "{{\"serial\":\"a\",\"csr\":\"{der}\"}}\n\n{{\"serial\":\"a\",\"csr\":\"{der}\"}}\nnonsense\n{{\"serial\":\"b\",\"csr\":\"{der}\",\"x\":1}}\n{{\"serial\":\"c\",\"csr\":\"%%%\"}}"
        );
        let read = Requests::in_lines("lines", lines.as_bytes()).unwrap();
        assert_eq!(read.found.len(), 1);
        let places: Vec<_> = read.refused.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["lines:4", "lines:5", "lines:6"]);
        let long = vec![b'x'; MAX_LINE + 10];
        let read = Requests::in_lines("lines", &long[..]).unwrap();
        assert!(read.refused[0].1.contains("longer"), "{:?}", read.refused);
        assert!(parse_line(&long).is_err());
    }
}
