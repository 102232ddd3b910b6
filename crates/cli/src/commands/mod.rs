//! One file a command group: each parses its arguments, calls its part, and prints.

pub(crate) mod assess;
pub(crate) mod authority;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod crypto;
pub(crate) mod device;
pub(crate) mod gateway;
pub(crate) mod observe;
pub(crate) mod policy;
pub(crate) mod rotate;
pub(crate) mod sharing;

use crate::args::{AgentCommand, Command};
use crate::complete::registration;
use crate::console::say;
use crate::failure::Ended;
use crate::{demo, serve};
use countersign_device::sandbox::Launcher;

pub(crate) async fn run(command: Command, launcher: Launcher) -> Ended {
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Authority(command) => authority::run(command).await,
        Command::Gateway(command) => gateway::run(command).await,
        Command::Device(command) => device::run(command, launcher).await,
        Command::Control(command) => control::run(command).await,
        Command::Policy(command) => policy::run(command).await,
        Command::Crypto(command) => crypto::run(command),
        Command::Assess(command) => assess::run(command).await,
        Command::Config(command) => config::run(command),
        Command::Completions { shell } => {
            say(registration(shell, "countersign").trim());
            Ok(())
        }
    }
}

pub(crate) async fn run_agent(command: AgentCommand, launcher: Launcher) -> Ended {
    match command {
        AgentCommand::Device(command) => device::run(*command, launcher).await,
        AgentCommand::Completions { shell } => {
            say(registration(shell, "countersign-agent").trim());
            Ok(())
        }
    }
}
