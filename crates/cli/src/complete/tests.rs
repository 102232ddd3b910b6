use super::*;
use crate::args::{AgentArguments, Arguments};
use clap::CommandFactory as _;
use countersign_controller::Home;
use serde_json::json;

/// A home with a paired plug, as files, and its folder.
fn home() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), "ada".parse().unwrap()).unwrap();
    let thing = json!({
        "thing": "plug-000001", "address": "127.0.0.1:9", "paired_at": 0, "description_sha256": "",
    });
    std::fs::write(folder.path().join("things/plug-000001.json"), thing.to_string()).unwrap();
    let plug = "plug-000001".parse().unwrap();
    home.saw_description(
        &plug,
        &json!({
            "properties": {
                "relay": { "title": "Relay", "type": "boolean" },
                "power": { "readOnly": true, "observable": true },
                "a;reboot": {},
            },
            "actions": { "toggle": {}, "$(reboot)": {} },
            "events": { "overload": {} },
        }),
    );
    home.saw_person(&plug, &"sam".parse().unwrap());
    let text = folder.path().to_str().unwrap().to_owned();
    (folder, text)
}

/// What bash is told for `countersign WORDS`, the last of which is being typed.
fn told(words: &[&str]) -> Vec<String> {
    let all = std::iter::once(&"countersign").chain(words).map(OsString::from).collect();
    let answer = answer("bash", Arguments::command(), all, None);
    let answer = String::from_utf8(answer).unwrap();
    answer.split(BETWEEN).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The same without options.
fn names(words: &[&str]) -> Vec<String> {
    told(words).into_iter().filter(|word| !word.starts_with('-')).collect()
}

#[test]
fn commands_and_options_complete() {
    assert_eq!(told(&["contr"]), ["control"]);
    assert_eq!(told(&["control", "unsh"]), ["unshare"]);
    assert_eq!(told(&["control", "get", "--th"]), ["--thing"]);
    assert!(told(&["completions", ""]).contains(&"fish".to_owned()));
}

#[test]
fn a_home_s_names_complete_where_they_fit() {
    let (_folder, home) = home();
    let at =
        |command: &'static str| ["control", command, "--home", &home, "--thing", "plug-000001"];
    let with = |command: &'static str, more: &[&str]| names(&[&at(command)[..], more].concat());
    assert_eq!(told(&["control", "get", "--home", &home, "--thing", "pl"]), ["plug-000001"]);
    assert_eq!(with("get", &[""]), ["power", "relay"]);
    assert_eq!(with("set", &[""]), ["relay"]);
    assert_eq!(with("set", &["relay", ""]), ["true", "false"]);
    assert_eq!(with("observe", &[""]), ["power"]);
    assert_eq!(with("observe", &["--event", ""]), ["overload"]);
    assert_eq!(with("invoke", &["t"]), ["toggle"]);
    assert_eq!(with("unshare", &["--person", ""]), ["ada", "sam"]);
    assert_eq!(with("role", &["--role", ""]), ["viewer", "member", "owner"]);
    assert_eq!(with("get", &["--as", ""]), ["ada"]);
    // Of another thing, of another home, and before either was said.
    let other = ["control", "get", "--home", &home, "--thing", "plug-000002", ""];
    assert!(names(&other).is_empty());
    assert!(names(&["control", "get", "--home", "/nowhere", "--thing", ""]).is_empty());
    assert!(names(&["control", "get", "--thing", ""]).is_empty());
}

#[test]
fn an_option_may_hold_its_value_and_quotes() {
    let (_folder, home) = home();
    // Bash makes three words of it, others one.
    assert_eq!(told(&["control", "get", "--home", "=", &home, "--thing", "="]), ["plug-000001"]);
    assert_eq!(told(&["control", "get", "--home", &home, "--thing", "=", "pl"]), ["plug-000001"]);
    let joined = format!("--home={home}");
    assert_eq!(told(&["control", "get", &joined, "--thing", ""]), ["plug-000001"]);
    for quoted in [format!("'{home}'"), format!("\"{home}\""), home.replace("tmp", "t\\mp")] {
        let words = ["control", "get", "--home", &quoted, "--thing", ""];
        assert_eq!(told(&words), ["plug-000001"], "{quoted}");
    }
    let words = ["control", "get", "--home", "$(touch x)", "--thing", ""];
    assert!(told(&words).is_empty());
}

#[test]
fn the_word_that_is_completed_may_stand_in_the_middle() {
    let (_folder, home) = home();
    let words = ["countersign", "control", "get", "--thing", "", "--home", &home];
    let words = words.map(OsString::from).to_vec();
    assert_eq!(answer("bash", Arguments::command(), words, Some(4)), b"plug-000001");
}

#[test]
fn an_authority_s_names_complete() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("authority/ca");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["root.crt", "ldevid-ca.crt", "ldevid-ca-2.crt", "ldevid-ca;x.crt", "idevid-ca.key"]
    {
        std::fs::write(folder.join(file), "").unwrap();
    }
    let at = data.path().to_str().unwrap();
    let labels = told(&["authority", "revoke", "--data", at, "--ca", ""]);
    assert_eq!(labels, ["ldevid-ca", "ldevid-ca-2"]);
    assert_eq!(told(&["authority", "rotate", "--ca", ""]), ["idevid", "ldevid", "service"]);
    assert_eq!(told(&["authority", "revoke", "--reason", "ca"]), ["ca-compromise"]);
    assert_eq!(told(&["authority", "role", "--role", "au"]), ["auditor"]);
    assert_eq!(told(&["authority", "label", "--layout", "r"]), ["roll"]);
    assert!(told(&["policy", "new", "--profile", ""]).contains(&"bsi".to_owned()));
}

