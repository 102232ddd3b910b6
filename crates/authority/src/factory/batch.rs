//! The batch file: what is made, for which serials, at which station, and where the keys come from. TOML; unknown keys are
//! refused; validated once into [`Batch`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use countersign_crypto::digest::sha256;
use countersign_crypto::keystore::TokenConfig;
use countersign_crypto::pake::{PakeError, PakeParams};
use countersign_crypto::random::Random;
use countersign_model::id::{ServiceName, ThingId};
use serde::Deserialize;
use serde_json::json;

use super::sheet::Layout;
use crate::error::AuthorityError;

/// The most serials of one batch: more are made in several, so that a mistake stays small.
pub const MAX_BATCH: usize = 100_000;
/// The longest batch file or list of serials that is read, in bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The commented example, as `authority provision --example` prints it.
pub const EXAMPLE: &str = include_str!("example.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    product: String,
    station: String,
    quota: Option<u64>,
    out: PathBuf,
    serials: RawSerials,
    keys: RawKeys,
    #[serde(default)]
    pairing: RawPairing,
    #[serde(default)]
    labels: RawLabels,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSerials {
    prefix: Option<String>,
    first: Option<u64>,
    count: Option<u64>,
    digits: Option<usize>,
    list: Option<Vec<String>>,
    file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    source: Source,
    requests: Option<PathBuf>,
    token: Option<TokenConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Source {
    Device,
    Station,
    Token,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPairing {
    class: PairingClass,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLabels {
    layout: Layout,
}

/// What the derivation of the setup code costs whoever pairs; the device itself spends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairingClass {
    /// 9 MiB, four passes: for controllers with little memory.
    SmallMemory,
    /// 19 MiB, two passes: what the factory takes where nothing is said.
    #[default]
    Standard,
    /// 64 MiB, three passes.
    Strong,
}

impl PairingClass {
    /// The word in batch files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SmallMemory => "small-memory",
            Self::Standard => "standard",
            Self::Strong => "strong",
        }
    }

    /// Memory of one derivation, KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        match self {
            Self::SmallMemory => 9 * 1024,
            Self::Standard => PakeParams::MEMORY_KIB,
            Self::Strong => PakeParams::MAX_MEMORY_KIB,
        }
    }

    /// Parameters with a fresh salt.
    ///
    /// # Errors
    /// [`PakeError::Params`] never: the classes are inside the bounds, a test holds it.
    pub fn params(self, random: &mut dyn Random) -> Result<PakeParams, PakeError> {
        let passes = match self {
            Self::SmallMemory => 4,
            Self::Standard => PakeParams::PASSES,
            Self::Strong => 3,
        };
        PakeParams::new(random.array(), self.memory_kib(), passes, 1)
    }
}

/// Where the devices' keys are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In the devices; their requests are in this folder, or come as JSON lines on standard input where it is `-`.
    Device(PathBuf),
    /// Here; each travels to its device in its sealed factory file.
    Station,
    /// In this PKCS#11 token, under the serial: for devices whose secure element the station reaches as a token.
    Token(TokenConfig),
}

impl KeySource {
    /// The word in batch files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Station => "station",
            Self::Token(_) => "token",
        }
    }
}

/// A batch, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    name: String,
    product: String,
    station: String,
    quota: u64,
    out: PathBuf,
    serials: Vec<ThingId>,
    keys: KeySource,
    class: PairingClass,
    layout: Layout,
}

