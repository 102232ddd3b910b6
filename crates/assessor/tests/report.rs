//! The report's forms, on given facts.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bundle, declaration, good_facts};
use countersign_assessor::{Report, TEST_CASES};

fn report() -> Report {
    let declared = declaration();
    let facts = good_facts(&declared);
    Report::of(&bundle(declared, facts))
}

#[test]
fn the_json_form_is_stable() {
    let mut value: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
    // The cases are looked at one by one elsewhere; here two stand for all.
    let cases = value["cases"].as_array_mut().unwrap();
    cases.retain(|case| case["id"] == "5.5-5-2" || case["id"] == "5.5-2-1");
    insta::assert_json_snapshot!(value);
}

#[test]
fn the_page_is_self_contained_and_safe() {
    let mut declared = declaration();
    declared.dut.model = "<script>alert(1)</script>".into();
    let facts = good_facts(&declared);
    let page = Report::of(&bundle(declared, facts)).to_html();
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    for outside in ["http://", "https://", "src=", "style=\"", "onclick", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for case in TEST_CASES {
        assert!(page.contains(&format!("id=\"tc-{}\"", case.id)));
    }
}

#[test]
fn the_table_fits_a_terminal() {
    for width in [60, 80, 120] {
        let table = report().to_text(width);
        assert!(table.lines().skip(2).all(|line| line.chars().count() <= width + 1), "{table}");
        for case in TEST_CASES {
            assert!(table.contains(case.id));
        }
    }
}
