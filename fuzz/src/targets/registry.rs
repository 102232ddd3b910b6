//! The algorithm registry's files.

use countersign_model::registry::{BUILT_IN, Files, Kind, Profile, Registry, Standing};
use countersign_model::time::Day;

/// A file of entries, of sources or of profiles is refused with its name, or judged by the rule.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The smallest file of entries, so that a run is short.
    let few = &BUILT_IN.entries[8..9];
    for files in [
        Files { sources: text, entries: few, ..BUILT_IN },
        Files { profiles: text, entries: few, ..BUILT_IN },
        Files { entries: &[(Kind::Suite, text)], ..BUILT_IN },
    ] {
        match Registry::parse(files) {
            Ok(registry) => judged(&registry),
            Err(error) => assert!(!error.detail.is_empty()),
        }
    }
}

fn judged(registry: &Registry) {
    let days = ["2026-11-25", "2036-01-01"].map(|day| day.parse::<Day>().expect("a day"));
    for (kind, entry) in registry.entries() {
        for profile in Profile::ALL {
            for day in days {
                let verdict = registry.verdict(kind, &entry.id, profile, day);
                // Never better than any statement that counts, never allowed where nobody speaks.
                assert!(verdict.said.iter().all(|said| said.standing <= verdict.standing));
                assert!(!verdict.said.is_empty() || verdict.standing == Standing::NotListed);
                assert!(verdict.standing != Standing::NotListed || !verdict.is_allowed());
                let refusal = registry.first_refusal(kind, &entry.id, profile, day);
                assert_eq!(verdict.is_allowed(), refusal.is_none_or(|(first, _)| first > day));
            }
        }
    }
}
