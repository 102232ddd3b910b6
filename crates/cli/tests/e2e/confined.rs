//! Programs behind the gate that were taken over: each attempt is refused, and the agent goes on and answers its owner.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Product, as_root, countersign, path_text, program, until};

const NOT_PERMITTED: &str = "Operation not permitted";
const DENIED: &str = "Permission denied";

/// Attempts, and how the program sees them end.
const ATTEMPTS: &[(&str, &str)] = &[
    ("work", "done"),
    ("keys", DENIED),
    ("folder", DENIED),
    ("memory of the agent", DENIED),
    ("environment of the agent", DENIED),
    ("tcp", NOT_PERMITTED),
    ("udp", NOT_PERMITTED),
    ("raw", NOT_PERMITTED),
    ("packet", NOT_PERMITTED),
    ("netlink", NOT_PERMITTED),
    ("unix", NOT_PERMITTED),
    ("ptrace", NOT_PERMITTED),
    ("kill", NOT_PERMITTED),
    ("limits of the agent", NOT_PERMITTED),
    ("limits of its own", NOT_PERMITTED),
    ("setsid", NOT_PERMITTED),
    ("namespace", NOT_PERMITTED),
    ("mount", NOT_PERMITTED),
    ("write beside", DENIED),
    ("write to /tmp", DENIED),
    ("big file", "File too large"),
    ("fill memory", "no memory"),
    ("many files", "Too many open files"),
    ("environment", "PATH"),
    ("descriptors", "none"),
];

/// Attempts that only their end ends.
const ENDLESS: [&str; 2] = ["bomb", "spin"];

fn thing() -> String {
    let action = json!({ "output": { "type": "string" }, "countersign:role": "member" });
    let count = ATTEMPTS.len() + ENDLESS.len();
    let mut actions: serde_json::Map<String, Value> =
        (0..count).map(|index| (format!("attempt{index}"), action.clone())).collect();
    for name in ["orphan", "connect", "raw"] {
        actions.insert(name.to_owned(), action.clone());
    }
    let value = json!({ "type": "number", "countersign:role": "viewer", "readOnly": true });
    json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1", { "countersign": "urn:countersign:td#" }],
        "title": "Victim",
        "securityDefinitions": { "home": { "scheme": "auto" } },
        "security": ["home"],
        "properties": { "level": value },
        "actions": actions,
    })
    .to_string()
}

fn bindings(folder: &Path, port: u16) -> String {
    fs::create_dir_all(folder.join("allowed")).unwrap();
    fs::write(folder.join("level"), "7\n").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/attack.py");
    fs::copy(script, folder.join("attack.py")).unwrap();
    let data = folder.parent().unwrap().join("factory/plug-000001/device");
    assert!(data.join("seal.key").is_file(), "what is to be protected is there");
    let attack = |attempt: &str, more: &str| {
        let (folder, data) = (path_text(folder), path_text(&data));
        format!(
            "{{ command = [\"/usr/bin/python3\", \"{folder}/attack.py\", \"{data}\", \"{folder}\", \"{port}\", \
             \"{attempt}\"]{more} }}\n"
        )
    };
    let mut text = "[limits]\ntime_ms = 8000\n[sandbox]\nread = [\"attack.py\"]\nwrite = [\"allowed\"]\nfile_mb = 1\n\
                    [properties.level]\nread = { file = \"level\", format = \"number\" }\n[actions]\n"
        .to_owned();
    let every = ATTEMPTS.iter().map(|(attempt, _)| *attempt).chain(ENDLESS);
    for (index, attempt) in every.enumerate() {
        text += &format!("attempt{index} = {}", attack(attempt, ""));
    }
    text += &format!("orphan = {}", attack("orphan", ""));
    text += &format!("connect = {}", attack("tcp", ", network = true"));
    text += &format!("raw = {}", attack("raw", ", network = true"));
    text
}

