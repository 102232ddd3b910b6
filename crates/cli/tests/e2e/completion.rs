//! Completion, by the shells themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::devices::paired;

const COUNTERSIGN: &str = env!("CARGO_BIN_EXE_countersign");
const AGENT: &str = env!("CARGO_BIN_EXE_countersign-agent");
/// Generous: a person waits for it, and this is an unoptimised build on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// What a shell offers after it has run `script`, with the words as `$1`, `$2`, ….
fn offered(shell: &str, script: &str, folder: &Path, words: &[&str]) -> Vec<String> {
    offered_with(shell, script, folder, words, &[])
}

fn offered_with(
    shell: &str,
    script: &str,
    folder: &Path,
    words: &[&str],
    environment: &[(&str, &str)],
) -> Vec<String> {
    let began = Instant::now();
    let Output { status, stdout, stderr } = Command::new(shell)
        .args(["-c", script])
        .args((shell != "fish").then_some("sh"))
        .args(words)
        .current_dir(folder)
        .env("COUNTERSIGN", COUNTERSIGN)
        .env("AGENT", AGENT)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(began.elapsed() < SOON, "{shell}: {:?}", began.elapsed());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(status.success() && stderr.is_empty(), "{shell}: {status} {stdout} {stderr}");
    let word = |line: &str| line.split(['\t', '\u{1}']).next().unwrap_or_default().to_owned();
    stdout.lines().map(word).filter(|word| !word.is_empty() && !word.starts_with('-')).collect()
}

/// Bash's own function, called as bash calls it: the words, which one, and what stands in it.
const BASH: &str = r#"
    source <("$COUNTERSIGN" completions bash)
    complete -p countersign > /dev/null || exit 1
    COMP_WORDS=(countersign "$@") COMP_CWORD=$# COMP_TYPE=9
    _clap_complete_countersign countersign "${!#}" ""
    printf '%s\n' "${COMPREPLY[@]}"
"#;

