//! The append-only record of what the authority did: `ledger.log`, one JSON object a line, and a Merkle tree over it.
//!
//! ```text
//!  {"index":7,"at":…,"kind":"issued","body":{…},"leaf":"…","chain":"…"}
//!      leaf  = SHA-256(0x00 ‖ canonical JSON of index, at, kind, body)       RFC 6962 section 2.1
//!      chain = SHA-256(0x02 ‖ chain before ‖ leaf)                           order and completeness, line by line
//!
//!  core, no files      entry ─► merkle ─► checkpoint (note) ─► witness (who cosigns)
//!                        audit, tiles, receipt: what a stranger verifies
//!  shell               file: ledger.log and ledger/{checkpoint,cosigned,history,key,state}      offline: exports
//! ```
//!
//! An entry is on the disk before [`Ledger::append`] returns; a signed checkpoint follows within [`CHECKPOINT_DELAY`].
//! Several processes append to one file under its lock. A tail that a crash tore is set aside in a file of its own,
//! never dropped, and the repair is an entry. Secrets are never in it: bodies are made here and in this crate from
//! names, serials and hashes.
//!
//! Forms are those of C2SP: signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof.

mod entry;
pub mod merkle;
pub mod note;

pub mod checkpoint;
mod signer;
pub mod witness;

pub mod audit;
pub mod receipt;
pub mod tiles;

mod file;
pub mod offline;

pub use self::entry::{Entry, Kind, Leaf, MAX_LINE};
pub use self::file::{CHECKPOINT_DELAY, Ledger, LedgerError, LedgerSummary, TornTail};
pub use self::signer::LedgerSigner;
