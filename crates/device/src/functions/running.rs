//! Running programs: confined, within limits of time, output and number, ended with all that they started.

use super::FunctionError;
use crate::sandbox::{Group, Launcher, NOT_CONFINED, Sandbox};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::sync::Semaphore;

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

/// A program to be run.
pub(super) struct What<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    /// Its folder, where it runs, and which it may read.
    pub(super) folder: Option<&'a Path>,
    pub(super) sandbox: &'a Sandbox,
}

/// Runs programs.
#[derive(Debug)]
pub(super) struct Runner {
    launcher: Launcher,
    turns: Semaphore,
    time_limit: Duration,
    max_output: usize,
}

impl Runner {
    pub(super) fn new(
        launcher: Launcher,
        at_once: usize,
        time_limit: Duration,
        max_output: usize,
    ) -> Self {
        Self { launcher, turns: Semaphore::new(at_once), time_limit, max_output }
    }

    /// Runs a program to its end and gives what it printed. `input` is given on its standard input.
    pub(super) async fn run(
        &self,
        name: &str,
        what: &What<'_>,
        input: Option<&str>,
    ) -> Result<Vec<u8>, FunctionError> {
        let limited = tokio::time::timeout(self.time_limit, async {
            let _turn = self.turns.acquire().await.map_err(|_| failed(name, "is shutting down"))?;
            let mut command = self.command(what, what.sandbox);
            command.stdin(Stdio::piped()).stderr(Stdio::piped());
            let mut group = Group::start(&mut command)
                .map_err(|error| failed(name, &format!("cannot be started: {error}")))?;
            let crowded = group.crowded(what.sandbox.processes);
            tokio::select! {
                talk = converse(&mut group, input, self.max_output) => talk
                    .map_err(|error| failed(name, &error.to_string())),
                () = crowded => Err(failed(name, "started too many processes")),
            }
        });
        // The whole group is ended when it is dropped.
        let (output, reason, status) =
            limited.await.map_err(|_| failed(name, "took too long")).flatten()?;
        match status {
            Some(0) if output.len() > self.max_output => Err(failed(name, "printed too much")),
            Some(0) => Ok(output),
            Some(NOT_ACCEPTED) => Err(FunctionError::Input(first_line(&reason))),
            Some(NOT_CONFINED) => Err(failed(name, &first_line(&reason))),
            Some(_) => Err(failed(name, &format!("ended badly: {}", first_line(&reason)))),
            None => Err(failed(name, &format!("was ended: {}", first_line(&reason)))),
        }
    }

    /// Starts a program that runs as long as the agent and prints lines.
    pub(super) fn lines(&self, name: &str, what: &What<'_>) -> Result<Lines, FunctionError> {
        // As long as the agent: its processor time adds up.
        let sandbox = Sandbox { cpu_secs: 0, ..what.sandbox.clone() };
        let mut command = self.command(what, &sandbox);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut group = Group::start(&mut command)
            .map_err(|error| failed(name, &format!("cannot be started: {error}")))?;
        let output =
            group.child.stdout.take().ok_or_else(|| failed(name, "has no standard output"))?;
        let (most, max_line) = (sandbox.processes, self.max_output);
        Ok(Lines { group, output: BufReader::new(output), most, max_line, line: Vec::new() })
    }

    fn command(&self, what: &What<'_>, sandbox: &Sandbox) -> Command {
        let mut command = self.launcher.command(sandbox, what.program, what.arguments, what.folder);
        command.stdout(Stdio::piped());
        if let Some(folder) = what.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// The lines of a program that goes on.
#[derive(Debug)]
pub(super) struct Lines {
    group: Group,
    output: BufReader<ChildStdout>,
    most: u64,
    max_line: usize,
    /// What has come of a line; kept here, so that whoever stops waiting loses nothing.
    line: Vec<u8>,
}

impl Lines {
    /// The next line; none at the end. A line that is too long is the end.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        let crowded = self.group.crowded(self.most);
        let read = async {
            loop {
                let chunk = self.output.fill_buf().await.ok()?;
                let end = chunk.iter().position(|byte| *byte == b'\n');
                let taken = end.map_or(chunk.len(), |end| end + 1);
                self.line.extend_from_slice(&chunk[..end.unwrap_or(taken)]);
                self.output.consume(taken);
                if taken == 0 || self.line.len() > self.max_line {
                    return None;
                }
                if end.is_some() {
                    return Some(std::mem::take(&mut self.line));
                }
            }
        };
        tokio::select! {
            line = read => line,
            () = crowded => None,
        }
    }
}

type Said = (Vec<u8>, Vec<u8>, Option<i32>);

async fn converse(group: &mut Group, input: Option<&str>, most: usize) -> std::io::Result<Said> {
    let child = &mut group.child;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that does not care to read its input is no failure.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let take = bounded(stdout, most + 1);
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

fn failed(name: &str, what: &str) -> FunctionError {
    FunctionError::Failed(format!("{name} {what}"))
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned()
}
