//! `--help` of every command: it is there, and ends with an example.

use crate::support::{countersign, countersign_fails};

/// The names below "Commands:" in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Every command that can be run, by its path.
fn commands(path: &[String]) -> Vec<(Vec<String>, String)> {
    let asked = path.iter().map(String::as_str).chain(["--help"]);
    let help = countersign(asked).with_code(0).stdout;
    let below = subcommands(&help);
    if below.is_empty() {
        return vec![(path.to_vec(), help)];
    }
    below.into_iter().flat_map(|name| commands(&[path, &[name]].concat())).collect()
}

#[test]
fn every_command_has_help_with_an_example_of_itself() {
    let all = commands(&[]);
    for (path, help) in &all {
        let command = format!("countersign {}", path.join(" "));
        let example = help.split_once("Example").map(|(_, example)| example);
        assert!(
            example.is_some_and(|text| text.contains(&command)),
            "{command}: no example\n{help}"
        );
    }
    let groups: std::collections::BTreeSet<_> =
        all.iter().map(|(path, _)| path[0].as_str()).collect();
    for group in ["demo", "serve", "authority", "device", "control", "policy", "gateway", "assess"]
    {
        assert!(groups.contains(group), "{group} is missing: {groups:?}");
    }
}

#[test]
fn wrong_usage_is_2_and_says_what_is_right() {
    for (arguments, words) in [
        (&["serv"][..], "serve"),
        (&["serve"], "--data"),
        (&["serve", "--data", "x", "--mqtt", "nonsense"], ":0"),
        (&["authority", "enrol", "--dta", "x"], "--data"),
        (&["authority", "revoke", "--data", "x"], "add --name plug-000001"),
        (&["authority", "reinstate", "--data", "x"], "add --name plug-000001"),
    ] {
        countersign_fails(2, arguments).saying(words);
    }
}

#[test]
fn shells_learn_whom_to_ask() {
    for (shell, words) in [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")] {
        let text = countersign(["completions", shell]).with_code(0).stdout;
        let file = env!("CARGO_BIN_EXE_countersign");
        for word in [words, "COUNTERSIGN_COMPLETE", file] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    countersign_fails(2, ["completions", "tcsh"]).saying("fish");
}

#[test]
fn the_version_is_told() {
    countersign(["--version"]).with_code(0).saying("countersign");
}
