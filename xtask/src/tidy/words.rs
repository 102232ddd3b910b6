//! Words that do not belong in a finished tree: unfinished work and the paths of somebody's machine.

use super::Finding;
use super::source::{Tree, code_lines, has_word};

const RULE: &str = "words";

/// Macros that stand where code should be.
const MACROS: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Marks of unfinished work, in any file of ours. Split so that this file does not name them.
const MARKS: &[&str] =
    &[concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:"), concat!("TO", "DO:")];

/// Beginnings of paths that exist on one machine only.
const MACHINES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("C:\\Us", "ers"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        if file.is_rust() {
            for (number, line) in code_lines(&file.text) {
                for word in MACROS.iter().filter(|word| has_word(&line, word)) {
                    findings.push(Finding::new(RULE, file.place(number), format!("has {word}")));
                }
            }
        }
        for (at, line) in file.text.lines().enumerate() {
            for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
                let message = format!("has {mark}; finish it or open an issue");
                findings.push(Finding::new(RULE, file.place(at + 1), message));
            }
            for path in MACHINES.iter().filter(|path| begins_in(line, path)) {
                let message = format!("names {path}…, a path of one machine");
                findings.push(Finding::new(RULE, file.place(at + 1), message));
            }
        }
    }
    findings
}

/// Whether a path begins so somewhere in the line; the middle of a longer path is no beginning.
fn begins_in(line: &str, path: &str) -> bool {
    let part_of_path = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(part_of_path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found() {
        for word in MACROS {
            let text = format!("fn f() {{ {word}() }}");
            assert_eq!(check(&Tree::of(&[("crates/model/src/x.rs", &text)])).len(), 1, "{word}");
        }
        for word in MARKS.iter().chain(MACHINES) {
            let text = format!("See {word} there");
            assert_eq!(check(&Tree::of(&[("docs/x.md", &text)])).len(), 1, "{word}");
        }
    }

    #[test]
    fn the_middle_of_a_path_is_no_machine() {
        let text = concat!("the filter $share/g/ho", "me/+");
        assert_eq!(check(&Tree::of(&[("docs/x.md", text)])), []);
    }

    #[test]
    fn talk_about_a_macro_is_free() {
        let text = "//! `dbg!` is banned\nfn f() -> &'static str { \"todo!\" }\n";
        assert_eq!(check(&Tree::of(&[("crates/model/src/x.rs", text)])), []);
    }
}
