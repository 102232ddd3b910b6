//! The append-only record of what the authority did: `ledger.log`, one JSON object a line.
//!
//! ```text
//!  {"index":7,"at":…,"kind":"issued","body":{…},"leaf":"…","chain":"…"}
//!      leaf  = SHA-256(0x00 ‖ canonical JSON of index, at, kind, body)       RFC 6962 section 2.1
//!      chain = SHA-256(0x02 ‖ chain before ‖ leaf)                           order and completeness so far
//! ```
//!
//! An entry is on the disk before [`Ledger::append`] returns. Several processes append to one file under its
//! lock. A tail that a crash tore is set aside in a file of its own, never dropped, and the repair is an entry.
//! Secrets are never in it: bodies are made here and in this crate from names, serials and hashes.

mod entry;
mod file;
pub mod merkle;

pub use self::entry::{Entry, Kind, MAX_LINE};
pub use self::file::{Ledger, LedgerError, LedgerSummary, TornTail};
