//! How old the revocation list is, and what a gateway does that is cut off from the authority: it keeps the last list, says how old it
//! is, and past an age closes or stays open, as the configuration has it.
//!
//! ```text
//!  the directory's last word of the authority ── age ──► Current ── max_age ──► Old: stays open, and says so
//!                                                                          └──► Closed: nobody is admitted, sessions end
//! ```

use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::permit::messaging::MessagingSubject;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::directory::{Directory, PeerFacts, Refusal};

/// What happens past the age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PastAge {
    /// Nobody is admitted and open sessions end, until the authority is heard again.
    Close,
    /// The last list stands, however old.
    Open,
}

/// The `[gateway.revocation]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationConfig {
    /// The oldest that the list may be, in seconds. Default a day, 1 second to a year.
    pub max_age_secs: u64,
    /// What happens past that. Default `close`.
    pub past_age: PastAge,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self { max_age_secs: 24 * 3600, past_age: PastAge::Close }
    }
}

/// How the list stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not older than allowed.
    Current,
    /// Older, and the gateway stays open.
    Old,
    /// Older, and the gateway is closed.
    Closed,
}

impl RevocationConfig {
    /// How a list of that age stands.
    //= specs/house.md#house-revocation
    //# A gateway that is cut off from the authority MUST keep the last list, and past its age close or stay open as
    //# configured.
    #[must_use]
    pub fn judge(&self, age: Duration) -> Standing {
        match self.past_age {
            _ if age <= Duration::from_secs(self.max_age_secs) => Standing::Current,
            PastAge::Open => Standing::Old,
            PastAge::Close => Standing::Closed,
        }
    }
}

/// A directory that admits nobody while its list is too old.
pub(crate) struct Aged {
    pub(crate) inner: Arc<dyn Directory>,
    pub(crate) config: RevocationConfig,
}

impl Aged {
    pub(crate) fn standing(&self) -> Standing {
        self.inner.list_age().map_or(Standing::Current, |age| self.config.judge(age))
    }
}

impl Directory for Aged {
    fn admit(&self, peer: &PeerFacts) -> Result<MessagingSubject, Refusal> {
        if self.standing() == Standing::Closed {
            return Err(Refusal::ListTooOld);
        }
        self.inner.admit(peer)
    }

    fn names_other_subject(&self, client_id: &str) -> bool {
        self.inner.names_other_subject(client_id)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed()
    }

    fn list_age(&self) -> Option<Duration> {
        self.inner.list_age()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-revocation
    //= type=test
    //# A gateway that is cut off from the authority MUST keep the last list, and past its age close or stay open as
    //# configured.
    #[test]
    fn the_age_decides_and_the_configuration_says_what() {
        let close = RevocationConfig { max_age_secs: 60, past_age: PastAge::Close };
        let open = RevocationConfig { past_age: PastAge::Open, ..close };
        for (secs, closing, opening) in [
            (0, Standing::Current, Standing::Current),
            (60, Standing::Current, Standing::Current),
            (61, Standing::Closed, Standing::Old),
            (u64::MAX, Standing::Closed, Standing::Old),
        ] {
            let age = Duration::from_secs(secs);
            assert_eq!((close.judge(age), open.judge(age)), (closing, opening), "{secs} s");
        }
        assert!(close.judge(Duration::from_millis(60_001)) == Standing::Closed);
    }
}
