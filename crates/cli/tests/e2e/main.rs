//! End to end: the real binary, real sockets, and clients that we did not write.
//!
//! Every test starts what it needs on free ports in a folder of its own, and ends it whatever happens. Nothing is
//! skipped: a client program that is missing fails the tests that need it, and says that `./test` installs it. Only zsh and
//! fish are not asked where they are not installed, and the test says so.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

mod enrol;
mod serve;
mod token;

mod home_assistant;
mod mosquitto;
mod paho;
mod refused;

mod administration;
mod backup;
mod clones;
mod est;
mod evidence;
mod expiry;
mod factory;
mod factory_offline;
mod ledger;
mod postgres;
mod retirement;
mod revocation;
mod root_roll;
mod rotation;
mod status;
mod withdrawal;

mod bad_files;
mod canaries;
mod descriptors;
mod hostile;
mod killed;
mod killed_streams;

mod completion;
mod devices;
mod devices_killed;
mod discovery;
mod handover;
mod local_api;
mod matrix;
mod sharing;

mod confined;
mod guides;
mod slow_reader;
mod units;

mod assess;
mod changeover;
mod changeover_fleet;
mod crypto;
mod custody;
mod dry_run;
mod policies;
mod policy_key;
mod second_signature;

mod demo;
mod help;
