//! The rules of the house that a compiler does not hold.

mod algorithms;
mod backends;
mod edges;
mod length;
mod manifests;
mod names;
mod pages;
mod paths;
mod purity;
mod register;
mod source;
mod words;

use source::Tree;
use std::fmt;
use std::path::Path;

/// One breach of one rule. A warning is shown and does not fail the run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    rule: &'static str,
    place: String,
    message: String,
    warning: bool,
}

impl Finding {
    fn new(rule: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, place: place.into(), message: message.into(), warning: false }
    }

    fn warning(rule: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::new(rule, place, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.warning { "warning" } else { "error" };
        write!(out, "{weight}[{}] {}: {}", self.rule, self.place, self.message)
    }
}

type Rule = fn(&Tree) -> Vec<Finding>;

/// Every rule over the tree's text. `edges` and `register` stand apart: they read `cargo metadata`.
const RULES: &[Rule] = &[
    algorithms::check,
    backends::check,
    length::check,
    manifests::check,
    names::check,
    pages::check,
    paths::check,
    purity::check,
    words::check,
];

/// Runs every rule; true when nothing but warnings was found.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let tree = Tree::read(root)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.extend(edges::check(&edges::Graph::of_workspace(root)?));
    let (metadata, reviewed, lock) = register::read(root)?;
    findings.extend(register::check(&metadata, &reviewed, &lock));
    findings.sort_by(|a, b| (&a.place, a.rule).cmp(&(&b.place, b.rule)));
    for finding in &findings {
        eprintln!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    eprintln!("tidy: {} files, {errors} errors, {} warnings", tree.len(), findings.len() - errors);
    Ok(errors == 0)
}
