//! How critical security parameters are managed, from their making to their end: the maker's processes, as data
//! (EN 303 645 provision 5.5-8).
//!
//! ```text
//! processes/*.toml ─► Process ─┬─► docs/processes/*.md              for people
//!                              ├─► authority: records in the ledger
//!                              └─► device: what it sees of itself ─► IXIT 14-SecMgmt
//! ```
//!
//! A phase says who does what, and which records show that it was really done. A rule that no record meets yields no
//! evidence, and the declaration says so.
//!
//! ```
//! use countersign_model::processes::built_in;
//! assert!(built_in().iter().any(|process| process.parameter.as_str() == "SecParam-LDevIDKey"));
//! ```

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::ixit::{LifePhase, PhaseRecord, RowId, SecMgmt, Twin};
use crate::time::Timestamp;

/// The files of this build, one a parameter.
const FILES: [&str; 6] = [
    include_str!("../processes/idevid-key.toml"),
    include_str!("../processes/invitation-verifier.toml"),
    include_str!("../processes/ldevid-key.toml"),
    include_str!("../processes/network.toml"),
    include_str!("../processes/seal-key.toml"),
    include_str!("../processes/setup-verifier.toml"),
];

//= specs/en-303-645.md#5.5-8
//# The manufacturer MUST manage critical security parameters by secure processes over their entire life cycle.
/// The processes around one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The parameter's row in table 10-SecParam.
    pub parameter: RowId,
    /// The process's row in table 14-SecMgmt.
    pub id: RowId,
    /// What the parameter is.
    pub title: String,
    /// What the processes follow.
    pub references: Vec<String>,
    /// Phase by phase; [`built_in`] is tested to have all six.
    pub phase: BTreeMap<LifePhase, Phase>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Who does it.
    pub by: String,
    /// What is done.
    pub process: String,
    /// What shows that it was done; any of them does.
    #[serde(default)]
    pub record: Vec<Rule>,
}

/// Where a record is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rule {
    /// In the authority's ledger.
    Ledger {
        /// The entry's kind, such as `issued`.
        kind: String,
        /// Whose entries count.
        of: Scope,
        /// Only those about certificates for this purpose.
        #[serde(default)]
        purpose: Option<String>,
        /// The first one does not count: it made what later ones renewed.
        #[serde(default)]
        after_the_first: bool,
        /// What the record shows.
        shows: String,
    },
    /// On the device, looked at when the declaration is made.
    Device {
        /// What is looked at.
        check: Check,
        /// What it shows when it holds.
        shows: String,
    },
    /// In the device's own record of who changed who may what.
    History {
        /// The entry's word, such as `network-replaced`.
        what: String,
        /// What the entry shows.
        shows: String,
    },
}

/// Whose entries count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Those of the device in question.
    Device,
    /// Those of any: the process is one for all, and this device may never have needed it.
    Fleet,
}

/// What a device can see of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// What the factory wrote is sealed, opens, and only the device's user may read it.
    FactoryFile,
    /// The sealing keys' files may be read by the device's user only.
    SealKey,
    /// What belongs to the home is sealed under a key of this ownership, and no other such key is left.
    OwnershipKey,
    /// The state is sealed, opens, and only the device's user may read it.
    StateFile,
    /// The keystore holds the keys in use, sealed, for the device's user only.
    Keystore,
    /// Of the operational keys that were made, none is left but those in use.
    FormerKeysGone,
    /// Network credentials of a home are installed, in the sealed state.
    NetworkInstalled,
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The phase that it belongs to.
    pub phase: LifePhase,
    /// Where it stands, for example `ledger entry 12 (issued), leaf ab…`.
    pub place: String,
    /// What it shows.
    pub shows: String,
    /// When it was made.
    pub at: Timestamp,
}

/// The records of one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The parameter's row in table 10-SecParam.
    pub parameter: RowId,
    /// What was found, oldest first.
    pub records: Vec<Record>,
}

/// The processes of this build.
#[must_use]
pub fn built_in() -> &'static [Process] {
    static ALL: OnceLock<Vec<Process>> = OnceLock::new();
    ALL.get_or_init(|| {
        let read = |text: &str| toml::from_str(text).expect("the processes are tested to parse");
        FILES.into_iter().map(read).collect()
    })
}

impl Process {
    /// The row of table 14-SecMgmt: each phase with its process and the newest record of it. A phase without one stays
    /// without evidence.
    #[must_use]
    pub fn row(&self, records: &[Record]) -> SecMgmt {
        let phases = self.phase.iter().map(|(phase, what)| {
            let of_phase = records.iter().filter(|record| record.phase == *phase);
            let newest = of_phase.max_by_key(|record| record.at);
            PhaseRecord {
                phase: *phase,
                process: format!("{}: {}", what.by, what.process),
                evidence: newest.map(|record| format!("{}: {}", record.place, record.shows)),
                at: newest.map(|record| record.at),
            }
        });
        let text = format!("{}; follows {}", self.title, self.references.join(", "));
        SecMgmt { id: self.id.clone(), description: Twin::new(text, phases.collect()) }
    }

    /// What the device is asked to look at.
    #[must_use]
    pub fn checks(&self) -> BTreeSet<Check> {
        let rules = self.phase.values().flat_map(|phase| &phase.record);
        rules
            .filter_map(|rule| match rule {
                Rule::Device { check, .. } => Some(*check),
                Rule::Ledger { .. } | Rule::History { .. } => None,
            })
            .collect()
    }

    /// The process as a page for people, Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        page::page(self)
    }
}
