//! An existing product behind the gate: one small program for each property and action, in any language.
//!
//! ```text
//!  FOLDER/properties/NAME read            prints the value as JSON
//!  FOLDER/properties/NAME write           gets the new value as JSON on its standard input
//!  FOLDER/actions/NAME                    gets the input as JSON, may print an output as JSON
//!  FOLDER/events                          runs as long as the agent; prints {"name": …, "data": …} lines
//! ```
//!
//! Programs run without a shell, confined ([`crate::sandbox`]), with an empty environment but `PATH`, one time limit and
//! one output limit. Exit status 0 is done; 2 is "I do not take this value", and the first line of standard error says
//! why; anything else is a failure.

use super::running::{Lines, Runner, What};
use super::{Answer, FunctionError, Functions, ProductEvent};
use crate::sandbox::{Launcher, RunsAs, Sandbox};
use countersign_model::id::AffordanceName;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;

pub use super::running::{MAX_AT_ONCE, MAX_OUTPUT, TIME_LIMIT};

/// A folder of programs.
#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    runner: Runner,
    sandbox: Sandbox,
    events: Mutex<Option<Lines>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    name: AffordanceName,
    #[serde(default)]
    data: Value,
}

impl Programs {
    /// The programs below `folder`, which must exist. None of them may read `data`, the device's data folder.
    ///
    /// # Errors
    /// When `folder` is no folder, or `sandbox` cannot be used, here or with these folders.
    pub fn new(
        folder: &Path,
        launcher: Launcher,
        sandbox: Sandbox,
        data: &Path,
        _user: RunsAs,
    ) -> std::io::Result<Self> {
        let other = std::io::Error::other::<String>;
        let mut seen = sandbox.clone();
        seen.read.push(folder.to_owned());
        if let Some(fault) = seen.faults(data).into_iter().next() {
            return Err(other(fault));
        }
        for missing in launcher.probe(&sandbox).map_err(other)? {
            tracing::warn!("programs run with less than all confinement: {missing}");
        }
        Self::with_time_limit(folder, launcher, sandbox, TIME_LIMIT)
    }

    fn with_time_limit(
        folder: &Path,
        launcher: Launcher,
        sandbox: Sandbox,
        time_limit: Duration,
    ) -> std::io::Result<Self> {
        let folder = folder.canonicalize()?;
        if !folder.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
        }
        let runner = Runner::new(launcher, MAX_AT_ONCE, time_limit, MAX_OUTPUT);
        Ok(Self { folder, runner, sandbox, events: Mutex::new(None) })
    }

    async fn run(
        &self,
        kind: &str,
        name: &AffordanceName,
        verb: Option<&str>,
        input: Option<&Value>,
    ) -> Result<Vec<u8>, FunctionError> {
        // A name is a plain file name (model::id): it cannot leave the folder.
        let program = self.folder.join(kind).join(name.as_str());
        if !program.is_file() {
            return Err(FunctionError::NotThere(name.to_string()));
        }
        let arguments: Vec<_> = verb.map(str::to_owned).into_iter().collect();
        let what = self.what(&program, &arguments);
        let input = input.map(ToString::to_string);
        self.runner.run(name.as_str(), &what, input.as_deref()).await
    }

    fn what<'a>(&'a self, program: &'a Path, arguments: &'a [String]) -> What<'a> {
        What { program, arguments, folder: Some(&self.folder), sandbox: &self.sandbox }
    }

    async fn event_line(&self) -> Result<ProductEvent, FunctionError> {
        let mut events = self.events.lock().await;
        let program = self.folder.join("events");
        let lines = match &mut *events {
            Some(lines) => lines,
            None if program.is_file() => {
                events.insert(self.runner.lines("events", &self.what(&program, &[]))?)
            }
            None => return std::future::pending().await,
        };
        let Some(line) = lines.next().await else {
            *events = None;
            return Err(FunctionError::Failed("events: the program ended".to_owned()));
        };
        let event: EventLine = serde_json::from_slice(&line).map_err(|error| {
            FunctionError::Failed(format!("events: not a line of {{name, data}}: {error}"))
        })?;
        Ok(ProductEvent { name: event.name, data: event.data })
    }
}

