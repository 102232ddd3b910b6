//! What the agent starts is confined before its first instruction: files, system calls, processes, memory, network.
//!
//! ```text
//!  agent ── spawns ──► the same binary, `device confined PROFILE -- PROGRAM …`
//!                        closes descriptors · limits · landlock · seccomp · exec ──► PROGRAM
//!                      one process group, which ends as a whole
//! ```
//! The restrictions are put on by a process of ours on itself, so that nothing of it needs `unsafe`. A firmware that
//! embeds the SDK does the same: [`Launcher::at_start_of_main`] is its `main`'s first line, and the only way to a
//! [`Launcher`].
//!
//! ```no_run
//! use countersign_device::sandbox::{Launcher, RunsAs, Sandbox};
//! use countersign_device::functions::Programs;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let launcher = Launcher::at_start_of_main();
//! let data = std::path::Path::new("/var/lib/lamp");
//! let user = RunsAs::accepted(false)?;
//! let programs = Programs::new("/usr/lib/lamp".as_ref(), launcher, Sandbox::default(), data, user)?;
//! # Ok(())
//! # }
//! ```

mod calls;
mod confine;
mod group;
mod user;

pub use group::Group;
pub use user::{RunsAs, RunsAsRoot};

use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// What a program finds in its path when the agent has none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The two words after which this binary confines itself and becomes another program.
const WORDS: [&str; 2] = ["device", "confined"];

/// The status by which a helper says that it could not confine, and did not start the program.
pub(crate) const NOT_CONFINED: i32 = 125;

/// What to do where the kernel cannot confine wholly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing is started.
    #[default]
    Full,
    /// Programs run with what the kernel has; what is missing is logged at each start of the agent.
    BestEffort,
}

/// How programs are confined: `[sandbox]` of the bindings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// What to do where the kernel cannot confine wholly.
    pub level: Level,
    /// Files and folders that programs may read and execute, beside the system's and their own.
    pub read: Vec<PathBuf>,
    /// Files and folders that programs may change.
    pub write: Vec<PathBuf>,
    /// Whether programs may open sockets of IPv4 and IPv6. Raw ones never.
    pub network: bool,
    /// Whether programs may open Unix sockets, as for D-Bus.
    pub local_sockets: bool,
    /// Most memory of one process, in MiB, 16 to 65536.
    pub memory_mb: u64,
    /// Most processes of one call, 1 to 1024.
    pub processes: u64,
    /// Most open files of one process, 16 to 4096.
    pub open_files: u64,
    /// Largest file that a program may write, in MiB, 1 to 65536.
    pub file_mb: u64,
    /// Most seconds of processor time of one process, 1 to 3600; sources of events are not limited.
    pub cpu_secs: u64,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            level: Level::Full,
            read: Vec::new(),
            write: Vec::new(),
            network: false,
            local_sockets: false,
            memory_mb: 256,
            processes: 32,
            open_files: 64,
            file_mb: 16,
            cpu_secs: 10,
        }
    }
}

impl Sandbox {
    /// Relative paths start at `base`.
    pub(crate) fn based_at(mut self, base: &Path) -> Self {
        for path in self.read.iter_mut().chain(&mut self.write) {
            *path = base.join(&path);
        }
        self
    }

    /// Every fault, with the field and the mend.
    #[must_use]
    pub fn faults(&self, data: &Path) -> Vec<String> {
        let mut faults = Vec::new();
        for (field, value, least, most) in [
            ("memory_mb", self.memory_mb, 16, 65_536),
            ("processes", self.processes, 1, 1_024),
            ("open_files", self.open_files, 16, 4_096),
            ("file_mb", self.file_mb, 1, 65_536),
            ("cpu_secs", self.cpu_secs, 1, 3_600),
        ] {
            if !(least..=most).contains(&value) {
                faults.push(format!("sandbox.{field}: use {least} to {most}"));
            }
        }
        for (field, paths) in [("read", &self.read), ("write", &self.write)] {
            for path in paths {
                let at = format!("sandbox.{field}: {}", path.display());
                if !path.exists() {
                    faults.push(format!("{at}: there is nothing; make it, or take it out"));
                } else if shows(path, data) {
                    faults.push(format!("{at}: would show the device's keys; name less"));
                }
            }
        }
        let of_system = confine::SYSTEM.iter().find(|path| shows(Path::new(path), data));
        if let Some(path) = of_system {
            let data = data.display();
            faults.push(format!("data: {data} lies below {path}, which every program may read"));
        }
        faults
    }
}

