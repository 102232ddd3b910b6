//! What the tests share: processes that end with the test, a house to test in, and the clients' command lines.

mod canary;
mod device;
mod fleet;
mod house;
mod mosquitto;
mod openssl;
mod paho;
mod policy;
mod postgres;
mod process;
mod product;
mod relay;
mod service;

use std::time::{Duration, Instant};

pub(crate) use canary::{canary, files, found, found_below, kept_secrets, keys, opened, scalar};
pub(crate) use device::{Device, Home, THING};
pub(crate) use fleet::fleet;
pub(crate) use house::{Authority, House, Identity};
pub(crate) use mosquitto::{Client, VERSIONS, Version};
pub(crate) use openssl::{Answer, Key, certificates_in, curl, openssl, s_client};
pub(crate) use paho::{Paho, Session};
pub(crate) use policy::{CLASSICAL, HYBRID, PolicyFiles, policy};
pub(crate) use postgres::Postgres;
pub(crate) use process::{Finished, Running, countersign, countersign_fails, feed, need, program};
pub(crate) use product::{Product, as_root, path_text};
pub(crate) use relay::Relay;
pub(crate) use service::Service;

/// How long anything may take on a loaded machine. Reaching it is a failure, never a measurement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until there is something to see.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < give_up, "waited {} s in vain: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}
