//! The agent of a device by itself.

fn main() -> std::process::ExitCode {
    countersign_cli::agent()
}