//= specs/house.md#house-sandbox
//# A program that the device starts MUST NOT be able to read the device's data folder.
/// Whether leave to use `path` would be leave to use something of `data`.
fn shows(path: &Path, data: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (path, data) = (real(path), real(data));
    path.starts_with(&data) || data.starts_with(&path)
}

/// What a helper is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Profile {
    sandbox: Sandbox,
    /// The program and its folder of programs.
    own: Vec<PathBuf>,
    /// The agent, below which it has to end.
    parent: u32,
}

/// Starts programs confined. Whoever has one has the helper too.
#[derive(Debug, Clone)]
pub struct Launcher {
    helper: PathBuf,
}

impl Launcher {
    /// To be called first in `main`, while there is one thread: when this process was started as a helper, it confines
    /// itself, becomes the program and never returns.
    #[must_use]
    pub fn at_start_of_main() -> Self {
        let arguments: Vec<_> = std::env::args_os().skip(1).collect();
        if let Some(rest) = arguments.strip_prefix(&WORDS.map(Into::into)) {
            confine::become_program(rest);
        }
        // The link leads to this very file, even when an update has put another in its place.
        Self { helper: "/proc/self/exe".into() }
    }

    /// With another binary as the helper, whose `main` begins with [`Launcher::at_start_of_main`].
    #[must_use]
    pub fn with_helper(helper: &Path) -> Self {
        Self { helper: helper.to_owned() }
    }

    /// Programs run as they are: for tests of what is around them.
    #[cfg(test)]
    pub(crate) fn danger_unconfined() -> Self {
        Self { helper: PathBuf::new() }
    }

    /// Whether this kernel can confine as `sandbox` says; what is missing, where less is enough.
    ///
    /// # Errors
    /// What the kernel lacks, with the mend.
    //= specs/house.md#house-sandbox
    //# Where the kernel cannot confine a program wholly, the device MUST refuse to start it unless its configuration accepts less.
    pub fn probe(&self, sandbox: &Sandbox) -> Result<Vec<String>, String> {
        let profile = Profile { sandbox: sandbox.clone(), own: Vec::new(), parent: 0 };
        let output = std::process::Command::new(&self.helper)
            .args(WORDS)
            .arg(serde_json::to_string(&profile).unwrap_or_default())
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", self.helper.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(said.lines().map(str::to_owned).collect()),
            false => Err(said.trim().to_owned()),
        }
    }

    /// `program`, confined, in a process group of its own. `own` is what it may read and execute beside `sandbox`.
    pub(crate) fn command(
        &self,
        sandbox: &Sandbox,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        own: Option<&Path>,
    ) -> Command {
        let mut own: Vec<_> = own.map(Path::to_owned).into_iter().collect();
        own.push(program.to_owned());
        let profile = Profile { sandbox: sandbox.clone(), own, parent: std::process::id() };
        let mut command = if self.helper.as_os_str().is_empty() {
            Command::new(program)
        } else {
            let mut command = Command::new(&self.helper);
            let profile = serde_json::to_string(&profile).unwrap_or_default();
            command.args(WORDS).arg(profile).arg("--").arg(program);
            command
        };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Finds a program as a shell would: by its path from `base`, or by name.
///
/// # Errors
/// Why it cannot be started, in words.
pub(crate) fn find_program(name: &str, base: &Path) -> Result<PathBuf, String> {
    use nix::unistd::{AccessFlags, access};
    let runs = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        let path = base.join(name);
        return match () {
            () if runs(&path) => Ok(path),
            () if path.exists() => Err(format!("{}: is no program; chmod +x it", path.display())),
            () => Err(format!("{}: there is nothing", path.display())),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let found = path.as_bytes().split(|byte| *byte == b':').find_map(|folder| {
        let path = Path::new(OsStr::from_bytes(folder)).join(name);
        (path.is_absolute() && runs(&path)).then_some(path)
    });
    found.ok_or_else(|| format!("{name:?} is not found in PATH; write its whole path"))
}
