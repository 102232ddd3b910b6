//! The ceremony: from one reviewed plan to root, issuing CAs, policy key and the first operator.
//!
//! ```text
//!  plan ─► root key ─► root ─► for each issuing CA: key, certificate ─► policy key ─► roots.pem ─► operator ─► transcript
//! ```
//!
//! Every step looks first whether its work is there, so a ceremony that was killed anywhere is carried on by running
//! it again with the same plan. A finished one is told of, never repeated. Each step is an entry of the ledger.

mod plan;
mod run;

pub use self::plan::{CeremonyPlan, default_plan};
pub use self::run::{CeremonyOutcome, Made, Step, Transcript};
pub(crate) use self::run::{certificate_facts, is_finished, key_facts, once, plan_file};

#[cfg(test)]
mod tests;
