//! The root's use: asked for in writing, approved by custodians, and only then possible.
//!
//! ```text
//!  plan ─► Custody: M of these N people
//!  RootRequest ── exactly what will be signed; readable, signed by the authority ──► custodians read it, each on their own machine
//!  approvals ── each signed by a custodian's own key, over that request and no other ─┐
//!                                                                     judge (pure) ───┴─► RootPermit ─► RootSigner ─► issuance
//! ```
//!
//! The root's key can be reached only with a [`RootPermit`], which has private fields and comes only from [`judge`], or,
//! where the plan names no custodians, from [`without_custodians`]:
//!
//! ```compile_fail
//! let forged = countersign_authority::root::RootPermit { by: vec![], signs: vec![], shares: vec![], request: None };
//! ```
//!
//! A certificate of the root is made from the words of the permit alone, so what was approved is what is signed; the
//! same approvals once more can only make the same certificate once more.

mod approval;
mod custody;
mod judge;
mod keeper;
mod request;
mod signer;

pub use self::approval::{Approval, MAX_APPROVAL, approve};
pub(crate) use self::custody::RawCustodian;
pub use self::custody::{Custodian, Custody};
pub use self::judge::{NotApproved, RootPermit, judge, without_custodians};
pub(crate) use self::keeper::need;
pub use self::keeper::{RootAccess, RootNeed};
pub use self::request::{Act, ActKind, REQUEST_LIFE, RequestError, RootRequest};
pub(crate) use self::signer::RootSigner;

#[cfg(test)]
mod tests;
