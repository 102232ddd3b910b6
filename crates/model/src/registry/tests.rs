use proptest::prelude::*;

use super::*;

fn day(year: u16) -> Day {
    Day::new(year, 6, 1).unwrap()
}

fn standing(kind: Kind, id: &str, profile: Profile, year: u16) -> Standing {
    Registry::built_in().verdict(kind, id, profile, day(year)).standing
}

//= specs/en-303-645.md#5.5-1
//= type=test
//# What counts as best practice MUST be data with a source and a date, so that it can age without a change of the code.
#[test]
fn the_built_in_registry_is_whole() {
    let registry = Registry::parse(BUILT_IN).unwrap();
    for kind in Kind::ALL {
        assert!(registry.entries().any(|(of, _)| of == kind), "no {} at all", kind.as_str());
    }
    assert!(registry.entries().count() > 180);
    // A code point of another registry is no version.
    assert_eq!(registry.by_code(Kind::Protocol, CodePoint(1)), None);
    assert_eq!(
        registry.entry(Kind::Signature, "ML-DSA-65"),
        registry.by_code(Kind::Signature, CodePoint(0x0905))
    );
    let named = registry.entries().filter(|(kind, entry)| {
        matches!(kind, Kind::Suite | Kind::Signature) && entry.iana.is_some()
    });
    for (_, entry) in named {
        assert_eq!(
            registry.by_code(
                if entry.id.starts_with("TLS_") { Kind::Suite } else { Kind::Signature },
                entry.iana.as_ref().unwrap().codes[0],
            ),
            Some(entry)
        );
    }
}

//= specs/house.md#house-registry
//= type=test
//# What no source lists MUST NOT be taken for allowed.
#[test]
fn what_nobody_lists_is_not_allowed() {
    for profile in Profile::ALL {
        for kind in Kind::ALL {
            let verdict = Registry::built_in().verdict(kind, "rot13", profile, day(2026));
            assert_eq!(verdict.standing, Standing::NotListed);
            assert!(!verdict.is_allowed() && verdict.to_string().contains("not listed"));
        }
    }
    assert_eq!(standing(Kind::Group, "X25519MLKEM768", Profile::Acm, 2026), Standing::NotListed);
    assert_eq!(standing(Kind::Group, "x25519", Profile::Bsi, 2026), Standing::NotListed);
}

#[test]
fn statements_begin_and_end() {
    let group = |profile, year| standing(Kind::Group, "secp256r1", profile, year);
    assert_eq!(group(Profile::Bsi, 2031), Standing::Legacy);
    assert_eq!(group(Profile::Bsi, 2032), Standing::Ended);
    assert_eq!(group(Profile::Nist, 2035), Standing::Acceptable);
    assert_eq!(group(Profile::Nist, 2036), Standing::Disallowed);
    let registry = Registry::built_in();
    let (end, verdict) =
        registry.first_refusal(Kind::Group, "secp256r1", Profile::Bsi, day(2026)).unwrap();
    assert_eq!((end, verdict.standing), (Day::new(2032, 1, 1).unwrap(), Standing::Ended));
    let hybrid = registry.first_refusal(Kind::Group, "SecP256r1MLKEM768", Profile::Bsi, day(2026));
    assert_eq!(hybrid, None);
}

//= specs/house.md#house-registry
//= type=test
//# A statement that was not read in its source MUST say so wherever it is shown.
#[test]
fn a_statement_shows_how_well_it_is_known() {
    let registry = Registry::built_in();
    let told = |kind, id, profile| registry.verdict(kind, id, profile, day(2026)).to_string();
    let memory = told(Kind::Group, "secp256r1", Profile::Acm);
    assert!(memory.contains("ECCG") && memory.contains("from memory"), "{memory}");
    let secondary = told(Kind::Group, "secp256r1", Profile::Bsi);
    assert!(
        secondary.contains("legacy until 2031-12-31") && secondary.contains("secondary source")
    );
    let draft = told(Kind::Group, "secp256r1", Profile::IetfIot);
    assert!(draft.contains("(draft; verified; required)"), "{draft}");
    for (kind, entry) in registry.entries() {
        for profile in Profile::ALL {
            let verdict = registry.verdict(kind, &entry.id, profile, day(2026));
            if let Some(provenance) = verdict.provenance() {
                assert!(verdict.to_string().contains(provenance.as_str()), "{verdict}");
            }
        }
    }
}

