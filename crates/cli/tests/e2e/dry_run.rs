//! What a policy would do to a fleet that is there: our own device, and clients whose OpenSSL knows no hybrid group.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::devices::paired;
use crate::support::{Authority, Client, Finished, Version, countersign, until};

const HYBRIDS: &str =
    r#"groups = ["SecP256r1MLKEM768", { name = "X25519MLKEM768", because = "a test" }]"#;

/// The built-in policy as version 2, its lists of groups as given.
fn policy(folder: &Path, name: &str, groups: &str) -> PathBuf {
    let shown = countersign(["policy", "show"]).with_code(0).stdout;
    let text: String = shown
        .lines()
        .map(|line| match line {
            _ if line.starts_with("groups = ") => format!("{groups}\n"),
            _ if line.starts_with("version = ") => "version = 2\n".to_owned(),
            other => format!("{other}\n"),
        })
        .collect();
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file
}

fn dry_run(authority: &Authority, policy: &Path, more: &[&str]) -> Finished {
    let (data, policy) = (authority.data(), policy.to_str().unwrap());
    let command = ["policy", "dry-run", policy, "--data", data.to_str().unwrap()];
    countersign(command.iter().chain(more))
}

fn verdict<'a>(report: &'a Value, subject: &str) -> &'a Value {
    let subjects = report["subjects"].as_array().unwrap();
    let found = subjects.iter().find(|one| one["subject"] == subject);
    found.unwrap_or_else(|| panic!("{subject} is not in {report}"))
}

//= specs/house.md#house-policy
//= type=test
//# What a policy would do to a fleet MUST be judged from what each subject was seen to offer, and
//# from what it negotiated only where no offer is known.
#[test]
fn a_hybrid_policy_would_strand_classical_clients_and_nobody_else() {
    let (mut house, _device, _home) = paired();
    let classical = house.device("plug-000009");
    let backend = house.service("backend", &["subscribe things/+/properties/#"]);
    house.device("plug-000042");
    let listener = Client::new(&house, &backend, Version::V5).subscribe(1, "things/+/properties/#");
    let topic = "things/plug-000009/properties/power";
    Client::new(&house, &classical, Version::V311).publish(1, topic, "42");
    listener.receives(topic, "42");

    let next = policy(house.folder(), "next.toml", HYBRIDS);
    let judge = |house: &Authority| -> Value {
        serde_json::from_str(&dry_run(house, &next, &["--json"]).stdout).unwrap()
    };
    // No client waits for its note to be written.
    let while_it_serves = until("everybody is noted", || {
        let report = judge(&house);
        (report["counts"]["never_seen"] == 1).then_some(report)
    });
    let serve = house.running();
    serve.terminate();
    serve.finish().with_code(0);
    let stopped = judge(&house);
    for report in [while_it_serves, stopped] {
        for subject in ["thing:plug-000009", "service:backend"] {
            let one = verdict(&report, subject);
            assert_eq!(one["verdict"], "stranded", "{one}");
            assert_eq!(
                (&one["why"][0]["kind"], &one["basis"]),
                (&"groups".into(), &"offered".into())
            );
            let offers = one["why"][0]["offers"].as_array().unwrap();
            assert!(offers.contains(&"secp256r1".into()), "{one}");
            assert_eq!(one["why"][0]["policy"][0], "SecP256r1MLKEM768");
        }
        let ours = verdict(&report, "thing:plug-000001");
        assert_eq!((&ours["verdict"], &ours["now"]), (&"unaffected".into(), &ours["then"]));
        assert_eq!(ours["certificate"]["key"], "ecdsa_secp256r1_sha256");
        assert_eq!(verdict(&report, "thing:plug-000042")["verdict"], "never-seen");
        let counts = &report["counts"];
        assert_eq!((&counts["devices"], &counts["services"]), (&3.into(), &1.into()), "{counts}");
    }
    dry_run(&house, &next, &[])
        .with_code(1)
        .saying("thing:plug-000009")
        .saying("the policy has SecP256r1MLKEM768")
        .saying("2 would be stranded");

    // The policy of now strands nobody; who was never seen matters only to the strict.
    let same = policy(
        house.folder(),
        "same.toml",
        r#"groups = ["SecP256r1MLKEM768", "secp256r1", { name = "x25519", because = "a test" }]"#,
    );
    dry_run(&house, &same, &[]).with_code(0).saying("thing:plug-000042");
    dry_run(&house, &same, &["--strict"]).with_code(1);
    // Long ago is not known.
    let ended = dry_run(&house, &next, &["--not-seen-for", "0s", "--json"]).with_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(verdict(&report, "service:backend")["verdict"], "not-seen");
    assert_eq!(report["counts"]["not_seen_stranded"], 2);

    let data = house.data();
    let seen = countersign(["gateway", "sessions", "--data", data.to_str().unwrap()]).with_code(0);
    seen.saying("thing:plug-000009").saying("service:backend");
    countersign(["gateway", "grants", "--data", data.to_str().unwrap()])
        .with_code(0)
        .saying("subscribe things/+/properties/#");
}

#[test]
fn what_cannot_be_judged_is_named() {
    let authority = Authority::new();
    let good = policy(authority.folder(), "good.toml", HYBRIDS);
    // Nobody was here yet.
    dry_run(&authority, &good, &[]).with_code(0).saying("0 devices");
    let unknown = policy(authority.folder(), "unknown.toml", r#"groups = ["secp112r1"]"#);
    dry_run(&authority, &unknown, &[]).with_code(1).saying("secp112r1").saying("unknown.toml");
    dry_run(&authority, &good, &["--not-seen-for", "soon"]).with_code(2).saying("30d");
    let nowhere = Authority::without_ceremony();
    dry_run(&nowhere, &good, &[]).with_code(2).saying("authority.db");
    fs::create_dir_all(authority.data().join("gateway")).unwrap();
    let damaged = authority.data().join("gateway/gateway.db");
    fs::write(&damaged, "no database, but long enough to be taken for one. ".repeat(40)).unwrap();
    dry_run(&authority, &good, &[]).with_code(2).saying("gateway.db");
}
