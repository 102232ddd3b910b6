//! The built-in processes are whole, and their pages say what the data says.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use countersign_model::ixit::LifePhase;
use countersign_model::processes::{Record, Rule, built_in};
use countersign_model::time::Timestamp;

//= specs/en-303-645.md#5.5-8
//= type=test
//# The manufacturer MUST manage critical security parameters by secure processes over their entire life cycle.
#[test]
fn every_parameter_has_a_process_for_every_phase() {
    let mut seen = Vec::new();
    for process in built_in() {
        let phases: Vec<_> = process.phase.keys().copied().collect();
        assert_eq!(phases, LifePhase::ALL, "{}", process.parameter.as_str());
        for phase in process.phase.values() {
            assert!(!phase.by.trim().is_empty() && phase.process.len() > 20);
            assert!(!phase.process.contains('\n') && phase.process.ends_with('.'));
        }
        let (parameter, id) = (process.parameter.as_str(), process.id.as_str());
        assert_eq!(parameter.strip_prefix("SecParam-"), id.strip_prefix("SecMgmt-"));
        seen.push(parameter);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), built_in().len(), "one process a parameter");
}

#[test]
fn a_row_names_the_newest_record_and_leaves_a_phase_without_one_bare() {
    let process = &built_in()[0];
    let record = |at, place: &str| Record {
        phase: LifePhase::Storage,
        place: place.to_owned(),
        shows: "it is there".to_owned(),
        at: Timestamp(at),
    };
    let row = process.row(&[record(2, "newer"), record(1, "older")]);
    for phase in &row.description.typed {
        match phase.phase {
            LifePhase::Storage => {
                assert_eq!(phase.evidence.as_deref(), Some("newer: it is there"));
                assert_eq!(phase.at, Some(Timestamp(2)));
            }
            _ => assert_eq!((phase.evidence.as_ref(), phase.at), (None, None)),
        }
    }
}

/// Set `COUNTERSIGN_WRITE_PAGES=1` to write the pages anew.
#[test]
fn the_pages_are_those_of_the_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/processes");
    for process in built_in() {
        let name = process.id.as_str().trim_start_matches("SecMgmt-").to_lowercase();
        let path = folder.join(format!("{name}.md"));
        if std::env::var_os("COUNTERSIGN_WRITE_PAGES").is_some() {
            std::fs::write(&path, process.page()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        assert_eq!(page, process.page(), "{}: COUNTERSIGN_WRITE_PAGES=1 writes it", path.display());
    }
}

#[test]
fn an_unknown_key_is_an_error() {
    let rule = r#"in = "ledger"
kind = "issued"
of = "device"
shows = "x"
colour = "red""#;
    assert!(toml::from_str::<Rule>(rule).unwrap_err().to_string().contains("colour"));
}