//= specs/house.md#house-sandbox
//= type=test
//# A program that the device starts MUST be confined before its first instruction.
//= specs/house.md#house-sandbox
//= type=test
//# A program that the device starts MUST NOT be able to read the device's data folder.
//= specs/house.md#house-sandbox
//= type=test
//# A program that the device starts MUST NOT open a network socket unless its binding allows it.
//= specs/house.md#house-sandbox
//= type=test
//# A program that the device starts MUST end with all that it has started when its call ends.
//= specs/house.md#house-bindings
//= type=test
//# Each call of the product MUST be bounded in time, in size and in number.
#[test]
fn a_program_that_was_taken_over_gets_nowhere() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let product = Product::start(&thing(), |folder| bindings(folder, port));
    let invoke = |name: &str| product.control("invoke", &[name]);
    let level = || product.control("get", &["level"]).with_code(0).stdout.trim().to_owned();
    for (index, (attempt, expected)) in ATTEMPTS.iter().enumerate() {
        let ended = invoke(&format!("attempt{index}")).with_code(0);
        let told = ended.stdout.trim().trim_matches('"');
        assert_eq!(told, *expected, "{attempt}: {ended}\n{}", product.said());
    }
    for (index, _) in ENDLESS.iter().enumerate() {
        invoke(&format!("attempt{}", ATTEMPTS.len() + index)).with_code(1).saying("could not");
        assert_eq!(level(), "7");
    }
    until("nothing of the bomb is left", || (children(product.id()) == 0).then_some(()));

    // What the program leaves behind ends with it.
    let ended = invoke("orphan").with_code(0);
    let orphan = ended.stdout.trim().trim_matches('"').to_owned();
    assert!(orphan.parse::<u32>().is_ok(), "{ended}");
    until("the orphan is gone", || {
        let status = fs::read_to_string(format!("/proc/{orphan}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("Z (zombie)")).then_some(())
    });

    // Leave to use the network is leave to use that, and no raw sockets.
    let ended = invoke("connect").with_code(0);
    assert!(ended.stdout.contains("it worked"), "{ended}");
    let ended = invoke("raw").with_code(0);
    assert!(ended.stdout.contains(NOT_PERMITTED), "{ended}");
    assert_eq!(level(), "7");
    assert!(
        !product.folder().join("note").exists() && product.folder().join("allowed/note").exists()
    );
}

/// Processes in the groups of programs below a process.
fn children(parent: u32) -> usize {
    let parent = parent.to_string();
    let stats = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let below = stats.filter(|stat| {
        let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
        rest.split_whitespace().nth(1) == Some(&parent)
    });
    below.count()
}

//= specs/house.md#house-sandbox
//= type=test
//# Where the kernel cannot confine a program wholly, the device MUST refuse to start it unless its configuration accepts less.
#[test]
fn where_the_kernel_cannot_confine_nothing_starts_unless_less_is_accepted() {
    // The kernel takes sixteen layers of landlock; below them it cannot confine any more.
    // Of processes, the outermost has the least, so that root, confined already, has no limit to set.
    let profile = |level: &str, processes: u32| {
        let read = ["/proc", env!("CARGO_BIN_EXE_countersign")];
        let sandbox = json!({ "level": level, "read": read, "processes": processes });
        json!({ "sandbox": sandbox, "own": [], "parent": 0 }).to_string()
    };
    let nested = |last: &str| {
        let mut command = program(["device", "confined", &profile("full", 1), "--"]);
        for level in 1..17 {
            command.arg(env!("CARGO_BIN_EXE_countersign")).args(["device", "confined"]);
            command.arg(profile(if level == 16 { last } else { "full" }, 1024)).arg("--");
        }
        command.args(["/bin/echo", "started"]);
        crate::support::Running::start(&mut command).finish()
    };
    let refused = nested("full").with_code(125);
    assert!(refused.stderr.contains("cannot confine programs"), "{refused}");
    assert!(refused.stderr.contains("best-effort") && refused.stdout.is_empty(), "{refused}");
    let started = nested("best-effort").with_code(0);
    assert_eq!(started.stdout, "started\n");
}

//= specs/house.md#house-sandbox
//= type=test
//# An agent with a product behind it MUST refuse to run as root unless its configuration says so.
#[test]
fn root_is_refused_by_name() {
    let command =
        ["device", "run", "--data", "/nowhere", "--thing", "x.td.json", "--bindings", "x.toml"];
    let ended = countersign(command).with_code(2);
    let refused = ended.stderr.contains("runs as root") && ended.stderr.contains("--allow-root");
    assert_eq!(refused, as_root().is_some(), "{ended}");
}

#[test]
fn a_data_folder_that_a_program_could_read_is_refused() {
    let product = Product::start(&thing(), |folder| bindings(folder, 1));
    let file = product.folder().join("bindings.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"attack.py\"", "\"../factory\"", 1)).unwrap();
    let mut command = Product::command(&product.authority, &product.device);
    let ended = crate::support::Running::start(&mut command).finish().with_code(2);
    assert!(ended.stderr.contains("would show the device's keys"), "{ended}");
    product.check().with_code(0);
}
