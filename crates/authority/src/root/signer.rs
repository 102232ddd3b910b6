//! The root's key, to be reached with a permit only.

use countersign_crypto::signature::KeyHandle;

use super::judge::RootPermit;

/// The root's key at hand. It has no method that signs: `issuance` takes the key from it, and shows a permit.
pub(crate) struct RootSigner(KeyHandle);

impl RootSigner {
    pub(super) fn new(key: KeyHandle) -> Self {
        Self(key)
    }

    /// The key, for whoever has a permit.
    //= specs/house.md#house-custody
    //= type=implication
    //# The root MUST NOT sign without the approvals of as many different custodians as the plan says.
    pub(crate) fn key(&self, _: &RootPermit) -> &KeyHandle {
        &self.0
    }
}
