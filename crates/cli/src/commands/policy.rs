//! `countersign policy`: crypto policies from the text to the fleet.

mod check;
mod diff;
mod dry_run;
mod new;
pub(crate) mod read;
mod show;
pub(crate) mod signing;

use clap::Subcommand;
pub(crate) use dry_run::duration;

use crate::failure::Ended;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Write the commented policy that this build carries, to begin one's own with.
    #[command(
        after_help = "Examples:\n  countersign policy new --out policy.toml\n  countersign policy new --profile bsi > policy.toml"
    )]
    New(new::NewArgs),
    /// Show the built-in policy, or a file's, signed or not; with --explain, how catalogues hold each item.
    #[command(
        after_help = "Examples:\n  countersign policy show\n  countersign policy show data/policy/current.cose\n  countersign policy show policy.toml --explain --profile bsi"
    )]
    Show(show::ShowArgs),
    /// Check that a policy can be put in force, and that the support period does not outlive its cryptography.
    #[command(after_help = check::HELP)]
    Check(check::CheckArgs),
    /// What differs between two policies; exit code 1 when something does.
    #[command(
        after_help = "Example:\n  countersign policy diff data/policy/current.cose policy.toml\n\nExit codes: 0 the same · 1 they differ · 2 a file is no policy"
    )]
    Diff(diff::DiffArgs),
    /// What a policy would do to the fleet, from what it was seen to do; exit code 1 when somebody would be stranded.
    #[command(
        after_help = "Examples:\n  countersign policy dry-run next.toml --data ./data\n  countersign policy dry-run next.toml --data ./data --not-seen-for 7d --strict --json"
    )]
    DryRun(dry_run::DryRunArgs),
    /// Sign a policy with the authority's policy key, after every check; the ledger has it before the file does.
    #[command(
        after_help = "Example:\n  countersign policy sign next.toml --data ./data --out next.cose"
    )]
    Sign(signing::SignArgs),
    /// Put a policy in force: `serve` tries it in a handshake with itself, activates it at every listener, and devices follow.
    #[command(
        after_help = "Examples:\n  countersign policy publish next.cose --data ./data\n  countersign policy publish next.toml --data ./data"
    )]
    Publish(signing::PublishArgs),
}

pub(crate) async fn run(command: PolicyCommand) -> Ended {
    match command {
        PolicyCommand::New(arguments) => new::run(arguments),
        PolicyCommand::Show(arguments) => show::run(arguments),
        PolicyCommand::Check(arguments) => check::run(arguments),
        PolicyCommand::Diff(arguments) => diff::run(arguments),
        PolicyCommand::DryRun(arguments) => dry_run::run(arguments).await,
        PolicyCommand::Sign(arguments) => signing::sign(arguments).await,
        PolicyCommand::Publish(arguments) => signing::publish(arguments).await,
    }
}
