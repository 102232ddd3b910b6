//! Files that a reader can hold: long ones warn, very long ones give their reason.

use super::Finding;
use super::source::Tree;

const RULE: &str = "length";
const QUESTIONED: usize = 400;
const LIMIT: usize = 700;
const REASON: &str = "//! Long because: ";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter_map(|file| {
            let lines = file.text.lines().count();
            if lines > LIMIT && !file.text.lines().any(|line| line.starts_with(REASON)) {
                let message = format!(
                    "{lines} lines; over {LIMIT} a file says why in a line that begins {REASON:?}"
                );
                return Some(Finding::new(RULE, &file.path, message));
            }
            let long = lines > QUESTIONED && lines <= LIMIT;
            long.then(|| {
                Finding::warning(RULE, &file.path, format!("{lines} lines; can it be two files?"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(lines: usize, head: &str) -> Vec<Finding> {
        let text = format!("{head}{}", "fn x() {}\n".repeat(lines));
        check(&Tree::of(&[("crates/model/src/x.rs", &text)]))
    }

    #[test]
    fn lengths_are_judged() {
        assert_eq!(findings(QUESTIONED, ""), []);
        assert!(findings(QUESTIONED + 1, "")[0].warning);
        assert!(!findings(LIMIT + 1, "")[0].warning);
        assert_eq!(findings(LIMIT + 1, "//! Long because: it is one table.\n"), []);
    }
}
