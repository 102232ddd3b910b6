//! `policy new`.

use std::path::PathBuf;

use countersign_crypto::file;
use countersign_crypto::policy::DEFAULT_TOML;
use countersign_model::registry::Profile;

use crate::complete::Known;
use crate::console::say;
use crate::failure::{Ended, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Where to write it; a file that is there is left alone. Left out: to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The catalogues that the new policy is judged by: acm, bsi, nist, ietf-iot or cnsa2.
    #[arg(long, default_value_t, add = Known::Profile)]
    profile: Profile,
}

pub(super) fn run(arguments: NewArgs) -> Ended {
    let profile = |profile: Profile| format!("\nprofile = \"{profile}\"\n");
    let text = DEFAULT_TOML.replacen(&profile(Profile::default()), &profile(arguments.profile), 1);
    let Some(path) = arguments.out else {
        say(text.trim_end());
        return Ok(());
    };
    file::create_new(&path, text.as_bytes(), file::PUBLIC).at(&path)?;
    say(&format!("{}: written. Next:  countersign policy check {0}", path.display()));
    Ok(())
}
