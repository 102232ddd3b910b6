//! Child processes with bounded lives.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A command that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    what: String,
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}: {self}");
        self
    }

    /// Fails the test unless the command said this, on either stream.
    #[track_caller]
    pub(crate) fn saying(self, words: &str) -> Self {
        assert!(
            self.stdout.contains(words) || self.stderr.contains(words),
            "expected the words {words:?}: {self}"
        );
        self
    }

    /// Fails the test when the command ended as a bug would end it.
    #[track_caller]
    pub(crate) fn without_panic(self) -> Self {
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, code, stdout, stderr } = self;
        write!(f, "{what}\nexit code {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A command that is running. It is killed when this value goes away, by a failed test too.
pub(crate) struct Running {
    what: String,
    child: Child,
    stdout: Arc<Stream>,
    stderr: Arc<Stream>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let stdout = Stream::follow(child.stdout.take().unwrap());
        let stderr = Stream::follow(child.stderr.take().unwrap());
        Self { what, child, stdout, stderr }
    }

    /// Its standard input, once.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("the input is taken once")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until either stream holds these words.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) {
        super::until(&format!("{words:?} from {}", self.what), || {
            (self.stdout().contains(words) || self.stderr().contains(words)).then_some(())
        });
    }

    /// The lines of standard output from number `first` on, as soon as there are `count` of them.
    #[track_caller]
    pub(crate) fn lines(&self, first: usize, count: usize) -> Vec<String> {
        self.stdout
            .wait(PATIENCE, |text| {
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                let lines: Vec<_> = whole.lines().skip(first).map(str::to_owned).collect();
                (lines.len() >= count).then_some(lines)
            })
            .unwrap_or_else(|| panic!("{count} lines did not come: {}", self.seen()))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to end, as an init system does.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.id())]).status();
        assert!(sent.unwrap().success());
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; `None` when it had to be killed.
    pub(crate) fn end_within(mut self, within: Duration) -> Option<Finished> {
        drop(self.child.stdin.take());
        let give_up = Instant::now() + within;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > give_up => return None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Some(self.finished(status))
    }

    /// Waits for its end; a process that does not end is a failure.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished {
        let what = self.what.clone();
        self.end_within(PATIENCE).unwrap_or_else(|| panic!("did not end: {what}"))
    }

    /// What it said so far, to explain a failure.
    pub(crate) fn seen(&self) -> String {
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.what, self.stdout(), self.stderr())
    }

    fn finished(&mut self, status: ExitStatus) -> Finished {
        let rest = Duration::from_secs(5);
        let ended = |stream: &Stream| stream.wait_for_end(rest);
        let (stdout, stderr) = (ended(&self.stdout), ended(&self.stderr));
        Finished { what: self.what.clone(), code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process writes, collected by a thread so that it never blocks on us.
struct Stream {
    seen: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Stream {
    fn follow(mut from: impl Read + Send + 'static) -> Arc<Self> {
        let stream = Arc::new(Self { seen: Mutex::default(), changed: Condvar::new() });
        let into = stream.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = from.read(&mut buffer).unwrap_or(0);
                let mut seen = into.seen.lock().unwrap();
                seen.0.push_str(&String::from_utf8_lossy(&buffer[..count]));
                seen.1 = count == 0;
                into.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        stream
    }

    fn text(&self) -> String {
        self.seen.lock().unwrap().0.clone()
    }

    fn wait<T>(&self, within: Duration, mut look: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let give_up = Instant::now() + within;
        let mut seen = self.seen.lock().unwrap();
        loop {
            let found = look(&seen.0);
            let left = give_up.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() || seen.1 {
                return found;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    fn wait_for_end(&self, within: Duration) -> String {
        self.wait::<()>(within, |_| None);
        self.text()
    }
}

/// `countersign ARGUMENTS…`, run to its end.
pub(crate) fn countersign<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    Running::start(&mut program(arguments)).finish().without_panic()
}

/// `countersign ARGUMENTS…`, which must refuse with this exit code; what it said.
#[track_caller]
pub(crate) fn countersign_fails<S: AsRef<OsStr>>(
    code: i32,
    arguments: impl IntoIterator<Item = S>,
) -> Finished {
    countersign(arguments).with_code(code)
}

/// The command `countersign ARGUMENTS…`, not started yet.
pub(crate) fn program<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).env_remove("COUNTERSIGN_LOG").env("RUST_BACKTRACE", "1");
    command
}

/// A client program of the system's. A missing one is a failure: nothing is skipped in silence.
pub(crate) fn need(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found: Option<PathBuf> =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let Some(file) = found else {
        panic!("{name} is not installed: `./test` installs what the tests need");
    };
    Command::new(file)
}

/// Runs a client program to its end with this on its standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Finished {
    let mut running = Running::start(command);
    // A program that does not read to the end has its reason, and says it.
    let _ = running.input().write_all(input);
    running.finish()
}
