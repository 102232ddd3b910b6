//! A key that several people hold together: each has a key file of their own, and only so many of them open it.
//!
//! ```text
//!  CustodianKey ── signs approvals, opens shares ─── in a file under a passphrase, or its signing half in a token
//!
//!  Vault ── the private key, sealed under K ── K, split for every M of N custodians ── each part wrapped (HPKE) to one
//!             └─ and under the folder's own sealing key: neither the file alone nor the folder alone opens it
//! ```
//!
//! The split is by exclusive or, once for every group of M custodians: fewer than M parts of a group are random bytes,
//! whatever anybody can compute. `docs/decisions/0040-the-root-is-used-by-m-of-n.md` says why no polynomials.

mod key;
mod shares;
mod vault;
mod wrap;

pub use key::{CustodianKey, CustodianKeyError, MIN_PASSPHRASE};
pub use shares::MAX_CUSTODIANS;
pub use vault::{Holder, Parts, Vault, VaultError, WrappedPart};
pub use wrap::{WrapError, WrapKey, WrapPublic};

#[cfg(all(test, not(feature = "second-provider")))]
#[allow(clippy::unwrap_used)]
mod tests;
