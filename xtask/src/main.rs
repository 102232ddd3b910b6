//! The project's own chores: `cargo xtask tidy` and `cargo xtask duvet`.
//!
//! ```text
//! tidy   reads the tree and `cargo metadata` ─► rules ─► findings ─► exit code
//! duvet  requirements ◄─ citations ─► coverage, compared with .duvet/snapshot.txt
//! ```
//!
//! A rule is one file under `tidy/` and one line in `tidy::RULES`; each has a test with a tree that breaks it.

mod duvet;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy            check the rules of the house
       cargo xtask duvet           check requirement coverage against .duvet/snapshot.txt
       cargo xtask duvet --bless   write the coverage anew";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["tidy"] => tidy::run(&root()),
        ["duvet"] => duvet::run(&root(), false),
        ["duvet", "--bless"] => duvet::run(&root(), true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(cause) => {
            eprintln!("xtask: {cause}");
            ExitCode::from(2)
        }
    }
}

/// The top of the tree: the folder that holds this crate's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies one level below the top of the tree")
        .to_path_buf()
}
