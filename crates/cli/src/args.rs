//! The command line, as `--help` shows it.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::commands::{assess, authority, config, control, crypto, device, gateway, policy};
use crate::{demo, serve};

/// The environment variable that names the home's folder where `--home` does not.
pub(crate) const HOME: &str = "COUNTERSIGN_HOME";

/// What both binaries are told about their log.
#[derive(Debug, clap::Args)]
pub(crate) struct Log {
    /// What to log to standard error: error, warn, info, debug, or a filter such as `countersign_gateway=debug`.
    #[arg(
        long,
        global = true,
        default_value = "warn,rustls=error",
        display_order = 998,
        env = "COUNTERSIGN_LOG",
        hide_env = true
    )]
    pub(crate) log: String,
}

/// Secure communication for consumer IoT, built and proven to ETSI EN 303 645 clause 5.5.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Begin with:  countersign demo\n\nExit codes: 0 done · 1 found something (a FAIL, a refusal) · 2 usage or environment"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) log: Log,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The agent of a device: what `countersign device` does, in a binary of its own.
#[derive(Debug, Parser)]
#[command(
    name = "countersign-agent",
    version,
    after_help = "Example:\n  countersign-agent run --config device.toml --bindings lamp.bindings.toml\n\nExit codes: 0 done · 1 found something (a FAIL, a refusal) · 2 usage or environment"
)]
pub(crate) struct AgentArguments {
    #[command(flatten)]
    pub(crate) log: Log,

    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    #[command(flatten)]
    Device(Box<device::DeviceCommand>),
    /// Print what lets a shell complete commands, options and names.
    #[command(
        after_help = "Examples, each for the end of the shell's start-up file:\n  ~/.bashrc:                   source <(countersign-agent completions bash)\n  ~/.zshrc, after compinit:    source <(countersign-agent completions zsh)\n  ~/.config/fish/config.fish:  countersign-agent completions fish | source"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole system on this machine, ending with the assessment of the device that it started.
    #[command(after_help = "Example:\n  countersign demo --keep")]
    Demo(demo::DemoArgs),
    /// Authority and gateway in one process, on embedded storage.
    #[command(
        after_help = "Example:\n  countersign serve --data ./data --ready-file ./ready.json --mqtt :0 --est :0 --admin :0"
    )]
    Serve(serve::ServeArgs),
    /// Key management: ceremony, identities, revocation, ledger.
    #[command(subcommand)]
    Authority(authority::AuthorityCommand),
    /// What the gateway has recorded: who was seen, and who may do what.
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// Run a device, and what belongs to it.
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// The owner's side: pair, read, write, command, share.
    #[command(subcommand)]
    Control(control::ControlCommand),
    /// The crypto policy.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// What cryptography this binary contains, and what speaks for it.
    #[command(subcommand)]
    Crypto(crypto::CryptoCommand),
    /// Test a device against the cases of TS 103 701.
    #[command(subcommand)]
    Assess(assess::AssessCommand),
    /// The configuration file of `serve`.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print what lets a shell complete commands, options and names, such as those of a home's devices.
    #[command(
        after_help = "Examples, each for the end of the shell's start-up file:\n  ~/.bashrc:                   source <(countersign completions bash)\n  ~/.zshrc, after compinit:    source <(countersign completions zsh)\n  ~/.config/fish/config.fish:  countersign completions fish | source\n\nAt TAB the shell asks this binary, which reads small files of the folder that --home or --data names: no key is\nopened, and no device is asked. What a device can do is known from the last time that it described itself."
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `host:port`, `:port` or `port`; without a host, loopback.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    port.parse().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))).map_err(|_| {
        format!("{text:?} is no address: write 127.0.0.1:8883, :8883, or :0 for any free port")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
        AgentArguments::command().debug_assert();
    }

    #[test]
    fn addresses_may_leave_out_the_host() {
        for (text, expected) in [
            (":0", "127.0.0.1:0"),
            ("8883", "127.0.0.1:8883"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        assert!(address("localhost").unwrap_err().contains(":0"));
    }
}
