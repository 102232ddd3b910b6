//! `countersign` and `countersign-agent`, the binaries: they parse, wire the parts together, and print.
//!
//! The agent is what a product carries: `countersign device` by itself, without authority, gateway and assessor, so that it
//! takes a small part of the other's memory and disk.
//!
//! ```text
//!  args ─► commands ─┬─ serve        authority and gateway, one process
//!                    ├─ authority, device, control, policy, crypto, assess, config
//!                    └─ demo         all of it, as processes of this same binary
//!  console, failure ── what people and machines see, and how a command ends
//!  complete ── what a shell is told at TAB
//! ```
//!
//! Nothing is decided here: who may do what, and what is sent, is the parts' business. Each binary is a line:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     countersign_cli::agent()
//! }
//! ```
//!
//! Exit codes: 0 done; 1 found something (a FAIL, a refusal); 2 usage or environment.

mod args;
mod commands;
mod complete;
mod config;
mod console;
mod demo;
mod failure;
mod hardening;
mod serve;
mod spawn;

use std::process::ExitCode;

use clap::Parser;
use countersign_device::sandbox::Launcher;
use tokio::runtime::Builder;

use crate::failure::Ended;

/// Threads of the agent that never block long, however many processors there are: each has memory of its own, and one
/// that waits for the disk leaves another to answer the owner.
const AGENT_WORKERS: usize = 2;

/// `countersign`.
#[must_use]
pub fn main() -> ExitCode {
    run(Builder::new_multi_thread(), |arguments: args::Arguments, launcher| {
        (arguments.log.log, commands::run(arguments.command, launcher))
    })
}

/// `countersign-agent`.
#[must_use]
pub fn agent() -> ExitCode {
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(AGENT_WORKERS);
    run(threads, |arguments: args::AgentArguments, launcher| {
        (arguments.log.log, commands::run_agent(arguments.command, launcher))
    })
}

/// What both do, on these threads: `begin` tells what to log, and what is to be done.
fn run<A: Parser, F: Future<Output = Ended>>(
    mut threads: Builder,
    begin: impl FnOnce(A, Launcher) -> (String, F),
) -> ExitCode {
    // Started as the helper of a device's agent, this process becomes one of its programs here, and goes no further.
    let launcher = Launcher::at_start_of_main();
    if complete::answered(A::command) {
        return ExitCode::SUCCESS;
    }
    let hardened = hardening::harden();
    let (log, work) = begin(A::parse(), launcher);
    console::start_log(&log);
    hardened.tell();
    let runtime = match threads.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("countersign: the machine gives no threads: {error}");
            return ExitCode::from(failure::ENVIRONMENT);
        }
    };
    let ended = runtime.block_on(work);
    // Whatever still blocks a thread must not hold the answer back.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                eprintln!("countersign: {}", failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}
