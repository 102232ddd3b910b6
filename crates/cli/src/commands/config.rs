//! `countersign config`: the configuration file of `serve`.

use std::path::PathBuf;

use clap::Subcommand;
use countersign_crypto::file;

use crate::config::{DEFAULT_TOML, ServeConfig};
use crate::console::say;
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write a configuration with every key, its default and its meaning.
    #[command(after_help = "Example:\n  countersign config new data/config.toml")]
    New {
        /// The file to write; left out: standard output. An existing file is not overwritten.
        file: Option<PathBuf>,
    },
    /// Check a configuration without using it.
    #[command(after_help = "Example:\n  countersign config check data/config.toml")]
    Check {
        /// The file.
        file: PathBuf,
    },
}

pub(crate) fn run(command: ConfigCommand) -> Ended {
    match command {
        ConfigCommand::New { file: None } => say(DEFAULT_TOML.trim_end()),
        ConfigCommand::New { file: Some(path) } => {
            if path.exists() {
                let text = format!(
                    "{}: exists and is not overwritten: choose another name",
                    path.display()
                );
                return Err(Failure::environment(text));
            }
            file::create_new(&path, DEFAULT_TOML.as_bytes(), file::PUBLIC).at(&path)?;
            say(&format!("wrote {}", path.display()));
        }
        ConfigCommand::Check { file } => {
            ServeConfig::read(Some(&file), &file)?;
            say(&format!("{}: every key is known and in range", file.display()));
        }
    }
    Ok(())
}
