//! The ceremony: from one reviewed plan to root, issuing CAs, policy key and the first operator.
//!
//! ```text
//!  plan ─► keys: root, issuing CAs, policy ─► custodians approve ─► root, issuing CAs' certificates ─► roots.pem ─► operator
//!       ─► transcript, signed
//! ```
//!
//! Every step looks first whether its work is there, so a ceremony that was killed anywhere is carried on by running
//! it again with the same plan. A finished one is told of, never repeated. Each step is an entry of the ledger.

mod plan;
mod run;
mod transcript;

pub use self::plan::{CeremonyPlan, Keep, default_plan};
pub use self::run::{CeremonyOutcome, Step};
pub(crate) use self::run::{certificate_facts, is_finished, key_facts, once, plan_file};
pub use self::transcript::{Made, Transcript, verify_transcript};

#[cfg(test)]
mod tests;
