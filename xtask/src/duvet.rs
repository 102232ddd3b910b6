//! Requirement coverage: runs duvet over the tree and holds it to the committed snapshot.

use std::path::Path;
use std::process::Command;

/// Checks the coverage, or writes the snapshot anew when `bless` is set.
///
/// The tool is the one named by `DUVET`, else `duvet` from the search path.
pub(crate) fn run(root: &Path, bless: bool) -> Result<bool, String> {
    // A section that left its specification would keep its extracted file for ever.
    let extracted = root.join(".duvet/requirements");
    if extracted.exists() {
        std::fs::remove_dir_all(&extracted)
            .map_err(|cause| format!("{}: {cause}", extracted.display()))?;
    }
    let tool = std::env::var_os("DUVET").unwrap_or_else(|| "duvet".into());
    let status = Command::new(&tool)
        .args(["report", "--ci", if bless { "false" } else { "true" }])
        .current_dir(root)
        .status()
        .map_err(|cause| {
            format!(
                "cannot start {}: {cause}; install it with `cargo install --locked duvet@0.4.3`",
                tool.display()
            )
        })?;
    if !status.success() && !bless {
        eprintln!(
            "xtask: a citation is wrong or coverage changed; when that was meant: \
             cargo xtask duvet --bless"
        );
    }
    Ok(status.success())
}