#[test]
fn each_fault_of_a_file_is_named() {
    let entry = |text: &str| {
        let text = format!("[[entry]]\nid = \"x\"\n{text}");
        Registry::parse(Files { entries: &[(Kind::Hash, &text)], ..BUILT_IN })
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(entry("statements = []\n"), Ok(()));
    let of = |statement: &str| entry(&format!("statements = [{{ {statement} }}]\n"));
    for (statement, says) in [
        ("source = \"NOBODY\", status = \"acceptable\", provenance = \"memory\"", "NOBODY"),
        ("source = \"ACM2\", status = \"fine\", provenance = \"memory\"", "fine"),
        ("source = \"ACM2\", status = \"acceptable\", provenance = \"hearsay\"", "hearsay"),
        ("source = \"ACM2\", status = \"acceptable\"", "provenance"),
        ("source = \"ACM2\", status = \"legacy\", provenance = \"memory\"", "legacy needs"),
        (
            "source = \"ACM2\", status = \"acceptable\", from = \"2030-01-01\", until = \"2029-01-01\", provenance = \"memory\"",
            "before it begins",
        ),
    ] {
        let error = of(statement).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(entry("statements = []\nparts = [\"y\"]\n").unwrap_err().contains("part y"));
    let twice = "statements = []\n[[entry]]\nid = \"x\"\nstatements = []\n";
    assert!(entry(twice).unwrap_err().contains("x stands twice"));
    let profiles = BUILT_IN.profiles.replace("[profiles.bsi]", "[profiles.iso]");
    assert!(Registry::parse(Files { profiles: &profiles, ..BUILT_IN }).is_err());
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Recommended,
        Status::Acceptable,
        Status::Legacy,
        Status::NotListed,
        Status::Deprecated,
        Status::Disallowed,
    ])
}

fn statement() -> impl Strategy<Value = Statement> {
    let year = || prop::option::of(2020u16..2040);
    let source = prop::sample::select(vec!["ACM2", "TS119312", "BCP195", "BSI-1", "house"]);
    (source, status(), year(), year(), 0..3usize).prop_map(|(source, status, from, until, mark)| {
        Statement {
            source: source.to_owned(),
            edition: None,
            status,
            from: from.and_then(|year| Day::new(year, 1, 1)),
            until: until.and_then(Day::end_of),
            condition: Some("always".to_owned()),
            provenance: [Provenance::Verified, Provenance::Secondary, Provenance::Memory][mark],
            note: None,
        }
    })
}

/// The rule anew, year by year and without the code above: of each source whatever holds in the year; if nothing holds, the
/// statement that ended last; of all that, the worst.
fn model(statements: &[Statement], sources: &[String], year: u16) -> Standing {
    let mut worst = None;
    for source in sources {
        let mut holds = Vec::new();
        let mut past: Option<(u16, Standing)> = None;
        for statement in statements.iter().filter(|statement| statement.source == *source) {
            let from = statement.from.map_or(0, Day::year);
            let until = statement.until.map_or(u16::MAX, Day::year);
            if from <= year && year <= until {
                holds.push(Standing::from(statement.status));
            } else if from <= year && past.is_none_or(|(end, _)| end <= until) {
                let refused = statement.status == Status::Disallowed;
                let was = if refused { Standing::Disallowed } else { Standing::Ended };
                past = Some((until, was));
            }
        }
        if holds.is_empty() {
            holds.extend(past.map(|(_, was)| was));
        }
        worst = worst.max(holds.into_iter().max());
    }
    worst.unwrap_or(Standing::NotListed)
}

proptest! {
    //= specs/house.md#house-registry
    //= type=test
    //# A verdict on an item MUST be the worst statement among the profile's sources in force on the day.
    #[test]
    fn a_verdict_is_the_worst_statement_in_force(
        statements in prop::collection::vec(statement(), 0..6),
        year in 2018u16..2042,
    ) {
        let mut registry = Registry::built_in().clone();
        let entry = Entry { statements: statements.clone(), ..registry.entry(Kind::Hash, "SHA-256").unwrap().clone() };
        registry.entries.insert((Kind::Hash, "x".to_owned()), entry);
        for profile in [Profile::Acm, Profile::Bsi] {
            let sources = registry.profile(profile).sources.clone();
            let verdict = registry.verdict(Kind::Hash, "x", profile, day(year));
            prop_assert_eq!(verdict.standing, model(&statements, &sources, year));
            prop_assert!(verdict.said.iter().all(|said| said.standing <= verdict.standing));
            if verdict.standing == Standing::NotListed {
                prop_assert!(!verdict.is_allowed());
            }
            // The first refusal is the first year that the model refuses, and every year before is allowed.
            let refusal = registry.first_refusal(Kind::Hash, "x", profile, day(year));
            let first = (year..2045).find(|year| !model(&statements, &sources, *year).is_allowed());
            prop_assert_eq!(refusal.map(|(day, _)| day.year()), first);
        }
    }
}
