//! A W3C Thing Description, as a maker writes it.

use countersign_model::thing::ThingDescription;

/// What was read names its affordances and judges them; what was not says why.
pub fn target(data: &[u8]) {
    match ThingDescription::parse(data) {
        Ok(thing) => {
            let _ = (thing.title(), thing.network_services());
            assert!(thing.rules().count() < 100_000);
        }
        Err(errors) => assert!(!errors.is_empty(), "a refusal without a reason"),
    }
}
