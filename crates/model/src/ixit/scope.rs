//! What is assessed, against which editions, and what applies.

use super::words::Day;
use serde::{Deserialize, Serialize};

/// Document and version of the provisions and of the test specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Edition {
    /// EN 303 645 V3.1.3 (2024-09) with TS 103 701 V2.1.1 (2025-05).
    #[default]
    #[serde(rename = "EN 303 645 V3.1.3 / TS 103 701 V2.1.1")]
    V3,
    /// EN 303 645 V2.1.1 (2020-06) with TS 103 701 V1.1.1 (2021-08).
    #[serde(rename = "EN 303 645 V2.1.1 / TS 103 701 V1.1.1")]
    V2,
}

impl Edition {
    /// The provisions' document and version.
    #[must_use]
    pub const fn provisions(self) -> &'static str {
        match self {
            Self::V3 => "EN 303 645 V3.1.3",
            Self::V2 => "EN 303 645 V2.1.1",
        }
    }

    /// The test specification's document and version.
    #[must_use]
    pub const fn tests(self) -> &'static str {
        match self {
            Self::V3 => "TS 103 701 V2.1.1",
            Self::V2 => "TS 103 701 V1.1.1",
        }
    }
}

/// The device under test.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dut {
    /// Who makes it.
    pub manufacturer: String,
    /// Model name as sold.
    pub model: String,
    /// Serial on the label of the sample.
    pub serial: String,
    /// Hardware version.
    pub hardware_version: String,
    /// Software version.
    pub software_version: String,
    /// The state in which the sample is while it is assessed.
    pub state: State,
}

/// A state of a device's life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it leaves the factory, or after a reset.
    FactoryDefault,
    /// Being taken into a home.
    Pairing,
    /// In use.
    #[default]
    Initialised,
    /// While an update is applied.
    Updating,
    /// Started for repair.
    Recovery,
}

impl State {
    /// Every state, in the order of a device's life.
    pub const ALL: [Self; 5] =
        [Self::FactoryDefault, Self::Pairing, Self::Initialised, Self::Updating, Self::Recovery];

    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FactoryDefault => "factory-default",
            Self::Pairing => "pairing",
            Self::Initialised => "initialised",
            Self::Updating => "updating",
            Self::Recovery => "recovery",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From when until when the maker supports the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportPeriod {
    /// First day on the market.
    pub from: Day,
    /// Last day of support.
    pub until: Day,
}

/// A row of the implementation conformance statement (table B.1 of EN 303 645).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcsRow {
    /// For example `5.5-4`.
    pub provision: String,
    /// Whether the device fulfils it.
    pub support: Support,
    /// How it is fulfilled; for `N` and `N/A` the justification.
    pub detail: String,
}

/// The support column of the ICS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Support {
    /// Supported.
    #[serde(rename = "Y")]
    Yes,
    /// Not supported.
    #[serde(rename = "N")]
    No,
    /// Not applicable.
    #[serde(rename = "N/A")]
    NotApplicable,
}

/// The conditions and features that decide which provisions of 5.5 apply.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// C(16): critical security parameters that relate to the device exist.
    #[serde(rename = "C(16)")]
    pub csps_exist: Condition,
    /// F(n): security-relevant configuration over the network is possible.
    #[serde(rename = "F(n)")]
    pub network_configuration: Condition,
    /// F(o): critical security parameters can leave the device.
    #[serde(rename = "F(o)")]
    pub csps_leave: Condition,
}

/// A truth value and why it has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Whether it holds.
    pub holds: bool,
    /// Why. A condition that does not hold and has no reason excuses nothing.
    pub reason: String,
}

impl Condition {
    /// A condition that holds.
    pub fn holds(reason: impl Into<String>) -> Self {
        Self { holds: true, reason: reason.into() }
    }

    /// A condition that does not hold.
    pub fn fails(reason: impl Into<String>) -> Self {
        Self { holds: false, reason: reason.into() }
    }
}

/// Whether an interface or service is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Available.
    #[default]
    Enabled,
    /// Present but switched off.
    Disabled,
}
