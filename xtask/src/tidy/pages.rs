//! The first page of a crate: what it is for, one picture, the smallest compiled example.

use super::Finding;
use super::source::Tree;

const RULE: &str = "pages";
const SHORTEST: usize = 8;
const LONGEST: usize = 90;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in tree.files().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let Some(folder) = manifest.path.strip_suffix("/Cargo.toml") else { continue };
        if !folder.starts_with("crates/") {
            continue;
        }
        let library = format!("{folder}/src/lib.rs");
        let program = format!("{folder}/src/main.rs");
        let Some(file) = tree
            .files()
            .find(|file| file.path == library)
            .or_else(|| tree.files().find(|file| file.path == program))
        else {
            findings.push(Finding::new(RULE, folder, "has neither src/lib.rs nor src/main.rs"));
            continue;
        };
        let page: Vec<&str> =
            file.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let mut lacks = |what: String| findings.push(Finding::new(RULE, &file.path, what));
        if page.len() < SHORTEST || page.len() > LONGEST {
            lacks(format!(
                "begins with {} lines of `//!`; one page is {SHORTEST} to {LONGEST}",
                page.len()
            ));
            continue;
        }
        let fences = opened_fences(&page);
        if !fences.contains(&"text") {
            lacks("has no picture: a fenced `text` block".to_owned());
        }
        if file.path == library && !fences.iter().any(|language| is_compiled(language)) {
            lacks("has no compiled example: a fenced block of Rust".to_owned());
        }
    }
    findings
}

/// The language of each fenced block on the page; empty where none is named.
fn opened_fences<'a>(page: &[&'a str]) -> Vec<&'a str> {
    let mut open = false;
    let mut languages = Vec::new();
    for line in page {
        let Some(language) = line.strip_prefix("//! ```") else { continue };
        open = !open;
        if open {
            languages.push(language.trim());
        }
    }
    languages
}

/// Whether rustdoc compiles a block of this language.
fn is_compiled(language: &str) -> bool {
    language.split(',').all(|word| ["", "rust", "no_run", "compile_fail"].contains(&word.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: (&str, &str) = ("crates/model/Cargo.toml", "");

    fn findings(page: &str) -> usize {
        check(&Tree::of(&[MANIFEST, ("crates/model/src/lib.rs", page)])).len()
    }

    #[test]
    fn a_page_has_purpose_picture_and_example() {
        let purpose = "//! What it is for.\n".repeat(SHORTEST);
        let picture = "//! ```text\n//! a ─► b\n//! ```\n";
        let example = "//! ```rust\n//! assert!(true);\n//! ```\n";
        assert_eq!(findings(&format!("{purpose}{picture}{example}")), 0);
        assert_eq!(findings(&format!("{purpose}{picture}//! ```\n//! a();\n//! ```\n")), 0);
        assert_eq!(findings(&format!("{purpose}{picture}")), 1);
        assert_eq!(findings(&format!("{purpose}{example}")), 1);
        assert_eq!(findings("fn main() {}"), 1);
        assert_eq!(check(&Tree::of(&[MANIFEST])).len(), 1);
    }
}
