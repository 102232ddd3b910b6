//! What the demonstration shows: numbered steps with live progress, the time of each, and what was seen.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use serde::Serialize;

use crate::console::millis;
use crate::failure::Ended;

/// The demonstration's steps, in order: name for machines, title for people.
pub(super) const STEPS: [(&str, &str); 10] = [
    ("ceremony", "Ceremony; authority and gateway start"),
    ("factory", "One factory identity; a device starts, factory-default"),
    ("label", "The device's label"),
    ("pairing", "Pairing by the setup code"),
    ("enrolment", "The device enrols and connects"),
    ("telemetry", "Telemetry and commands"),
    ("refusals", "What must fail, fails"),
    ("revocation", "Revocation and re-instatement"),
    ("policy", "The crypto policy is replaced while it runs"),
    ("assessment", "Assessment of the running device"),
];

/// One step's outcome, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    pub(super) millis: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Where the demonstration is.
pub(super) struct Stage {
    outcomes: Vec<Outcome>,
    colour: bool,
    to_stderr: bool,
}

impl Stage {
    /// With `json`, standard output is kept for the one object and people read standard error.
    pub(super) fn new(json: bool) -> Self {
        let terminal =
            if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        Self { outcomes: Vec::new(), colour: terminal, to_stderr: json }
    }

    /// Performs the next step. A failed one is told at once; those after it are not tried.
    pub(super) async fn step<T>(&mut self, work: impl Future<Output = Ended<T>>) -> Ended<T> {
        let (name, title) = STEPS[self.outcomes.len().min(STEPS.len() - 1)];
        let number = self.outcomes.len() + 1;
        self.line(&format!("\n{}", self.bold(&format!("{number}/{} {title}", STEPS.len()))));
        let started = Instant::now();
        let result = work.await;
        let millis = millis(started.elapsed());
        let error = result.as_ref().err().map(|failure| failure.text.clone());
        match &error {
            None => {
                self.line(&format!("  {} {}", self.green("✓"), self.dim(&format!("{millis} ms"))))
            }
            Some(error) => self.line(&format!("  {} {error}", self.red("✗"))),
        }
        self.outcomes.push(Outcome { name, ok: error.is_none(), millis, error });
        result
    }

    /// Every step, those that were not reached included: they did not hold either.
    pub(super) fn outcomes(&mut self) -> Vec<Outcome> {
        let mut all = std::mem::take(&mut self.outcomes);
        for (name, _) in STEPS.into_iter().skip(all.len()) {
            let error = Some("not reached".to_owned());
            all.push(Outcome { name, ok: false, millis: 0, error });
        }
        all
    }

    /// Who tells what happens within a step.
    pub(super) fn teller(&self) -> Teller {
        Teller { colour: self.colour, to_stderr: self.to_stderr }
    }

    pub(super) fn line(&self, text: &str) {
        self.teller().line(text);
    }

    fn bold(&self, text: &str) -> String {
        self.teller().paint("1", text)
    }
    fn dim(&self, text: &str) -> String {
        self.teller().paint("2", text)
    }
    fn green(&self, text: &str) -> String {
        self.teller().paint("32", text)
    }
    fn red(&self, text: &str) -> String {
        self.teller().paint("31", text)
    }
}

/// Tells what was seen within a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teller {
    colour: bool,
    to_stderr: bool,
}

impl Teller {
    /// Something that was seen.
    pub(super) fn saw(&self, text: &str) {
        self.line(&format!("  {} {text}", self.paint("36", "·")));
    }

    /// Something that was tried and refused, as it must be.
    pub(super) fn refused(&self, what: &str, how: &str) {
        let how = self.paint("2", &format!("— {how}"));
        self.line(&format!("  {} {what} {how}", self.paint("32", "refused:")));
    }

    pub(super) fn line(&self, text: &str) {
        // A reader that went away is no reason to stop half-way.
        let _ = if self.to_stderr {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }

    /// One line that rewrites itself, on a terminal only.
    pub(super) fn progress(&self, text: &str) {
        if self.colour {
            eprint!("\r  {text}\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }

    /// Clears the progress line.
    pub(super) fn progress_done(&self) {
        if self.colour {
            eprint!("\r\x1b[K");
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[tokio::test]
    async fn steps_not_reached_did_not_hold() {
        let mut stage = Stage::new(true);
        stage.step(async { Ok(()) }).await.unwrap();
        let failed: Ended = stage.step(async { Err(Failure::found("no")) }).await;
        assert!(failed.is_err());
        let outcomes = stage.outcomes();
        assert_eq!(outcomes.len(), STEPS.len());
        assert!(outcomes[0].ok && outcomes[1..].iter().all(|outcome| !outcome.ok));
        assert_eq!(outcomes[2].error.as_deref(), Some("not reached"));
    }
}