#[test]
fn policies_are_files_with_their_endings() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["next.toml", "next.cose", "next.txt", "next;reboot.toml", "next $(x).cose"] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    let at = format!("{}/", folder.path().to_str().unwrap());
    let found = names(&["policy", "diff", &at]);
    assert_eq!(found, [format!("{at}next.cose"), format!("{at}next.toml")]);
}

//= specs/house.md#house-completion
//= type=test
//# A name that a device gave MUST be suggested to a shell only when it is made of letters, digits, dots, hyphens and
//# underscores.
#[test]
fn no_shell_is_told_what_would_mean_something_to_it() {
    let (_folder, home) = home();
    for shell in ["bash", "fish", "powershell"] {
        for command in ["get", "invoke"] {
            let words =
                ["countersign", "control", command, "--home", &home, "--thing", "plug-000001", ""];
            let words = words.map(OsString::from).to_vec();
            let answer = answer(shell, Arguments::command(), words, Some(7));
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains("relay") || answer.contains("toggle"), "{shell}: {answer}");
            assert!(!answer.contains("reboot"), "{shell}: {answer}");
        }
    }
    for plain in ["a", "./x/y.toml", "~/x", "--home=", "lampe-ä", "a:b@c+d,e%"] {
        assert!(is_plain(plain), "{plain}");
    }
    for other in [
        "a b", "$x", "~root", "a~", "*", "?", "[a]", "{a}", "!", "'", "\"", "\\", "\n", "\u{b}",
        "(", "<", "|", "&", ";", "`", "#", "^",
    ] {
        assert!(!is_plain(other), "{other:?}");
    }
}

#[test]
fn the_agent_completes_too() {
    let words = ["countersign-agent", "ch"].map(OsString::from).to_vec();
    assert_eq!(answer("bash", AgentArguments::command(), words, None), b"check");
}

#[test]
fn odd_requests_are_answered_with_nothing() {
    for (words, index) in
        [(vec![], None), (vec!["countersign"], Some(9)), (vec!["countersign", "--"], Some(0))]
    {
        let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        for shell in ["bash", "zsh", "fish", "tcsh"] {
            let answer = answer(shell, Arguments::command(), words.clone(), index);
            assert!(!answer.windows(5).any(|part| part == b"panic"), "{shell}");
        }
    }
}

#[test]
fn scripts_name_this_binary_and_our_variable() {
    use clap_complete::Shell;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = registration(shell, "countersign-agent");
        assert!(script.contains(VARIABLE) && script.contains("countersign-agent"), "{shell}");
    }
    assert!(registration(Shell::Bash, "countersign").contains("2>/dev/null \\\n"));
}
