//! How the device's process says that it stands: its ready file.

use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_model::topic::{PolicyPhase, PolicyReport};
use serde::Deserialize;

use crate::failure::{Ended, Failure};
use crate::spawn::{Process, read_json};

/// The file, watched.
pub(super) struct Status {
    file: PathBuf,
}

/// What it says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Now {
    pub(super) state: String,
    pub(super) pairing: Option<SocketAddr>,
    pub(super) api: Option<SocketAddr>,
    pub(super) uplink: String,
    pub(super) detail: Option<String>,
    pub(super) negotiated: Option<Negotiated>,
    pub(super) identity: Option<String>,
    pub(super) policy: PolicyReport,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Negotiated {
    pub(super) version: String,
    pub(super) suite: String,
    pub(super) group: String,
}

impl Now {
    /// Whether that policy is in force and has carried a session.
    pub(super) fn holds(&self, version: u64) -> bool {
        self.policy.version == version && self.policy.phase == PolicyPhase::Steady
    }
}

impl Status {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    pub(super) fn read(&self) -> Ended<Now> {
        read_json(&self.file).ok_or_else(|| {
            Failure::found(format!("{}: no status of the device", self.file.display()))
        })
    }

    /// Waits until the device stands as `wanted`.
    pub(super) async fn reached(
        &self,
        process: &mut Process,
        wanted: impl Fn(&Now) -> bool,
    ) -> Ended<Now> {
        process.ready(&self.file, wanted).await
    }
}
