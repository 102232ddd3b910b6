//! Every item of ours that a document names as `crate::item` exists in that crate.

use super::Finding;
use super::source::{Tree, code_lines, has_word};
use std::collections::BTreeMap;

const RULE: &str = "names";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let code = code_by_crate(tree);
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.is_markdown()) {
        for (at, line) in file.text.lines().enumerate() {
            for word in line.split('`').skip(1).step_by(2) {
                let Some((krate, items)) = ours(word, &code) else { continue };
                let missing = items.iter().find(|item| !has_word(krate, item));
                if let Some(item) = missing {
                    findings.push(Finding::new(
                        RULE,
                        file.place(at + 1),
                        format!("names {word}, but {item} is not in that crate"),
                    ));
                }
            }
        }
    }
    findings
}

/// The code of each crate under `crates/` in one text, its module names included.
fn code_by_crate(tree: &Tree) -> BTreeMap<String, String> {
    let mut code = BTreeMap::<String, String>::new();
    for file in tree.rust() {
        let Some((krate, rest)) =
            file.path.strip_prefix("crates/").and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let text = code.entry(krate.to_owned()).or_default();
        text.push_str(&rest.replace(['/', '.'], " "));
        text.push('\n');
        for (_, line) in code_lines(&file.text) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    code
}

/// The crate's code and the items after its name, when `word` is a path into one of our crates.
fn ours<'a, 'w>(
    word: &'w str,
    code: &'a BTreeMap<String, String>,
) -> Option<(&'a str, Vec<&'w str>)> {
    let (krate, items) = word.split_once("::")?;
    let krate = krate.strip_prefix("countersign_").unwrap_or(krate);
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    if !items.chars().all(plain) {
        return None;
    }
    Some((code.get(krate)?, items.split("::").collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(document: &str) -> usize {
        check(&Tree::of(&[
            ("docs/x.md", document),
            ("crates/protocol/src/permit/mod.rs", "pub struct CommandPermit;\n// Ghost"),
        ]))
        .len()
    }

    #[test]
    fn named_items_must_exist() {
        assert_eq!(findings("only `protocol::permit::CommandPermit`"), 0);
        assert_eq!(findings("only `countersign_protocol::permit`"), 0);
        assert_eq!(findings("only `protocol::permit::Ghost`"), 1);
        assert_eq!(findings("not ours: `tokio::net::TcpListener`"), 0);
    }
}
