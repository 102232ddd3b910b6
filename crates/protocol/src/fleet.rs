//! What a policy would do to a fleet, told from what the fleet really did: before the policy is signed.
//!
//! ```text
//!  gateway's records ─┐
//!  registration ──────┼─► dry_run(…, candidate, now, not seen for) ─► per subject a Verdict, and how many of each
//!  CompiledPolicy ────┘
//! ```
//!
//! A prediction says what a handshake between what the subject offered last and a gateway under the candidate would come to.
//! It is careful: what is not known is not counted as good, and where only finished handshakes are known, a subject is taken
//! to be able to do what it did and nothing more.

mod judge;
mod record;
mod report;

pub use judge::{Basis, Candidate, Channel, Lack, LackKind, Part, Retired, Verdict};
pub use record::{Certificate, Negotiated, Offer, Record, Registration, SubjectKind};
pub use report::{Class, Counts, DryRun, Judged, Move, dry_run};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