impl Batch {
    /// Reads a batch file; folders in it are relative to the file's own.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] with file, field and mend.
    //= specs/house.md#house-shell
    //# An unknown configuration key MUST be an error that names the file and the key.
    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        let text = read_bounded(path)?;
        let beside = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::from_toml(&path.display().to_string(), &text, &beside)
    }

    /// Reads TOML; `file` names it in errors, and folders in it are relative to `beside`.
    ///
    /// # Errors
    /// As [`Batch::read`].
    pub fn from_toml(file: &str, text: &str, beside: &Path) -> Result<Self, AuthorityError> {
        let wrong =
            |detail: String| AuthorityError::Configuration { file: file.to_owned(), detail };
        let raw: Raw = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let name = |field: &str, value: &str| {
            let valid: Result<ServiceName, _> = value.parse();
            valid.map(drop).map_err(|error| wrong(format!("{field} = {value:?}: {error}")))
        };
        name("name", &raw.name)?;
        name("station", &raw.station)?;
        if raw.product.is_empty()
            || raw.product.len() > 64
            || raw.product.chars().any(char::is_control)
        {
            return Err(wrong("product: write 1 to 64 printable characters".to_owned()));
        }
        let serials = serials(&raw.serials, beside).map_err(wrong)?;
        let count = serials.len() as u64;
        let quota = raw.quota.unwrap_or(count);
        let keys = match (raw.keys.source, raw.keys.requests, raw.keys.token) {
            (Source::Device, Some(requests), None) if requests == Path::new("-") => {
                KeySource::Device(requests)
            }
            (Source::Device, Some(requests), None) => KeySource::Device(beside.join(requests)),
            (Source::Station, None, None) => KeySource::Station,
            (Source::Token, None, Some(token)) => KeySource::Token(token),
            (Source::Device, ..) => {
                return Err(wrong("keys: source = \"device\" needs requests, a folder of certification requests or \"-\", and no token".to_owned()));
            }
            (Source::Station, ..) => {
                return Err(wrong(
                    "keys: source = \"station\" takes neither requests nor token".to_owned(),
                ));
            }
            (Source::Token, ..) => {
                return Err(wrong("keys: source = \"token\" needs [keys.token] with module, label and pin_file, and no requests".to_owned()));
            }
        };
        Ok(Self {
            name: raw.name,
            product: raw.product,
            station: raw.station,
            quota,
            out: beside.join(raw.out),
            serials,
            keys,
            class: raw.pairing.class,
            layout: raw.labels.layout,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What is made.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.product
    }
    /// The station that makes it.
    #[must_use]
    pub fn station(&self) -> &str {
        &self.station
    }
    /// How many identities at most.
    #[must_use]
    pub fn quota(&self) -> u64 {
        self.quota
    }
    /// Where the devices' files go.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }
    /// Every serial, in the file's order.
    #[must_use]
    pub fn serials(&self) -> &[ThingId] {
        &self.serials
    }
    /// Where keys come from.
    #[must_use]
    pub fn keys(&self) -> &KeySource {
        &self.keys
    }
    /// What the setup code's derivation costs.
    #[must_use]
    pub fn class(&self) -> PairingClass {
        self.class
    }
    /// How its labels lie on the paper.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What must not change from run to run.
    pub(crate) fn plan(&self) -> String {
        let all: Vec<&str> = self.serials.iter().map(ThingId::as_str).collect();
        json!({
            "product": self.product, "station": self.station, "keys": self.keys.as_str(),
            "class": self.class.as_str(), "serials": self.serials.len(),
            "serials_sha256": hex::encode(sha256(all.join("\n").as_bytes())),
        })
        .to_string()
    }
}

fn serials(raw: &RawSerials, beside: &Path) -> Result<Vec<ThingId>, String> {
    let names = match raw {
        RawSerials {
            prefix: Some(prefix),
            count: Some(count),
            first,
            digits,
            list: None,
            file: None,
        } => {
            let (first, digits) = (first.unwrap_or(1), digits.unwrap_or(6));
            if *count == 0 || *count > MAX_BATCH as u64 || digits > 19 {
                return Err(format!("serials: count is 1 to {MAX_BATCH} and digits at most 19"));
            }
            let last = first.checked_add(*count).ok_or("serials: first is too large")?;
            (first..last).map(|number| format!("{prefix}{number:0digits$}")).collect()
        }
        RawSerials {
            list: Some(list),
            prefix: None,
            first: None,
            count: None,
            digits: None,
            file: None,
        } => list.clone(),
        RawSerials {
            file: Some(file),
            prefix: None,
            first: None,
            count: None,
            digits: None,
            list: None,
        } => {
            let path = beside.join(file);
            let text = read_bounded(&path).map_err(|error| error.to_string())?;
            column(&text)
        }
        _ => {
            return Err("serials: write prefix and count (with first and digits), or list, or file, and only one of them".to_owned());
        }
    };
    if names.is_empty() || names.len() > MAX_BATCH {
        return Err(format!("serials: {} of them; a batch has 1 to {MAX_BATCH}", names.len()));
    }
    let mut seen = HashSet::with_capacity(names.len());
    let mut serials = Vec::with_capacity(names.len());
    for name in names {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!(
                "serials: {name:?} has upper-case letters: QR codes do not keep case"
            ));
        }
        let serial: ThingId =
            name.parse().map_err(|error| format!("serials: {name:?}: {error}"))?;
        if !seen.insert(name.clone()) {
            return Err(format!("serials: {name:?} stands there twice"));
        }
        serials.push(serial);
    }
    Ok(serials)
}

