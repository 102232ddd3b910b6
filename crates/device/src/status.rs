//! How the device stands, for whoever watches it: one small JSON file, replaced whole at each change.

use crate::uplink::shell::UplinkStatus;
use countersign_crypto::file;
use countersign_model::id::ThingId;
use countersign_model::state::DeviceState;
use countersign_model::topic::PolicyReport;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the ready file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Who.
    pub thing: ThingId,
    /// In which state.
    pub state: DeviceState,
    /// Where the pairing interface listens.
    pub pairing: Option<SocketAddr>,
    /// Where the local API listens.
    pub api: Option<SocketAddr>,
    /// How the uplink stands.
    pub uplink: UplinkStatus,
    /// Serial number of the LDevID in use.
    pub identity: Option<String>,
    /// The crypto policy in force, how far the next one is, and what was refused last.
    pub policy: PolicyReport,
}

impl Status {
    /// `{"thing","state","pairing","api","uplink","detail","negotiated","identity","policy"}`; null where there is nothing.
    /// `policy` is `{"version","phase","refused"}`, `refused` there only if something was.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (uplink, detail, negotiated) = match &self.uplink {
            UplinkStatus::Waiting => ("waiting", None, None),
            UplinkStatus::Connecting => ("connecting", None, None),
            UplinkStatus::Connected(negotiated) => ("connected", None, Some(negotiated)),
            UplinkStatus::Refused(why) => ("refused", Some(why), None),
            UplinkStatus::Lost(why) => ("lost", Some(why), None),
        };
        let negotiated = negotiated.map(|negotiated| {
            json!({
                "version": negotiated.version,
                "suite": negotiated.suite,
                "group": negotiated.group,
                "alpn": negotiated.alpn,
            })
        });
        json!({
            "thing": self.thing,
            "state": self.state,
            "pairing": self.pairing,
            "api": self.api,
            "uplink": uplink,
            "detail": detail,
            "negotiated": negotiated,
            "identity": self.identity,
            "policy": self.policy,
        })
    }
}

/// Writes the file when what it says has changed.
#[derive(Debug)]
pub struct StatusFile {
    path: Option<PathBuf>,
    last: Option<Status>,
}

impl StatusFile {
    /// A file at `path`, or none.
    #[must_use]
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self { path, last: None }
    }

    /// Shows `status`.
    ///
    /// # Errors
    /// Whatever the file system answers, with the path.
    pub fn show(&mut self, status: &Status) -> std::io::Result<()> {
        if self.last.as_ref() == Some(status) {
            return Ok(());
        }
        if let Some(path) = &self.path {
            let text = status.to_json().to_string();
            file::write_atomic(path, text.as_bytes(), file::PUBLIC)?;
        }
        self.last = Some(status.clone());
        Ok(())
    }
}
