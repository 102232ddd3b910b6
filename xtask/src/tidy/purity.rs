//! Cores that do no I/O: no runtime, socket, file, clock, thread or random source is named there.

use super::Finding;
use super::source::{Tree, code_lines, has_word};

const RULE: &str = "purity";

/// Folders whose code is fed everything by its caller.
const CORES: &[&str] = &[
    "crates/model/src/",
    "crates/protocol/src/",
    "crates/gateway/src/broker/",
    "crates/device/src/api/limits",
    "crates/device/src/uplink/core",
];

/// What acts or observes by itself, and what a core takes instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("async", "a core returns transmits and timeouts; the shell awaits"),
    (".await", "a core returns transmits and timeouts; the shell awaits"),
    ("tokio", "sockets and timers belong to the shell"),
    ("TcpStream", "sockets belong to the shell"),
    ("TcpListener", "sockets belong to the shell"),
    ("UdpSocket", "sockets belong to the shell"),
    ("ToSocketAddrs", "names are resolved by the shell"),
    ("std::fs", "bytes come in as arguments"),
    ("std::env", "configuration comes in as a value"),
    ("std::process", "a core returns what is to be done"),
    ("std::thread", "a core has no concurrency"),
    ("SystemTime", "the present comes in as an argument"),
    ("Instant", "the present comes in as an argument"),
    ("SystemRandom", "randomness comes in as an argument"),
    ("OsRng", "randomness comes in as an argument"),
    ("thread_rng", "randomness comes in as an argument"),
    ("getrandom", "randomness comes in as an argument"),
    ("println!", "a core returns what is to be told"),
    ("eprintln!", "a core returns what is to be told"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        if !CORES.iter().any(|core| file.path.starts_with(core)) || is_test(&file.path) {
            continue;
        }
        //= specs/house.md#house-core
        //# The crate `protocol` MUST NOT use async, open a socket, read a clock or draw random bytes.
        for (number, line) in code_lines(&file.text) {
            for (name, instead) in FORBIDDEN {
                if has_word(&line, name) {
                    findings.push(Finding::new(
                        RULE,
                        file.place(number),
                        format!("{name} in a core: {instead}"),
                    ));
                }
            }
        }
    }
    findings
}

/// Tests call a core, so they are its shell.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-core
    //= type=test
    //# The crate `protocol` MUST NOT use async, open a socket, read a clock or draw random bytes.
    #[test]
    fn each_forbidden_name_is_found() {
        for (name, _) in FORBIDDEN {
            let tree = Tree::of(&[("crates/protocol/src/x.rs", &format!("let _ = {name} ;"))]);
            assert_eq!(check(&tree).len(), 1, "{name}");
        }
    }

    #[test]
    fn shells_and_comments_are_free() {
        let tree = Tree::of(&[
            ("crates/gateway/src/x.rs", "use tokio::net;"),
            ("crates/protocol/src/pairing/tests.rs", "use x::SystemRandom;"),
            ("crates/protocol/src/x.rs", "//! no tokio, no Instant\nuse std::time::Duration;"),
        ]);
        assert_eq!(check(&tree), []);
    }
}
