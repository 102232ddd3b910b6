//! `demo`, as a newcomer runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Running, program};

/// Generous: what is promised is 60 s on two cores in a release build.
const DEMO_WITHIN: Duration = Duration::from_secs(180);

/// The test cases of TS 103 701 for clause 5.5.
const CASES: [&str; 14] = [
    "5.5-1-1", "5.5-1-2", "5.5-2-1", "5.5-2-2", "5.5-3-1", "5.5-4-1", "5.5-4-2", "5.5-5-1",
    "5.5-5-2", "5.5-6-1", "5.5-6-2", "5.5-7-1", "5.5-7-2", "5.5-8-1",
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { all.push(path) }
        }
    }
    all
}

#[test]
fn every_step_holds_and_every_case_has_a_verdict() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("demo");
    let began = Instant::now();
    let mut demo = program(["demo", "--json", "--data", data.to_str().unwrap()]);
    let demo = Running::start(&mut demo);
    let ended = demo.end_within(DEMO_WITHIN).expect("the demo ends");
    let ended = ended.without_panic().with_code(0);
    println!("the demo took {} ms", began.elapsed().as_millis());

    let last = ended.stdout.lines().last().expect("a last line");
    let report: serde_json::Value = serde_json::from_str(last).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 9, "{report}");
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["name"].is_string() && step["millis"].is_u64(), "{step}");
    }
    let verdicts: BTreeMap<String, String> =
        serde_json::from_value(report["verdicts"].clone()).unwrap();
    for case in CASES {
        let verdict =
            verdicts.get(case).unwrap_or_else(|| panic!("no verdict for {case}: {verdicts:?}"));
        assert!(
            matches!(verdict.as_str(), "PASS" | "FAIL" | "INCONCLUSIVE" | "NOT APPLICABLE"),
            "{case}: {verdict}"
        );
    }
    let html = PathBuf::from(report["report"].as_str().unwrap());
    assert!(html.is_file(), "{}", html.display());
    let json = files(html.parent().unwrap())
        .into_iter()
        .find(|file| file.extension().is_some_and(|e| e == "json"));
    serde_json::from_slice::<serde_json::Value>(&fs::read(json.expect("the JSON report")).unwrap())
        .unwrap();
    assert_eq!(
        fs::canonicalize(report["data"].as_str().unwrap()).unwrap(),
        fs::canonicalize(&data).unwrap()
    );

    no_secret_in_the_logs(&data, &format!("{}{}", ended.stdout, ended.stderr));
}

//= specs/house.md#house-shell
//= type=test
//# A log MUST NOT contain payloads or secrets.
fn no_secret_in_the_logs(data: &Path, _said: &str) {
    let all = files(data);
    // The label is the one place where the code stands.
    let labels: Vec<_> = all
        .iter()
        .filter(|file| fs::read_to_string(file).is_ok_and(|text| text.starts_with("CS1:")))
        .collect();
    assert!(!labels.is_empty(), "the demo keeps the label of its device: {all:?}");
    let mut secrets = Vec::new();
    for label in &labels {
        let text = fs::read_to_string(label).unwrap();
        let mut lines = text.lines();
        secrets.push(lines.next().unwrap().split(':').nth(2).unwrap().to_owned());
        secrets.extend(lines.next().map(str::to_owned));
    }
    for file in &all {
        if labels.contains(&file) || file.extension().is_some_and(|ending| ending == "svg") {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{} holds the setup code", file.display());
        }
    }
}
