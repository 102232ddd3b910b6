//! The helper's side: a process restricts itself, step by step, and becomes the program.

use super::calls;
use super::{Level, NOT_CONFINED, Profile, Sandbox, user};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// What every program may read and execute: the system, where there is no secret.
pub(super) const SYSTEM: [&str; 15] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl/certs",
];

/// What a program with the network needs to find names.
const NAMES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/host.conf"];

/// Devices that hold nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The first kernel interface in which landlock holds all ways to change a file (Linux 6.2).
const FILES: ABI = ABI::V3;

const MIB: u64 = 1024 * 1024;

/// Confines this process and becomes the program. Without a program it only tells what is missing.
pub(super) fn become_program(arguments: &[OsString]) -> ! {
    let fail = |text: &str| -> ! {
        eprintln!("{text}");
        std::process::exit(NOT_CONFINED)
    };
    let profile = arguments.first().and_then(|text| text.to_str());
    let Some(profile) = profile.and_then(|text| serde_json::from_str::<Profile>(text).ok()) else {
        fail("device confined: for the agent alone; see `countersign device run --help`")
    };
    let missing = match confine(&profile) {
        Ok(missing) => missing,
        Err(text) => fail(&text),
    };
    match arguments.get(2..) {
        Some([program, arguments @ ..]) => {
            let error = Command::new(program).args(arguments).exec();
            fail(&format!("cannot be started: {error}"))
        }
        _ => {
            missing.iter().for_each(|text| eprintln!("{text}"));
            std::process::exit(0)
        }
    }
}

/// The steps, in the order in which each leaves the next one possible. Gives what the kernel lacks.
//= specs/house.md#house-sandbox
//# A program that the device starts MUST be confined before its first instruction.
fn confine(profile: &Profile) -> Result<Vec<String>, String> {
    let sandbox = &profile.sandbox;
    // 1. Nothing that the agent had open.
    close_descriptors()?;
    // 2. It ends with the agent; one that is gone already has another process in its place.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| step("prctl", error))?;
    if profile.parent != 0 && std::os::unix::process::parent_id() != profile.parent {
        return Err("the agent has ended".to_owned());
    }
    // 3. Limits of the kernel's.
    limits(sandbox).map_err(|error| step("limits", error))?;
    // 4. Files, signals, network; from here on no new privileges.
    let mut missing = Vec::new();
    let accept = |missing: &mut Vec<String>, what: String| match sandbox.level {
        Level::Full => Err(format!(
            "this kernel cannot confine programs: {what}; use Linux 6.2 or later with landlock and seccomp, or accept \
             less with sandbox.level = \"best-effort\""
        )),
        Level::BestEffort => {
            missing.push(what);
            Ok(())
        }
    };
    let scoped = match files(profile) {
        Ok(scoped) => scoped,
        Err(error) => {
            accept(&mut missing, format!("files are not confined (landlock: {error})"))?;
            false
        }
    };
    // 5. System calls.
    if let Err(error) = calls::restrict(sandbox, scoped, user::is_root()) {
        accept(&mut missing, format!("system calls are not confined (seccomp: {error})"))?;
    }
    Ok(missing)
}

fn step(what: &str, error: impl std::fmt::Display) -> String {
    format!("cannot be confined: {what}: {error}")
}

fn close_descriptors() -> Result<(), String> {
    let open = std::fs::read_dir("/proc/self/fd").map_err(|error| step("/proc/self/fd", error))?;
    let open: Vec<i32> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one of the listing itself is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

fn limits(sandbox: &Sandbox) -> nix::Result<()> {
    // What the agent itself is limited to is not given back.
    let set = |resource, most: u64| {
        let (soft, hard) = getrlimit(resource)?;
        let most = most.min(hard);
        // Root that is confined already can set none; what is set is enough.
        if (soft, hard) == (most, most) { Ok(()) } else { setrlimit(resource, most, most) }
    };
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_NOFILE, sandbox.open_files)?;
    set(Resource::RLIMIT_FSIZE, sandbox.file_mb * MIB)?;
    if sandbox.cpu_secs > 0 {
        set(Resource::RLIMIT_CPU, sandbox.cpu_secs)?;
    }
    // The kernel counts all of the user's tasks, and none of root's: the group's watch counts those.
    set(Resource::RLIMIT_NPROC, tasks_of_user() + sandbox.processes)?;
    set(Resource::RLIMIT_AS, sandbox.memory_mb * MIB)
}

/// Tasks that run as this user now.
fn tasks_of_user() -> u64 {
    let user = nix::unistd::getuid().to_string();
    let tasks = |path: std::path::PathBuf| -> Option<u64> {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next().map(str::to_owned)
        };
        (field("Uid:")? == user).then(|| field("Threads:")?.parse().ok())?
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| tasks(entry.path())).sum()
}

/// Puts landlock on; tells whether it keeps signals inside too.
fn files(profile: &Profile) -> Result<bool, String> {
    let sandbox = &profile.sandbox;
    let (rules, scoped) = match ruleset(true) {
        Ok(rules) => (rules, true),
        Err(_) => (ruleset(false).map_err(|error| error.to_string())?, false),
    };
    let all = AccessFs::from_all(FILES);
    let read = AccessFs::from_read(FILES);
    let change = all & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::Execute);
    let names = if sandbox.network { &NAMES[..] } else { &[] };
    let mut rules = rules;
    for path in SYSTEM.iter().chain(names) {
        rules = allow(rules, Path::new(path), read)?;
    }
    for path in DEVICES {
        rules = allow(rules, Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    for path in profile.own.iter().chain(&sandbox.read) {
        rules = allow(rules, path, read)?;
    }
    for path in &sandbox.write {
        rules = allow(rules, path, change)?;
    }
    rules.restrict_self().map_err(|error| error.to_string())?;
    Ok(scoped)
}

/// Everything is refused that no rule allows.
fn ruleset(scoped: bool) -> Result<RulesetCreated, RulesetError> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(FILES))?;
    let rules = match scoped {
        true => rules.scope(Scope::Signal)?.scope(Scope::AbstractUnixSocket)?,
        false => rules,
    };
    rules.create()
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, String> {
    // What is not there cannot be used.
    let Ok(descriptor) = PathFd::new(path) else { return Ok(rules) };
    // Rights to a folder's content say nothing of a file, and the kernel refuses them.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(FILES) };
    rules
        .add_rule(PathBeneath::new(descriptor, access))
        .map_err(|error| format!("{}: {error}", path.display()))
}
