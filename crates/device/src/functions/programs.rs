//! An existing product behind the gate: one small program for each property and action, in any language.
//!
//! ```text
//!  FOLDER/properties/NAME read            prints the value as JSON
//!  FOLDER/properties/NAME write           gets the new value as JSON on its standard input
//!  FOLDER/actions/NAME                    gets the input as JSON, may print an output as JSON
//!  FOLDER/events                          runs as long as the agent; prints {"name": …, "data": …} lines
//! ```
//!
//! Programs run without a shell, with an empty environment but `PATH`, one time limit and one output limit.
//! Exit status 0 is done; 2 is "I do not take this value", and the first line of standard error says why;
//! anything else is a failure.

use super::{Answer, FunctionError, Functions, ProductEvent};
use countersign_model::id::AffordanceName;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Mutex, Semaphore};

/// How long a program may take: an owner waits for the answer.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes read from a program, and the longest line of `events`: what the local API would send on.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// Programs at once; more requests wait their turn.
pub const MAX_AT_ONCE: usize = 4;

/// The status by which a program says that the caller's value is at fault.
const NOT_ACCEPTED: i32 = 2;

/// Longest reason passed on from a program.
const MAX_REASON: usize = 200;

/// A folder of programs.
#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    time_limit: Duration,
    turns: Semaphore,
    events: Mutex<Option<EventSource>>,
}

#[derive(Debug)]
struct EventSource {
    _child: Child,
    lines: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    name: AffordanceName,
    #[serde(default)]
    data: Value,
}

impl Programs {
    /// The programs below `folder`, which must exist.
    ///
    /// # Errors
    /// When `folder` is no folder.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        Self::with_time_limit(folder, TIME_LIMIT)
    }

    /// As [`Programs::new`], with another time limit.
    ///
    /// # Errors
    /// When `folder` is no folder.
    pub fn with_time_limit(folder: &Path, time_limit: Duration) -> std::io::Result<Self> {
        let folder = folder.canonicalize()?;
        if !folder.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
        }
        let turns = Semaphore::new(MAX_AT_ONCE);
        Ok(Self { folder, time_limit, turns, events: Mutex::new(None) })
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
        let _turn = self.turns.acquire().await.map_err(|_| failed(name, "is shutting down"))?;
        let mut command = command(&self.folder, &program);
        command.args(verb).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(name, &error))?;
        let talk = converse(&mut child, input);
        match tokio::time::timeout(self.time_limit, talk).await {
            Ok(Ok((output, reason, status))) => match status {
                Some(0) if output.len() > MAX_OUTPUT => Err(failed(name, "printed too much")),
                Some(0) => Ok(output),
                Some(NOT_ACCEPTED) => Err(FunctionError::Input(first_line(&reason))),
                _ => Err(failed(name, &format!("ended badly: {}", first_line(&reason)))),
            },
            Ok(Err(error)) => Err(failed(name, &error.to_string())),
            // The child is killed when it is dropped.
            Err(_) => Err(failed(name, "took too long")),
        }
    }

    async fn event_line(&self) -> Result<ProductEvent, FunctionError> {
        let mut events = self.events.lock().await;
        if events.is_none() {
            let program = self.folder.join("events");
            if !program.is_file() {
                return std::future::pending().await;
            }
            let mut child = command(&self.folder, &program)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| FunctionError::Failed(format!("events: {error}")))?;
            let output = child.stdout.take();
            *events =
                output.map(|output| EventSource { _child: child, lines: BufReader::new(output) });
        }
        let source =
            events.as_mut().ok_or_else(|| FunctionError::Failed("events: no output".to_owned()))?;
        let mut line = Vec::new();
        let mut bounded: Take<_> = (&mut source.lines).take(MAX_OUTPUT as u64);
        let read = bounded.read_until(b'\n', &mut line).await;
        match (read, serde_json::from_slice::<EventLine>(&line)) {
            (Ok(read), Ok(event)) if read > 0 => {
                Ok(ProductEvent { name: event.name, data: event.data })
            }
            (Ok(0) | Err(_), _) => {
                *events = None;
                Err(FunctionError::Failed("events: the program ended".to_owned()))
            }
            (Ok(_), Err(error)) => {
                Err(FunctionError::Failed(format!("events: not a line of {{name, data}}: {error}")))
            }
            (Ok(_), Ok(_)) => Err(FunctionError::Failed("events: an empty line".to_owned())),
        }
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

fn command(folder: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().stdout(Stdio::piped()).kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

async fn converse(
    child: &mut Child,
    input: Option<&Value>,
) -> std::io::Result<(Vec<u8>, Vec<u8>, Option<i32>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that does not care to read its input is no failure.
            let _ = stdin.write_all(input.to_string().as_bytes()).await;
        }
    };
    let take = bounded(stdout, MAX_OUTPUT + 1);
    let complain = bounded(stderr, MAX_REASON);
    let ((), output, reason) = tokio::join!(give, take, complain);
    let status = child.wait().await?;
    Ok((output?, reason?, status.code()))
}

async fn bounded<R: tokio::io::AsyncRead + Unpin>(
    stream: Option<R>,
    limit: usize,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream).take(limit as u64).read_to_end(&mut bytes).await?;
        // What lies beyond is read and dropped, so that the program is not stuck writing it.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

fn not_started(name: &AffordanceName, error: &std::io::Error) -> FunctionError {
    match error.kind() {
        std::io::ErrorKind::NotFound => FunctionError::NotThere(name.to_string()),
        _ => failed(name, &format!("cannot be started: {error}")),
    }
}

fn failed(name: &AffordanceName, what: &str) -> FunctionError {
    FunctionError::Failed(format!("{name} {what}"))
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned()
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
        let programs = Programs::with_time_limit(folder.path(), Duration::from_secs(2)).unwrap();
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
