//! Where a device stands in its life, from the box to the box.

use serde::{Deserialize, Serialize};

/// The state of a device (EN 303 645 terms where they exist; "pairing" is its *initialisation*).
///
/// ```text
///  factory-default ─► pairing ─► initialised ◄──► updating
///        ▲                │          │  ▲
///        │◄───────────────┘          ▼  │
///        └──────── resetting ◄──── recovery
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// As it left the factory, or after a reset: it belongs to no home.
    FactoryDefault,
    /// Its pairing window is open.
    Pairing,
    /// It belongs to a home and does its work.
    Initialised,
    /// It replaces its software: it answers questions and obeys nobody.
    Updating,
    /// Something is damaged: only its owner is heard, to mend or to reset it.
    Recovery,
    /// It is destroying what it knows of the home.
    Resetting,
}

impl DeviceState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::FactoryDefault,
        Self::Pairing,
        Self::Initialised,
        Self::Updating,
        Self::Recovery,
        Self::Resetting,
    ];

    /// The word in documents, logs and the device's own files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FactoryDefault => "factory-default",
            Self::Pairing => "pairing",
            Self::Initialised => "initialised",
            Self::Updating => "updating",
            Self::Recovery => "recovery",
            Self::Resetting => "resetting",
        }
    }

    /// Whether a device may go from here to `next` in one step.
    ///
    /// A reset, once begun, can only end in [`DeviceState::FactoryDefault`]: half of a home's keys are no home.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use DeviceState as S;
        matches!(
            (self, next),
            (S::FactoryDefault, S::Pairing)
                | (S::Pairing, S::FactoryDefault | S::Initialised)
                | (S::Initialised, S::Updating | S::Recovery | S::Resetting)
                | (S::Updating, S::Initialised | S::Recovery)
                | (S::Recovery, S::Initialised | S::Updating | S::Resetting)
                | (S::Resetting, S::FactoryDefault)
        )
    }
}

impl std::fmt::Display for DeviceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_steps_exist() {
        let steps: Vec<String> = DeviceState::ALL
            .into_iter()
            .flat_map(|from| DeviceState::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .map(|(from, to)| format!("{from} -> {to}"))
            .collect();
        assert_eq!(
            steps,
            [
                "factory-default -> pairing",
                "pairing -> factory-default",
                "pairing -> initialised",
                "initialised -> updating",
                "initialised -> recovery",
                "initialised -> resetting",
                "updating -> initialised",
                "updating -> recovery",
                "recovery -> initialised",
                "recovery -> updating",
                "recovery -> resetting",
                "resetting -> factory-default",
            ]
        );
    }

    #[test]
    fn a_paired_device_is_never_paired_again_without_a_reset() {
        assert!(!DeviceState::Initialised.may_become(DeviceState::Pairing));
    }
}
