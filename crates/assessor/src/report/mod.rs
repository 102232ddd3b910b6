//! Reports render. A report is made from a bundle and from nothing else.

mod html;
mod text;

use crate::bundle::Bundle;
use crate::checks::{View, judge};
use crate::evidence::sha256_hex;
use crate::registry::TEST_CASES;
use crate::verdict::{CaseVerdict, Verdict};
use countersign_model::ixit::Dut;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The outcome of an assessment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The form of this document.
    pub format: &'static str,
    /// Program and version that probed.
    pub made_by: String,
    /// When, RFC 3339.
    pub at: String,
    /// The editions that were applied.
    pub edition: String,
    /// The algorithm catalogues that were applied.
    pub profile: String,
    /// The device.
    pub dut: Dut,
    /// Its address.
    pub target: String,
    /// SHA-256 of the declaration, to which statements refer.
    pub declaration_sha256: String,
    /// SHA-256 of the bundle that this report was made from.
    pub bundle_sha256: String,
    /// The verdict of each test case.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Each test case with units and findings.
    pub cases: Vec<CaseVerdict>,
    /// Probes that did not run, and why.
    pub not_run: Vec<String>,
    /// The evidence: id, probe, subject and hash.
    pub evidence: Vec<EvidenceRef>,
    #[serde(skip)]
    bundle: Bundle,
}

/// A pointer into the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceRef {
    /// `E-001`.
    pub id: String,
    /// Which probe.
    pub probe: String,
    /// About what.
    pub subject: String,
    /// Hash of the facts.
    pub sha256: String,
}

/// Where a report was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `report.html`, for people.
    pub html: PathBuf,
    /// `report.json`, for machines.
    pub json: PathBuf,
    /// `evidence.json`, the bundle for [`crate::replay`].
    pub evidence: PathBuf,
}

impl Report {
    /// Judges a bundle. Pure: the same bundle gives the same report.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let view = View::new(bundle);
        let cases: Vec<CaseVerdict> =
            TEST_CASES.iter().map(|case| judge(case.id, case.title, &view)).collect();
        let declaration = &bundle.declaration;
        Self {
            format: "countersign-report/1",
            made_by: bundle.made_by.clone(),
            at: bundle.at.to_rfc3339(),
            edition: format!(
                "{} / {}",
                declaration.edition.provisions(),
                declaration.edition.tests()
            ),
            profile: crate::algorithms::describe(bundle.profile),
            dut: declaration.dut.clone(),
            target: bundle.target.to_string(),
            declaration_sha256: Bundle::declaration_sha256(declaration),
            bundle_sha256: bundle.sha256.clone(),
            verdicts: cases.iter().map(|case| (case.id.clone(), case.verdict)).collect(),
            cases,
            not_run: bundle.not_run.clone(),
            evidence: bundle
                .evidence
                .iter()
                .map(|item| EvidenceRef {
                    id: item.id.clone(),
                    probe: item.probe.clone(),
                    subject: item.subject.clone(),
                    sha256: item.sha256.clone(),
                })
                .collect(),
            bundle: bundle.clone(),
        }
    }

    /// The bundle that this report was made from.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Whether some test case failed: exit code 1 of `assess`.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.verdicts.values().any(|verdict| *verdict == Verdict::Fail)
    }

    /// How many test cases have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.values().filter(|found| **found == verdict).count()
    }

    /// Pretty-printed JSON with a stable order of keys, ending in a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("string keys only, so JSON can hold it") + "\n"
    }

    /// One self-contained page: no script, no other file, a content security policy that allows nothing else.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// A table for a terminal, at most `width` columns wide.
    #[must_use]
    pub fn to_text(&self, width: usize) -> String {
        text::table(self, width)
    }

    /// Writes `report.html`, `report.json` and `evidence.json` into a folder, which is made if need be.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn write(&self, folder: &Path) -> std::io::Result<Written> {
        std::fs::create_dir_all(folder)?;
        let written = Written {
            html: folder.join("report.html"),
            json: folder.join("report.json"),
            evidence: folder.join("evidence.json"),
        };
        // Evidence first: without it a report proves nothing.
        std::fs::write(&written.evidence, self.bundle.to_json())?;
        std::fs::write(&written.json, self.to_json())?;
        std::fs::write(&written.html, self.to_html())?;
        Ok(written)
    }

    fn html_hash(style: &str) -> String {
        use base64::Engine as _;
        let digest = hex::decode(sha256_hex(style.as_bytes())).unwrap_or_default();
        base64::engine::general_purpose::STANDARD.encode(digest)
    }
}
