//! Child processes of this same binary: the demo's authority, gateway and device are real processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::failure::{Ended, Failure, Named as _};

/// How long a child may take until it says that it is ready: starting on a loaded machine, not a network.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a child may take to end after it was asked.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Most that is shown of a child's log when it fails.
const LOG_TAIL: usize = 2_000;

/// A running child. It ends with this value unless it was told to stay.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stays: bool,
}

impl Process {
    /// Starts `countersign ARGS…` with its output in `log`.
    ///
    /// Unless it `stays`, its standard input is a pipe of ours, and `--until-input-ends` makes it end when we are gone,
    /// even by `kill -9`.
    pub(crate) fn start(
        name: &'static str,
        log: &Path,
        stays: bool,
        arguments: &[&str],
    ) -> Ended<Self> {
        use std::os::unix::process::CommandExt as _;
        let program = std::env::current_exe().named("finding this program's own file")?;
        let output = File::options().create(true).append(true).open(log).at(log)?;
        let errors = output.try_clone().at(log)?;
        let mut command = Command::new(program);
        command.args(["--log", "info,rustls=error"]).args(arguments);
        if stays {
            command.stdin(Stdio::null());
        } else {
            command.arg("--until-input-ends").stdin(Stdio::piped());
        }
        let child = command
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .named(format_args!("starting the {name}"))?;
        Ok(Self { name, child, log: log.to_owned(), stays })
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, when it has ended.
    pub(crate) fn runs(&mut self) -> Ended {
        match self.child.try_wait().named(self.name)? {
            Some(status) => Err(self.failure(&format!("ended early ({status})"))),
            None => Ok(()),
        }
    }

    /// Waits until `file` holds JSON that `wanted` accepts.
    pub(crate) async fn ready<T: DeserializeOwned>(
        &mut self,
        file: &Path,
        wanted: impl Fn(&T) -> bool,
    ) -> Ended<T> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(value) = read_json::<T>(file).filter(|value| wanted(value)) {
                return Ok(value);
            }
            self.runs()?;
            if Instant::now() > until {
                return Err(self.failure("did not become ready"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let start = log.len().saturating_sub(LOG_TAIL);
        let tail = log.get(start..).unwrap_or_default().trim();
        Failure::environment(format!(
            "the {} {what}; {} ends:\n{tail}",
            self.name,
            self.log.display()
        ))
    }

    /// Ends it, even if it was to stay.
    pub(crate) fn stop_now(&mut self) {
        if self.stays {
            let _ = self.child.kill();
        }
        self.stop();
    }

    /// Asks it to end, and makes it end when it does not.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
        let until = Instant::now() + END_WITHIN;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.stays {
            self.stop();
        }
    }
}

/// Reads a ready file; one that is not there, or not whole yet, is not ready.
pub(crate) fn read_json<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Resolves when the process is asked to end: Ctrl-C, SIGTERM, or the end of standard input where that was asked for.
/// Signals are heard from the call on, not only once this is waited for: whoever says that it is ready calls it before.
pub(crate) fn asked_to_end(until_input_ends: bool) -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = |kind| {
        let signal = signal(kind);
        async move {
            match signal {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        }
    };
    let (terminated, interrupted) =
        (heard(SignalKind::terminate()), heard(SignalKind::interrupt()));
    let input = async move {
        if until_input_ends {
            // A plain thread: a runtime's blocking read of standard input could not be abandoned.
            let (ended, wait) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                let _ = ended.send(());
            });
            let _ = wait.await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    async {
        tokio::select! {
            () = input => {}
            () = terminated => {}
            () = interrupted => {}
        }
    }
}
