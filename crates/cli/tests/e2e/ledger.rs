//! The ledger's commands: what a stranger finds with files alone, what a witness signs, what leaves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Authority, Finished, countersign};

/// A ledger with something in it, and where its parts go.
struct Kept {
    authority: Authority,
}

impl Kept {
    fn new() -> Self {
        let authority = Authority::new();
        authority.device("plug-000001");
        Self { authority }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.authority.folder().join(name)
    }

    fn log(&self) -> PathBuf {
        self.authority.data().join("authority/ledger.log")
    }

    fn key(&self) -> PathBuf {
        self.authority.data().join("authority/ledger/key")
    }

    /// `authority ledger COMMAND --data DATA ARGUMENTS…`
    fn ledger(&self, command: &str, arguments: &[&str]) -> Finished {
        countersign(self.authority.command(&["ledger", command], arguments))
    }

    fn checkpoint(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        self.ledger("checkpoint", &["--out", text(&path)]).with_code(0);
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `authority ledger ARGUMENTS…`, without a data folder.
fn stranger(arguments: &[&str]) -> Finished {
    countersign(["authority", "ledger"].iter().chain(arguments))
}

fn json(finished: Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap()
}

fn flip(path: &Path, from: &str, to: &str) -> Vec<u8> {
    let good = fs::read(path).unwrap();
    let bad = String::from_utf8(good.clone()).unwrap().replacen(from, to, 1);
    assert_ne!(bad.as_bytes(), good, "{from} is in {}", path.display());
    fs::write(path, bad).unwrap();
    good
}

/// In the data folder: a flipped bit, a missing, a moved entry and a cut end, each named; and the folder is left as it is.
//= specs/house.md#house-ledger
//= type=test
//# A changed, removed or reordered entry MUST be found by verification.
//= specs/house.md#house-ledger
//= type=test
//# Entries that are missing at the end MUST be found against a checkpoint.
#[test]
fn what_is_wrong_in_a_data_folder_is_found_and_named() {
    let kept = Kept::new();
    let found = json(kept.ledger("verify", &["--json"]).with_code(0));
    let entries = found["entries"].as_u64().unwrap();
    assert_eq!((&found["ok"], found["checkpoint_entries"].as_u64()), (&true.into(), Some(entries)));
    let good = fs::read_to_string(kept.log()).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let missing = [&lines[..6], &lines[7..]].concat();
    let moved = [&lines[..6], &[lines[7], lines[6]], &lines[8..]].concat();
    let last = lines.len() - 1;
    for (case, lines, expected) in [
        ("missing", missing, "line 7 ".to_owned()),
        ("moved", moved, "line 7 ".to_owned()),
        ("cut", lines[..last].to_vec(), format!("lines {} to {0} were cut off", last + 1)),
    ] {
        let bad = lines.join("\n") + "\n";
        fs::write(kept.log(), &bad).unwrap();
        kept.ledger("verify", &[]).with_code(1).saying(&expected).saying("ledger.log");
        let said = json(kept.ledger("verify", &["--json"]).with_code(1));
        assert!(said["error"].as_str().unwrap().contains(&expected), "{case}: {said}");
        assert_eq!(
            fs::read_to_string(kept.log()).unwrap(),
            bad,
            "{case}: verifying writes nothing"
        );
    }
    fs::write(kept.log(), &good).unwrap();
    flip(&kept.log(), "plug-000001", "plug-000002");
    kept.ledger("verify", &[]).with_code(1).saying("was changed");
    // Nothing is appended behind any of it.
    let refused = kept.authority.enrol_command(&["--profile", "device", "--name", "plug-000009"]);
    countersign(refused).with_code(2).saying("ledger.log").saying("restore");
}

/// With exported files, a public key, and nothing else.
//= specs/house.md#house-ledger
//= type=test
//# A ledger that is not the one that a checkpoint was signed for MUST be found by verification.
#[test]
fn a_stranger_verifies_exports() {
    let kept = Kept::new();
    let old = kept.checkpoint("old.checkpoint");
    let (lines, tiles) = (kept.file("ledger.jsonl"), kept.file("tiles"));
    kept.authority.device("plug-000002");
    kept.ledger("export", &["--jsonl", text(&lines)]).with_code(0);
    kept.ledger("export", &["--tiles", text(&tiles)]).with_code(0);
    // The data folder is of no use any more.
    fs::remove_dir_all(kept.authority.data()).unwrap();
    let (signed, key) = (lines.with_extension("checkpoint"), lines.with_extension("key"));
    let of_lines = [
        "verify",
        "--jsonl",
        text(&lines),
        "--checkpoint",
        text(&signed),
        "--ledger-key",
        text(&key),
    ];
    let older = ["--older", text(&old), "--json"];
    let found = json(stranger(&[&of_lines[..], &older].concat()).with_code(0));
    assert_eq!(found["checkpoint_entries"], found["entries"]);
    // As the option was called before.
    let of_tiles = ["verify", "--tiles", text(&tiles), "--key", text(&key)];
    let found = json(stranger(&[&of_tiles[..], &older].concat()).with_code(0));
    // Each export is an entry, and the later one has both.
    let entries = found["entries"].as_u64().unwrap();
    let bundle = tiles.join(format!("tile/entries/000.p/{entries}"));
    let text_of = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    assert_eq!(text_of(&bundle).matches("\"exported\"").count(), 5, "three keys, two exports");

    let good = flip(&lines, "plug-000002", "plug-000003");
    stranger(&of_lines).with_code(1).saying("was changed").saying("ledger.jsonl");
    fs::write(&lines, good).unwrap();
    let good = fs::read(&bundle).unwrap();
    let mut bad = good.clone();
    let place = bad.windows(11).position(|part| part == b"plug-000001").unwrap();
    bad[place + 10] ^= 1;
    fs::write(&bundle, bad).unwrap();
    stranger(&of_tiles)
        .with_code(1)
        .saying("entry")
        .saying("was changed")
        .saying("tile/entries/000");
    fs::write(&bundle, good).unwrap();
    // A checkpoint that another ledger signed, and one whose size was changed.
    let other = Kept::new();
    let foreign = other.checkpoint("foreign.checkpoint");
    stranger(&[&of_tiles[..], &["--older", text(&foreign)]].concat())
        .with_code(1)
        .saying("of the log");
    flip(&old, "\n", "0\n");
    stranger(&[&of_tiles[..], &["--older", text(&old)]].concat()).with_code(1).saying("checkpoint");
    // What is not there, and what is missing on the command line.
    stranger(&["verify", "--tiles", "nowhere", "--ledger-key", text(&key)])
        .with_code(2)
        .saying("nowhere");
    stranger(&["verify", "--jsonl", text(&lines)]).with_code(2).saying("--checkpoint");
}

/// Another history under the same key: what somebody who stole it could sign.
#[test]
fn an_older_checkpoint_of_another_history_is_found() {
    let kept = Kept::new();
    let backup = kept.file("backup");
    let copied = std::process::Command::new("cp")
        .args(["-a", text(&kept.authority.data()), text(&backup)])
        .status();
    assert!(copied.unwrap().success());
    kept.authority.device("plug-000002");
    let one = kept.checkpoint("one.checkpoint");
    fs::remove_dir_all(kept.authority.data()).unwrap();
    fs::rename(&backup, kept.authority.data()).unwrap();
    kept.authority.device("plug-000003");
    kept.authority.device("plug-000004");
    kept.ledger("verify", &[]).with_code(0);
    kept.ledger("verify", &["--older", text(&one)]).with_code(1).saying("forged");
    let proof = ["prove", "--consistency", text(&one)];
    kept.ledger(proof[0], &proof[1..]).with_code(1);
}

//= specs/house.md#house-ledger
//= type=test
//# A stranger who holds a checkpoint and the ledger's public key MUST be able to verify a proof without the ledger.
#[test]
fn proofs_hold_for_whoever_has_a_checkpoint_and_a_key() {
    let kept = Kept::new();
    let (held, key) = (kept.checkpoint("held.checkpoint"), kept.file("ledger.key"));
    fs::copy(kept.key(), &key).unwrap();
    kept.authority.device("plug-000002");
    let (proof, later, growth) = (kept.file("proof"), kept.file("later"), kept.file("growth"));
    let arguments = ["--entry", "5", "--checkpoint", text(&held), "--out", text(&proof)];
    kept.ledger("prove", &arguments).with_code(0);
    kept.ledger("prove", &["--entry", "5", "--out", text(&later)]).with_code(0);
    kept.ledger("prove", &["--consistency", text(&held), "--out", text(&growth)]).with_code(0);
    kept.ledger("prove", &["--entry", "5000"]).with_code(2).saying("--entry").saying("5000");
    let lines = fs::read_to_string(kept.log()).unwrap();
    let entry: Value = serde_json::from_str(lines.lines().nth(5).unwrap()).unwrap();
    fs::remove_dir_all(kept.authority.data()).unwrap();

    let key_text = fs::read_to_string(&key).unwrap();
    for key in [text(&key), key_text.trim_end()] {
        let check = ["check-proof", text(&proof), "--checkpoint", text(&held), "--ledger-key", key];
        let said = json(stranger(&[&check[..], &["--json"]].concat()).with_code(0));
        assert_eq!(said["entry"]["body"], entry["body"]);
    }
    stranger(&["check-proof", text(&later), "--ledger-key", text(&key)])
        .with_code(0)
        .saying("entry 5");
    let held_by = ["--checkpoint", text(&held), "--ledger-key", text(&key)];
    let check = |proof: &Path| stranger(&[&["check-proof", text(proof)], &held_by[..]].concat());
    check(&growth).with_code(0).saying("continues");
    stranger(&["check-proof", text(&growth), "--ledger-key", text(&key)])
        .with_code(2)
        .saying("add --checkpoint FILE");
    // Against another tree than its own a proof is worth nothing, and says what would be.
    check(&later).with_code(1).saying("ledger prove --entry 5");
    for (path, from, to) in [(&proof, "index 5", "index 6"), (&growth, "old ", "old 1")] {
        let good = flip(path, from, to);
        check(path).with_code(1);
        fs::write(path, good).unwrap();
    }
    flip(&proof, "extra e", "extra f");
    check(&proof).with_code(1);
}

//= specs/house.md#house-ledger
//= type=test
//# A checkpoint with fewer cosignatures than the verifier's quorum MUST NOT be accepted.
//= specs/house.md#house-ledger
//= type=test
//# A witness MUST NOT cosign a checkpoint that did not grow out of the last one it saw.
#[test]
fn witnesses_cosign_what_grew_and_verifiers_ask_for_a_quorum() {
    let kept = Kept::new();
    let (w1, w2) = (kept.file("w1.key"), kept.file("w2.key"));
    for (name, path) in [("witness.example/w1", &w1), ("witness.example/w2", &w2)] {
        stranger(&["witness-key", "--name", name, "--out", text(path)]).with_code(0);
        stranger(&["witness-key", "--name", name, "--out", text(path)]).with_code(2);
    }
    let public = |key: &Path| key.with_extension("pub");
    let witness = |key: &Path, checkpoint: &Path, out: &Path| {
        let (log, state) = (kept.key(), key.with_extension("state"));
        stranger(&[
            "witness",
            "--key",
            text(key),
            // As it was called before.
            "--log-key",
            text(&log),
            "--state",
            text(&state),
            "--checkpoint",
            text(checkpoint),
            "--out",
            text(out),
        ])
    };
    let (first, cosigned) = (kept.checkpoint("first"), kept.file("cosigned"));
    witness(&w1, &first, &cosigned).with_code(0);
    let take = |cosigned: &Path, by: &Path| {
        let by = public(by);
        let arguments = ["--add-cosignature", text(cosigned), "--witness", text(&by)];
        kept.ledger("checkpoint", &arguments)
    };
    take(&cosigned, &w2).with_code(1).saying("not signed by any of these witnesses");
    take(&cosigned, &w1).with_code(0).saying("witness.example/w1");
    let both = [public(&w1), public(&w2)];
    let ask = |quorum: &str| {
        let who = ["--witness", text(&both[0]), "--witness", text(&both[1]), "--quorum", quorum];
        kept.ledger("verify", &who)
    };
    ask("1").with_code(0).saying("cosigned by witness.example/w1");
    ask("2").with_code(1).saying("1 of 2 witnesses");
    ask("3").with_code(2).saying("--quorum");
    // The second witness cosigns the same checkpoint: both are kept together.
    witness(&w2, &first, &cosigned).with_code(0);
    take(&cosigned, &w2).with_code(0);
    ask("2").with_code(0);

    // Later: not without the proof from what was seen last.
    let seen = json(kept.ledger("verify", &["--json"]).with_code(0));
    let size = seen["cosigned_entries"].as_u64().unwrap().to_string();
    kept.authority.device("plug-000002");
    let second = kept.checkpoint("second");
    witness(&w1, &second, &cosigned).with_code(1).saying(&format!("--consistency {size}"));
    let growth = kept.file("growth");
    kept.ledger("prove", &["--consistency", &size, "--out", text(&growth)]).with_code(0);
    witness(&w1, &growth, &cosigned).with_code(0);
    // An older one never again, and what was taken over is not lost by it.
    witness(&w1, &first, &cosigned).with_code(1).saying("taken away");
    let state = w1.with_extension("state");
    fs::write(&state, "nonsense").unwrap();
    witness(&w1, &growth, &cosigned).with_code(2).saying("w1.state");
    ask("2").with_code(0);
}
