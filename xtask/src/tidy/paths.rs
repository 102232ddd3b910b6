//! Every path that our documents name exists.

use super::Finding;
use super::source::{File, Tree};

const RULE: &str = "paths";

/// The top-level folders: a quoted word that begins with one of them is a path of ours.
const TOPS: &[&str] =
    &["crates/", "docs/", "specs/", "xtask/", "fuzz/", "bench/", ".ci/", ".duvet/", ".config/"];

/// What a run creates: named in documents, absent from a clean tree.
const CREATED: &[&str] = &[".duvet/reports/", ".duvet/requirements/"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        for (number, path) in named_paths(file) {
            if !tree.has(&path) && !CREATED.iter().any(|created| path.starts_with(created)) {
                findings.push(Finding::new(
                    RULE,
                    file.place(number),
                    format!("names {path}, which does not exist"),
                ));
            }
        }
    }
    findings
}

fn named_paths(file: &File) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let number = at + 1;
        if file.is_markdown() {
            named.extend(quoted(line).into_iter().map(|path| (number, path)));
            named.extend(linked(line).into_iter().map(|path| (number, beside(&file.path, &path))));
        } else if file.is_rust() && line.trim_start().starts_with("//") {
            named.extend(quoted(line).into_iter().map(|path| (number, path)));
        }
    }
    named
}

/// Paths between backquotes that begin at the top of the tree.
fn quoted(line: &str) -> Vec<String> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| TOPS.iter().any(|top| word.starts_with(top)))
        .filter(|word| !word.contains(['*', '<', '{', '…', ' ']))
        .map(|word| word.split(['#', ':']).next().unwrap_or(word).to_owned())
        .collect()
}

/// Targets of Markdown links that lie in the tree.
fn linked(line: &str) -> Vec<String> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .filter(|target| !target.starts_with("mailto:"))
        .map(str::to_owned)
        .collect()
}

/// A link's target, resolved against the folder of the document that has it.
fn beside(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(document: &str) -> usize {
        let tree = Tree::of(&[("docs/flows/x.md", document), ("crates/model/src/lib.rs", "")]);
        check(&tree).len()
    }

    #[test]
    fn quoted_and_linked_paths_must_exist() {
        assert_eq!(findings("see `crates/model/src/lib.rs` and `crates/model/`"), 0);
        assert_eq!(findings("see `crates/model/src/gone.rs`"), 1);
        assert_eq!(findings("see [x](x.md) and [lib](../../crates/model/src/lib.rs#L1)"), 0);
        assert_eq!(findings("see [y](y.md)"), 1);
        assert_eq!(findings("see [y](https://example.org/y.md), `crates/*/src`"), 0);
    }

    #[test]
    fn comments_in_code_count_too() {
        let tree = Tree::of(&[("crates/model/src/lib.rs", "//! See `docs/flows/gone.md`.\n")]);
        assert_eq!(check(&tree).len(), 1);
    }
}