/// Zsh's function; what would show the candidates prints them.
const ZSH: &str = r#"
    compdef() { :; }
    _describe() { local name=${@[$#]}; for one in ${(P)name}; do print -r -- ${one%%:*}; done; }
    source <("$COUNTERSIGN" completions zsh)
    words=(countersign "$@") CURRENT=$(( $# + 1 ))
    _clap_dynamic_completer_countersign
"#;

const FISH: &str = r#"
    $COUNTERSIGN completions fish | source
    complete -C "countersign "(string join ' ' -- (string escape -- $argv[1..-2]) $argv[-1])
"#;

/// Every shell that is there, with what asks it.
fn shells() -> Vec<(&'static str, &'static str)> {
    let here = |(shell, _): &(&str, &str)| {
        let found = Command::new(shell).arg("--version").output().is_ok();
        if !found {
            println!("not asked, because it is not installed: {shell}");
        }
        found
    };
    [("bash", BASH), ("zsh", ZSH), ("fish", FISH)].into_iter().filter(here).collect()
}

//= specs/house.md#house-completion
//= type=test
//# Completing a command MUST NOT open a key, reach for the network or write to the terminal.
#[test]
fn a_home_s_names_complete_without_its_keys_and_without_the_device() {
    let (house, mut device, home) = paired();
    let at = home.folder.to_str().unwrap().to_owned();
    let thing = device.serial.clone();
    let here = house.folder().to_owned();
    // The device described itself when it was first used.
    let kept = home.folder.join(format!("things/{thing}.description"));
    assert!(!kept.exists());
    home.with("get", &device, &["power"]).with_code(0);
    assert!(kept.exists());
    home.with("share", &device, &["--person", "sam", "--role", "viewer"]).with_code(0);
    // No device, no keys: whoever wanted either would fail.
    device.kill();
    fs::remove_file(home.folder.join("seal.key")).unwrap();
    fs::remove_dir_all(home.folder.join("keys")).unwrap();
    for (shell, script) in shells() {
        let ask = |words: &[&str]| offered(shell, script, &here, words);
        let with = |command: &str, more: &[&str]| {
            ask(&[&["control", command, "--home", &at, "--thing", &thing], more].concat())
        };
        assert_eq!(ask(&["control", "unsh"]), ["unshare"], "{shell}");
        assert_eq!(ask(&["control", "get", "--home", &at, "--thing", "p"]), [&*thing], "{shell}");
        let readable = with("get", &[""]);
        assert!(readable.contains(&"power".to_owned()), "{shell}: {readable:?}");
        assert_eq!(with("set", &["rel"]), ["relay"], "{shell}");
        assert_eq!(with("set", &["relay", "t"]), ["true"], "{shell}");
        assert_eq!(with("invoke", &["tog"]), ["toggle"], "{shell}");
        assert_eq!(with("unshare", &["--person", "s"]), ["sam"], "{shell}");
        assert_eq!(with("share", &["--role", "m"]), ["member"], "{shell}");
        // The home by the environment, unless the line names one.
        let by_environment = |words: &[&str]| {
            offered_with(shell, script, &here, words, &[("COUNTERSIGN_HOME", &at)])
        };
        assert_eq!(by_environment(&["control", "get", "--thing", "p"]), [&*thing], "{shell}");
        for none in ["./nowhere", "$(touch came)"] {
            let other = ["control", "get", "--home", none, "--thing", ""];
            assert!(by_environment(&other).is_empty(), "{shell} {none}");
        }
        // No home, and none that could be read.
        assert!(ask(&["control", "get", "--home", "./nowhere", "--thing", ""]).is_empty());
        assert!(ask(&["control", "get", "--home", "$(touch came)", "--thing", ""]).is_empty());
        assert!(!here.join("came").exists(), "{shell}");
    }
}

//= specs/house.md#house-completion
//= type=test
//# A name that a device gave MUST be suggested to a shell only when it is made of letters, digits, dots, hyphens and
//# underscores.
#[test]
fn what_a_device_says_reaches_no_shell_as_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let things = here.join("home/things");
    fs::create_dir_all(&things).unwrap();
    fs::write(things.join("plug-1.json"), "{}").unwrap();
    let hostile = [
        "t$(touch came)",
        "t`touch came`",
        "t;touch came",
        "t\ntouch came",
        "t\u{1b}[2J",
        "t\u{b}x",
        "t|touch came",
        "t*",
        "t'",
        "t\"",
        "t\\",
        "t&",
        "t>came",
        "t came",
    ];
    let mut actions: serde_json::Map<_, _> =
        hostile.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    let title = "\u{1b}]0;came\u{7}$(touch came)`touch came`%(?.x.y)\n:x\tz";
    actions.insert("toggle".to_owned(), json!({ "title": title }));
    let text = json!({ "actions": actions }).to_string();
    fs::write(things.join("plug-1.description"), text).unwrap();
    for file in ["p;touch came.toml", "p$(touch came).toml", "p*.toml", "plain.toml"] {
        fs::write(here.join(file), "").unwrap();
    }
    for (shell, script) in shells() {
        let words = ["control", "invoke", "--home", "home", "--thing", "plug-1", "t"];
        assert_eq!(offered(shell, script, here, &words), ["toggle"], "{shell}");
        let files = offered(shell, script, here, &["policy", "show", "p"]);
        assert!(files.contains(&"plain.toml".to_owned()), "{shell}: {files:?}");
        // Bash puts in what it is told as it is; the others quote it.
        assert!(files.len() == 1 || shell != "bash", "{shell}: {files:?}");
        assert!(!here.join("came").exists(), "{shell}");
    }
}

/// A shell as somebody sits before it: TAB completes the line, Enter runs it.
#[test]
fn bash_completes_a_line_that_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let things = folder.path().join("home/things");
    fs::create_dir_all(&things).unwrap();
    fs::write(things.join("plug-000001.json"), "{}").unwrap();
    let typed = "echo > ready\ncountersign control get --home=home --thing plu\t--version\nexit\n";
    let start = format!(
        "bind 'set bell-style none'\ncountersign() {{ printf '%s|' \"$@\" > ran; }}\nsource <('{COUNTERSIGN}' completions bash)\n"
    );
    fs::write(folder.path().join("rc"), start).unwrap();
    let mut child = Command::new("script")
        .args(["-qec", "bash --noprofile --rcfile rc -i", "/dev/null"])
        .current_dir(folder.path())
        .env("TERM", "dumb")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("`script` of util-linux, which Debian and Ubuntu always have");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let ran = fs::read_to_string(folder.path().join("ran")).unwrap();
    assert_eq!(ran, "control|get|--home=home|--thing|plug-000001|--version|");
}

#[test]
fn the_agent_registers_itself() {
    let script = Command::new(AGENT).args(["completions", "bash"]).output().unwrap();
    let script = String::from_utf8(script.stdout).unwrap();
    assert!(script.contains("_clap_complete_countersign_agent") && script.contains(AGENT));
    let ask = r#"
        source <("$AGENT" completions bash)
        COMP_WORDS=(countersign-agent "$@") COMP_CWORD=$# COMP_TYPE=9
        _clap_complete_countersign_agent countersign-agent "${!#}" ""
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let here = std::env::current_dir().unwrap();
    assert_eq!(offered("bash", ask, &here, &["ide"]), ["identity"]);
    assert_eq!(offered("bash", ask, &here, &["run", "--simulate", "p"]), ["plug"]);
}
