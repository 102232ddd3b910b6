//! `countersign`, the one binary: it parses, wires the parts together, and prints.
//!
//! ```text
//!  args ─► commands ─┬─ serve        authority and gateway, one process
//!                    ├─ authority, device, control, policy, crypto, assess, config
//!                    └─ demo         all of it, as processes of this same binary
//!  console, failure ── what people and machines see, and how a command ends
//! ```
//!
//! Nothing is decided here: who may do what, and what is sent, is the parts' business.
//!
//! Exit codes: 0 done; 1 found something (a FAIL, a refusal); 2 usage or environment.

mod args;
mod commands;
mod config;
mod console;
mod demo;
mod failure;
mod hardening;
mod serve;
mod spawn;

use std::process::ExitCode;

use clap::Parser as _;
use countersign_device::sandbox::Launcher;

fn main() -> ExitCode {
    // Started as the helper of a device's agent, this process becomes one of its programs here, and goes no further.
    let launcher = Launcher::at_start_of_main();
    let hardened = hardening::harden();
    let arguments = args::Arguments::parse();
    console::start_log(&arguments.log);
    hardened.tell();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("countersign: the machine gives no threads: {error}");
            return ExitCode::from(failure::ENVIRONMENT);
        }
    };
    let ended = runtime.block_on(commands::run(arguments.command, launcher));
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
