//! The whole system by its commands.

fn main() -> std::process::ExitCode {
    countersign_cli::main()
}
