//! `demo`, as a newcomer runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Running, countersign_fails, need, openssl, program, until};

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
    assert_eq!(steps.len(), 10, "{report}");
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["name"].is_string() && step["millis"].is_u64(), "{step}");
    }
    let policy = &report["policy"];
    assert_eq!(
        [&policy["from"]["version"], &policy["to"]["version"], &policy["in_force"]],
        [1, 2, 3]
    );
    assert_ne!(policy["from"]["group"], policy["to"]["group"]);
    assert!(policy["to"]["group"].as_str().unwrap().contains("MLKEM"), "{policy}");
    let refused = policy["refused"].as_array().unwrap();
    assert!(refused[0].as_str().unwrap().contains("not newer than version 2"), "{policy}");
    assert!(refused[1].as_str().unwrap().starts_with("not-newer"), "{policy}");
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

    no_secret_in_the_files(&data);
    assert_eq!(processes_on(&data), Vec::<u32>::new(), "nothing of the demo runs on");
}

#[test]
fn what_is_kept_can_be_talked_to_as_it_says() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("demo");
    let kept = Kept(data.clone());
    let mut demo = program(["demo", "--keep", "--data", data.to_str().unwrap()]);
    let ended = Running::start(&mut demo).end_within(DEMO_WITHIN).expect("the demo ends");
    let said = ended.without_panic().with_code(0).stdout;
    let (_, rest) = said.split_once("ordinary clients:").expect("it says how to go on");

    let shell = |line: &str| {
        // Our own program is not on the path, and a subscription does not end by itself.
        let line = line.trim().replacen(
            "countersign ",
            concat!(env!("CARGO_BIN_EXE_countersign"), " "),
            1,
        );
        let line = line.replacen("mosquitto_sub ", "mosquitto_sub -C 1 -W 20 ", 1);
        let mut command = need("sh");
        command.args(["-c", &line]);
        Running::start(&mut command).finish().with_code(0)
    };
    let lines: Vec<_> = rest.lines().filter(|line| line.starts_with("  ")).collect();
    for client in ["mosquitto_sub", "mosquitto_pub", "curl", "countersign control get"] {
        let line = lines.iter().find(|line| line.trim().starts_with(client));
        let line = line.unwrap_or_else(|| panic!("no line for {client}: {rest}"));
        let heard = shell(line).stdout;
        assert!(client == "mosquitto_pub" || !heard.is_empty(), "{line}");
    }

    assert_eq!(processes_on(&kept.0).len(), 2, "authority with gateway, and the device");
    let (_, end) = rest.split_once("End it:").expect("it says how to end it");
    shell(end.lines().next().unwrap());
    until("the end of what was kept", || processes_on(&kept.0).is_empty().then_some(()));
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("demo");
    let kept = Kept(data.clone());
    let mut demo = program(["demo", "--data", data.to_str().unwrap()]);
    let demo = Running::start(&mut demo);
    // The demo itself, authority with gateway, and the device.
    until("three processes", || (processes_on(&kept.0).len() == 3).then_some(()));
    demo.kill();
    until("the end of its children", || processes_on(&kept.0).is_empty().then_some(()));
}

#[test]
fn a_folder_that_is_in_use_is_not_touched() {
    let folder = tempfile::TempDir::new().unwrap();
    fs::write(folder.path().join("mine"), "mine").unwrap();
    let place = folder.path().to_str().unwrap();
    countersign_fails(2, ["demo", "--data", place]).saying(place);
    assert_eq!(files(folder.path()).len(), 1);
}

/// Ends what a demo left running, whatever becomes of the test.
struct Kept(PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        for process in processes_on(&self.0) {
            let _ = std::process::Command::new("kill").args(["-9", &process.to_string()]).status();
        }
    }
}

/// The processes whose command line names this folder and that have not ended.
fn processes_on(folder: &Path) -> Vec<u32> {
    let name = folder.to_str().unwrap();
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        entry.unwrap().file_name().to_str().and_then(|name| name.parse::<u32>().ok())
    });
    numbers
        .filter(|number| {
            // A process that has ended has no command line.
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(name)
        })
        .collect()
}

//= specs/house.md#house-shell
//= type=test
//# A log MUST NOT contain payloads or secrets.
fn no_secret_in_the_files(data: &Path) {
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
    // In every usual encoding.
    let bare = secrets[0].clone();
    secrets.push(bare.bytes().map(|byte| format!("{byte:02x}")).collect());
    secrets.push(openssl(&["base64", "-A"], bare.as_bytes()).trim_end_matches('=').to_owned());
    secrets.push(bare.to_lowercase());
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
