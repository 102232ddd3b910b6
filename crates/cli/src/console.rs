//! What people see: progress where a terminal is, plain lines elsewhere, and nothing but JSON where JSON was asked for.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Starts the log on standard error. Payloads and secrets never reach it: no part logs them.
pub(crate) fn start_log(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,rustls=error"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// Writes to standard output; a reader that went away is no reason to fail.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints one JSON object.
pub(crate) fn json(value: &serde_json::Value) {
    say(&value.to_string());
}

/// What somebody at the terminal types in answer to a question; none where nobody sits there.
pub(crate) fn asked(question: &str) -> std::io::Result<Option<String>> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    Ok(Some(typed.trim().to_owned()))
}

/// Tells how far a long work is: one line that rewrites itself on a terminal, nothing elsewhere.
pub(crate) struct Progress {
    label: &'static str,
    shown: bool,
    last_percent: u64,
}

impl Progress {
    pub(crate) fn new(label: &'static str) -> Self {
        Self { label, shown: std::io::stderr().is_terminal(), last_percent: u64::MAX }
    }

    pub(crate) fn show(&mut self, done: u64, total: u64) {
        let percent = (done.saturating_mul(100)).checked_div(total).unwrap_or(100);
        if self.shown && percent != self.last_percent {
            self.last_percent = percent;
            eprint!("\r  {} {done}/{total} ({percent} %)\x1b[K", self.label);
            if done >= total {
                eprint!("\r\x1b[K");
            }
            let _ = std::io::stderr().flush();
        }
    }
}

/// Milliseconds, as every duration is told.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
