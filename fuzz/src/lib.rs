//! Whatever faces a peer, fed with whatever a peer may send.
//!
//! ```text
//! corpus/<target>/* ─► mutations ─► targets::<target> ─► must neither panic nor break its promise
//! ```
//!
//! A target is one file under `targets/` and one line in `targets::ALL`. The same bodies run three ways: by
//! libFuzzer (`cargo +nightly fuzz run <target> --features libfuzzer`), by `replay` on stable, and by the
//! workspace's own tests, which replay the committed corpus (`crates/simulator/tests/peer_input.rs`).

pub mod mutate;
pub mod targets;
