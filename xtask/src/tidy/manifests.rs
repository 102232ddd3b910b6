//! Every crate takes its version, licence and lints from the workspace.

use super::Finding;
use super::source::Tree;

const RULE: &str = "manifests";
const REQUIRED: &[&str] =
    &["version.workspace = true", "license.workspace = true", "[lints]\nworkspace = true"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let ours = |path: &str| {
        path == "xtask/Cargo.toml" || (path.starts_with("crates/") && path.ends_with("/Cargo.toml"))
    };
    tree.files()
        .filter(|file| ours(&file.path))
        .flat_map(|file| {
            REQUIRED
                .iter()
                .filter(|required| !file.text.contains(*required))
                .map(|missing| Finding::new(RULE, &file.path, format!("lacks {missing:?}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_the_workspace_lints_is_found() {
        let manifest = "[package]\nversion.workspace = true\nlicense.workspace = true\n";
        let tree = Tree::of(&[("crates/model/Cargo.toml", manifest)]);
        assert_eq!(check(&tree).len(), 1);
        let whole = format!("{manifest}[lints]\nworkspace = true\n");
        assert_eq!(check(&Tree::of(&[("crates/model/Cargo.toml", &whole)])), []);
    }
}
