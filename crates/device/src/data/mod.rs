//! The data folder: all that a device keeps.
//!
//! ```text
//!  DIR/factory/   written once, by the factory: idevid.crt, roots.pem, keys/idevid.key, pairing.sealed, policy.sealed
//!  DIR/seal.key   seals what the factory wrote (0600)
//!  DIR/home.key   seals the state and the operational keys, for one ownership (0600)
//!  DIR/state.sealed, state.sealed.prev      the device's state, replaced whole at every change
//!  DIR/keys/      operational keys, one for each slot that the state names
//!  DIR/device.lock                          held by the one process that runs on the folder
//! ```

mod codec;
mod factory;

mod folder;
pub mod home_key;
mod notes;
mod record;
mod store;

pub use factory::{Blank, Factory, FactoryError, PolicyAuthority, install};
pub use folder::{DataFolder, FolderError};
pub use record::{BUILD_FLOOR, Home, PolicyRecord, Record, Slot};
pub use store::{Store, StoreError};