impl Functions for Programs {
    fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value> {
        Box::pin(async move {
            let output = self.run("properties", property, Some("read"), None).await?;
            serde_json::from_slice(&output)
                .map_err(|error| failed(property, &format!("printed no JSON: {error}")))
        })
    }

    fn write<'a>(&'a self, property: &'a AffordanceName, value: Value) -> Answer<'a, ()> {
        Box::pin(async move {
            self.run("properties", property, Some("write"), Some(&value)).await.map(|_| ())
        })
    }

    fn invoke<'a>(&'a self, action: &'a AffordanceName, input: Value) -> Answer<'a, Value> {
        Box::pin(async move {
            let output = self.run("actions", action, None, Some(&input)).await?;
            if output.iter().all(u8::is_ascii_whitespace) {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&output)
                .map_err(|error| failed(action, &format!("printed no JSON: {error}")))
        })
    }

    fn next_event(&self) -> Answer<'_, ProductEvent> {
        Box::pin(self.event_line())
    }
}

fn failed(name: &AffordanceName, what: &str) -> FunctionError {
    FunctionError::Failed(format!("{name} {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn product(programs: &[(&str, &str)]) -> (tempfile::TempDir, Programs) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in programs {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let programs = Programs::with_time_limit(
            folder.path(),
            Launcher::danger_unconfined(),
            Sandbox::default(),
            Duration::from_secs(2),
        )
        .unwrap();
        (folder, programs)
    }

    fn name(text: &str) -> AffordanceName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_property_is_a_file_behind_a_program() {
        let script = "case $1 in read) cat level ;; write) cat > level ;; esac";
        let (_folder, product) = product(&[("properties/level", script)]);
        product.write(&name("level"), json!(42)).await.unwrap();
        assert_eq!(product.read(&name("level")).await.unwrap(), json!(42));
        assert!(matches!(product.read(&name("other")).await, Err(FunctionError::NotThere(_))));
    }

    #[tokio::test]
    async fn actions_answer_refuse_fail_and_are_stopped() {
        let (_folder, product) = product(&[
            ("actions/echo", "cat"),
            ("actions/quiet", "exit 0"),
            ("actions/picky", "echo 'only 1 to 5' >&2; exit 2"),
            ("actions/broken", "echo 'no bus' >&2; exit 1"),
            ("actions/slow", "exec sleep 30"),
            ("actions/flood", "exec yes"),
        ]);
        assert_eq!(product.invoke(&name("echo"), json!({"a": 1})).await.unwrap(), json!({"a": 1}));
        assert_eq!(product.invoke(&name("quiet"), Value::Null).await.unwrap(), Value::Null);
        let refused = product.invoke(&name("picky"), json!(9)).await;
        assert_eq!(refused, Err(FunctionError::Input("only 1 to 5".to_owned())));
        let broken = product.invoke(&name("broken"), Value::Null).await.unwrap_err();
        assert!(broken.to_string().contains("no bus"), "{broken}");
        for endless in ["slow", "flood"] {
            let stopped = product.invoke(&name(endless), Value::Null).await.unwrap_err();
            assert!(stopped.to_string().contains("too long"), "{stopped}");
        }
    }

    #[tokio::test]
    async fn nothing_of_our_environment_reaches_a_program() {
        let (_folder, product) = product(&[("actions/env", "printf '\"%s\"' \"$HOME$CARGO\"")]);
        assert_eq!(product.invoke(&name("env"), Value::Null).await.unwrap(), json!(""));
    }

    #[tokio::test]
    async fn events_are_lines_and_a_bad_one_does_not_end_them() {
        let lines =
            "echo '{\"name\":\"alarm\",\"data\":3}'; echo rubbish; echo '{\"name\":\"calm\"}'";
        let (_folder, product) = product(&[("events", lines)]);
        assert_eq!(product.next_event().await.unwrap().data, json!(3));
        assert!(product.next_event().await.is_err());
        assert_eq!(product.next_event().await.unwrap().name.as_str(), "calm");
        assert!(product.next_event().await.is_err(), "the program has ended");
    }
}