/// The first column of a CSV file; a first line `serial` is its heading.
fn column(text: &str) -> Vec<String> {
    let first =
        |line: &str| line.split(',').next().unwrap_or_default().trim().trim_matches('"').to_owned();
    let lines = text.lines().map(first).filter(|one| !one.is_empty() && !one.starts_with('#'));
    lines.enumerate().filter(|(at, one)| *at > 0 || one != "serial").map(|(_, one)| one).collect()
}

fn read_bounded(path: &Path) -> Result<String, AuthorityError> {
    let size = std::fs::metadata(path).map_err(AuthorityError::io(path))?.len();
    if size > MAX_FILE {
        return Err(AuthorityError::Configuration {
            file: path.display().to_string(),
            detail: format!("has {size} bytes; at most {MAX_FILE} are read"),
        });
    }
    std::fs::read_to_string(path).map_err(AuthorityError::io(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_crypto::random::SystemRandom;

    fn parse(text: &str) -> Result<Batch, String> {
        Batch::from_toml("batch.toml", text, Path::new("/factory"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_is_a_batch() {
        let batch = parse(EXAMPLE).unwrap();
        assert_eq!((batch.serials().len(), batch.quota()), (10_000, 10_000));
        assert_eq!(batch.serials()[9_999].as_str(), "plug-a-010000");
        assert_eq!(batch.out(), Path::new("/factory/out"));
        assert_eq!(batch.keys(), &KeySource::Station);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |from: &str, to: &str| parse(&EXAMPLE.replace(from, to)).unwrap_err();
        for (from, to, expected) in [
            ("product =", "produkt =", "produkt"),
            ("name = \"2026", "name = \"../2026", "name"),
            ("count = 10000", "count = 100001", "100000"),
            ("prefix = \"plug-a-\"", "prefix = \"PLUG-\"", "upper-case"),
            ("prefix = \"plug-a-\"", "list = [\"a\", \"a\"]\nprefix = \"plug-\"", "only one"),
            ("source = \"station\"", "source = \"device\"", "requests"),
            ("source = \"station\"", "source = \"token\"", "keys.token"),
            ("class = \"standard\"", "class = \"weak\"", "weak"),
            ("layout = \"a4-24\"", "layout = \"a5-7\"", "a5-7"),
        ] {
            let refused = with(from, to);
            assert!(refused.contains("batch.toml") && refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn a_list_may_come_from_a_file() {
        let read = column("serial,colour\n\"lamp-1\",red\n# a remark\n\nlamp-2\n");
        assert_eq!(read, ["lamp-1", "lamp-2"]);
    }

    #[test]
    fn every_class_is_inside_the_bounds() {
        for class in [PairingClass::SmallMemory, PairingClass::Standard, PairingClass::Strong] {
            assert!(class.params(&mut SystemRandom).is_ok(), "{class:?}");
        }
    }
}
