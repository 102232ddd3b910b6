//! The states of an issuing CA's key, after NIST SP 800-57 part 1 revision 5, section 7. The whole table stands in a
//! snapshot.

/// Where a key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Made and published; it signs nothing yet.
    PreActivation,
    /// It issues.
    Active,
    /// It issues nothing for a time; what it issued stands.
    Suspended,
    /// It issues no more; what it issued stands until it is replaced or expires.
    Deactivated,
    /// Others may know it: nothing that it issued counts.
    Compromised,
    /// Gone, and nothing that it issued counts.
    Destroyed,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::PreActivation,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// The word in database, ledger and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActivation => "pre-activation",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether verifiers take what the key signed.
    //= specs/house.md#house-rotation
    //# An issuing authority MUST be known to every verifier before it issues.
    //= specs/house.md#house-rotation
    //# What a deactivated issuing authority issued MUST be accepted until the authority is retired.
    #[must_use]
    pub const fn verifies(self) -> bool {
        match self {
            Self::PreActivation | Self::Active | Self::Suspended | Self::Deactivated => true,
            Self::Compromised | Self::Destroyed => false,
        }
    }

    /// Whether the private key must be at hand.
    #[must_use]
    pub const fn has_key(self) -> bool {
        matches!(self, Self::PreActivation | Self::Active | Self::Suspended)
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyEvent {
    /// It begins to issue.
    Activate,
    /// Another took its place.
    Deactivate,
    /// It is withheld for a time.
    Suspend,
    /// It comes back.
    Resume,
    /// It may be known to others.
    Compromise,
    /// It is destroyed.
    Destroy,
}

impl KeyEvent {
    /// Every event.
    pub const ALL: [Self; 6] = [
        Self::Activate,
        Self::Deactivate,
        Self::Suspend,
        Self::Resume,
        Self::Compromise,
        Self::Destroy,
    ];
}

/// The state after `event`.
///
/// # Errors
/// [`NotAdmitted`] where the event has no place.
pub const fn after(state: KeyState, event: KeyEvent) -> Result<KeyState, NotAdmitted> {
    use {KeyEvent as E, KeyState as S};
    Ok(match (state, event) {
        (S::PreActivation, E::Activate) | (S::Suspended, E::Resume) => S::Active,
        (S::Active, E::Suspend) => S::Suspended,
        (S::Active | S::Suspended, E::Deactivate) => S::Deactivated,
        (S::PreActivation | S::Active | S::Suspended | S::Deactivated, E::Compromise) => {
            S::Compromised
        }
        // An active key is deactivated first: somebody must issue in its place.
        (S::PreActivation | S::Suspended | S::Deactivated | S::Compromised, E::Destroy) => {
            S::Destroyed
        }
        (state, event) => return Err(NotAdmitted { state, event }),
    })
}

/// The event has no place in the state. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} has no place in the state {state}")]
pub struct NotAdmitted {
    /// Where the key stands.
    pub state: KeyState,
    /// What was to happen.
    pub event: KeyEvent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_is_as_reviewed() {
        let mut table = String::new();
        for state in KeyState::ALL {
            let (verifies, key) = (state.verifies(), state.has_key());
            table.push_str(&format!("{state}: verifies {verifies}, key at hand {key}\n"));
            for event in KeyEvent::ALL {
                let outcome = match after(state, event) {
                    Ok(next) => next.as_str(),
                    Err(_) => "-",
                };
                table.push_str(&format!("    {:12} {outcome}\n", format!("{event:?}")));
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn nothing_comes_back_and_nothing_issues_twice() {
        for event in KeyEvent::ALL {
            assert!(after(KeyState::Destroyed, event).is_err(), "{event:?}");
            let next = after(KeyState::Deactivated, event);
            assert!(!matches!(next, Ok(KeyState::Active | KeyState::PreActivation)), "{event:?}");
        }
        for state in KeyState::ALL {
            assert_eq!(KeyState::from_word(state.as_str()), Some(state));
        }
    }
}
