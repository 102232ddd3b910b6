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

use crate::secret::Channel;
use crate::signature::SignatureAlgorithm;

/// Security strength of a wrapping key (NIST SP 800-57 part 1, table 2: P-384), in bits.
pub const BITS: u16 = 192;
/// What is wrapped to a custodian's key.
pub const CHANNEL: Channel<BITS> = Channel::new();

// Whatever key a vault holds, the parts of what seals it travel by a means that is no weaker.
const _: () = {
    let (all, mut at) = (SignatureAlgorithm::ALL, 0);
    while at < all.len() {
        assert!(
            all[at].strength().0 <= BITS,
            "a vault's key must not be stronger than its wrapping"
        );
        at += 1;
    }
};

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
