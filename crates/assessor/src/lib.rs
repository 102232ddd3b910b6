//! The conformance tool: tests a device, ours or not, against the test cases of ETSI TS 103 701 for clause
//! 5.5 of EN 303 645, and writes a report with evidence that can be replayed.
//!
//! ```text
//!  declaration ─┐
//!  target ──────┼─► registry ─► plan ─► probes ─► evidence ─► checks ─► report
//!  credentials ─┘   which cases  which    observe,  facts,      judge,    HTML, JSON,
//!  captures         there are    probes   judge     hashed      see       text
//!                                         nothing               nothing
//! ```
//!
//! It links none of the code that it judges: its TLS stack, its HTTP client and its hand-made ClientHellos
//! are its own. Three rules hold everywhere: no verdict comes from absence; the worst finding counts; the
//! same bundle gives the same report, byte for byte.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use countersign_assessor::{Assessment, Verdict, collect, Report};
//! use countersign_model::{ixit::Declaration, time::Timestamp};
//!
//! // An empty declaration is no reason to pass.
//! let given = Assessment::new(Declaration::default(), "127.0.0.1".parse()?, Timestamp(0));
//! # let given = Assessment { scan_udp: false, ..given };
//! let bundle = collect(given, |at| eprintln!("{} {}/{}", at.probe.as_str(), at.done, at.total)).await?;
//! let report = Report::of(&bundle);
//! assert_eq!(report.verdicts["5.5-1-1"], Verdict::Inconclusive);
//! assert!(report.verdicts.values().all(|verdict| *verdict != Verdict::Pass));
//! # Ok(())
//! # }
//! ```
//!
//! Public: [`Assessment`], [`run`], [`Report`], [`replay`], [`explain`]; the probes in [`probe`] for those
//! who only want to look, and the recording [`relay`].

pub mod algorithms;
mod assessment;
mod bundle;
mod checks;
pub mod evidence;
pub mod probe;
mod registry;
pub mod relay;
mod report;
mod statement;
mod verdict;

pub use algorithms::Profile;
pub use assessment::{AssessError, Assessment, Baseline, Progress, collect, run};
pub use bundle::{Bundle, FORMAT, ReplayError, replay};
pub use probe::access::{Credential, SubjectError};
pub use probe::canary::{Canary, Capture};
pub use registry::{Probe, TEST_CASES, TestCase, explain};
pub use report::{EvidenceRef, Report, Written};
pub use statement::{KnownAssessors, SignError, SignedStatement, Statement};
pub use verdict::{CaseVerdict, Finding, Unit, Verdict};
