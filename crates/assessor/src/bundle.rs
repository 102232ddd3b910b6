//! The bundle: everything that a report is made from, in one JSON file. The same bundle always gives the
//! same report, byte for byte.

use crate::algorithms::Profile;
use crate::evidence::{Evidence, sha256_hex};
use crate::report::Report;
use crate::statement::{KnownAssessors, SignedStatement};
use countersign_model::ixit::Declaration;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;

/// The form of bundle that this version writes and reads.
pub const FORMAT: &str = "countersign-assessment/1";

/// Largest bundle that is read, in bytes: a thousand affordances with ten subjects each stay below.
const MAX_BUNDLE: u64 = 64 * 1024 * 1024;

/// Everything that a report is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// Program and version that made it.
    pub made_by: String,
    /// When.
    pub at: Timestamp,
    /// The address that was probed.
    pub target: IpAddr,
    /// The catalogues that count.
    pub profile: Profile,
    /// What was declared.
    pub declaration: Declaration,
    /// Credentials that probes used, by label and role.
    pub credentials: Vec<(String, Role)>,
    /// Human judgements.
    pub statements: Vec<SignedStatement>,
    /// Whose judgements count.
    pub assessors: KnownAssessors,
    /// Probes that did not run, each with its reason.
    pub not_run: Vec<String>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// SHA-256 over everything above as compact JSON, hexadecimal.
    pub sha256: String,
}

/// Why a bundle cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no bundle.
    #[error("{path} is no assessment bundle: {why}")]
    Form {
        /// Which file.
        path: String,
        /// Why.
        why: String,
    },
    /// The content is not what was sealed.
    #[error("{path} was changed after it was written: {what} does not fit its hash")]
    Changed {
        /// Which file.
        path: String,
        /// Which part.
        what: String,
    },
}

impl Bundle {
    /// The declaration's hash, which statements refer to.
    #[must_use]
    pub fn declaration_sha256(declaration: &Declaration) -> String {
        sha256_hex(declaration.to_json().as_bytes())
    }

    /// Seals the bundle: sets its hash.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.sha256 = self.hash();
        self
    }

    fn hash(&self) -> String {
        let unsealed = Self { sha256: String::new(), ..self.clone() };
        sha256_hex(&serde_json::to_vec(&unsealed).expect("string keys only, so JSON can hold it"))
    }

    /// Pretty-printed JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("string keys only, so JSON can hold it")
    }

    /// Reads a bundle and checks every hash.
    ///
    /// # Errors
    /// [`ReplayError`] names the file and the part.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let file = |source| ReplayError::File { path: name.clone(), source };
        let form = |why: String| ReplayError::Form { path: name.clone(), why };
        if std::fs::metadata(path).map_err(file)?.len() > MAX_BUNDLE {
            return Err(form(format!("it is larger than {MAX_BUNDLE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(file)?;
        let bundle: Self = serde_json::from_str(&text).map_err(|error| form(error.to_string()))?;
        if bundle.format != FORMAT {
            return Err(form(format!(
                "its format is {:?}, this program reads {FORMAT:?}",
                bundle.format
            )));
        }
        if let Some(changed) = bundle.evidence.iter().find(|evidence| !evidence.is_intact()) {
            return Err(ReplayError::Changed {
                path: name,
                what: format!("evidence {}", changed.id),
            });
        }
        if bundle.sha256 != bundle.hash() {
            return Err(ReplayError::Changed { path: name, what: "the bundle".into() });
        }
        Ok(bundle)
    }
}

//= specs/house.md#house-assessor
//# A report MUST be reproducible from its evidence.
/// Makes the report of a written bundle (`evidence.json`) again, byte for byte.
///
/// # Errors
/// [`ReplayError`] when the file is unreadable, no bundle, or was changed.
pub fn replay(path: &Path) -> Result<Report, ReplayError> {
    Bundle::read(path).map(|bundle| Report::of(&bundle))
}
