//! System calls that a confined program does not get: what reaches other processes, the kernel, or the network.
//!
//! A list of what is refused and not of what is allowed, since the programs are anybody's. It ends with an error, not
//! with the program's death: most programs then say what they missed.

use super::Sandbox;
use nix::libc as sys;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use std::collections::BTreeMap;

/// Refused whatever the arguments are.
const NEVER: &[i64] = &[
    // Other processes.
    sys::SYS_ptrace,
    sys::SYS_process_vm_readv,
    sys::SYS_process_vm_writev,
    sys::SYS_process_madvise,
    sys::SYS_pidfd_getfd,
    sys::SYS_kcmp,
    // Leaving the process group, which ends as a whole.
    sys::SYS_setsid,
    sys::SYS_setpgid,
    // What seccomp cannot look into.
    sys::SYS_io_uring_setup,
    sys::SYS_io_uring_enter,
    sys::SYS_io_uring_register,
    // Namespaces and file systems.
    sys::SYS_unshare,
    sys::SYS_setns,
    sys::SYS_mount,
    sys::SYS_umount2,
    sys::SYS_pivot_root,
    sys::SYS_chroot,
    sys::SYS_move_mount,
    sys::SYS_open_tree,
    sys::SYS_fsopen,
    sys::SYS_fsmount,
    sys::SYS_fsconfig,
    sys::SYS_fspick,
    sys::SYS_mount_setattr,
    sys::SYS_open_by_handle_at,
    sys::SYS_name_to_handle_at,
    sys::SYS_quotactl,
    sys::SYS_swapon,
    sys::SYS_swapoff,
    // The kernel.
    sys::SYS_bpf,
    sys::SYS_perf_event_open,
    sys::SYS_userfaultfd,
    sys::SYS_keyctl,
    sys::SYS_add_key,
    sys::SYS_request_key,
    sys::SYS_init_module,
    sys::SYS_finit_module,
    sys::SYS_delete_module,
    sys::SYS_kexec_load,
    sys::SYS_reboot,
    sys::SYS_acct,
    sys::SYS_syslog,
    sys::SYS_settimeofday,
    sys::SYS_clock_settime,
    sys::SYS_adjtimex,
    sys::SYS_clock_adjtime,
    sys::SYS_sethostname,
    sys::SYS_setdomainname,
    sys::SYS_mknodat,
];

/// Signals, where landlock cannot keep them inside: without them no program can end the agent.
const SIGNALS: &[i64] = &[
    sys::SYS_kill,
    sys::SYS_tkill,
    sys::SYS_tgkill,
    sys::SYS_rt_sigqueueinfo,
    sys::SYS_rt_tgsigqueueinfo,
    sys::SYS_pidfd_send_signal,
];

/// With the process that is meant as their first argument: allowed on the caller itself, which is 0.
const OF_ONE_PROCESS: [i64; 5] = [
    sys::SYS_prlimit64,
    sys::SYS_sched_setaffinity,
    sys::SYS_sched_setscheduler,
    sys::SYS_sched_setparam,
    sys::SYS_sched_setattr,
];

/// With the kind of what is meant as their first argument, and which one as their second: allowed on the caller itself,
/// whose kind is this. `PRIO_PROCESS`, and `IOPRIO_WHO_PROCESS`.
const OF_SOME: [(i64, u64); 2] = [(sys::SYS_setpriority, 0), (sys::SYS_ioprio_set, 1)];

/// What lets the kernel send a signal for a file: `F_SETOWN`, `F_SETSIG`, `F_SETOWN_EX` of fcntl, and `FIOSETOWN`,
/// `SIOCSPGRP` of ioctl. Refused where signals are.
const FILE_SIGNALS: [u64; 3] = [8, 10, 15];
const SOCKET_SIGNALS: [u64; 2] = [0x8901, 0x8902];

/// `clone` with any of these makes a namespace.
const NAMESPACES: [i32; 7] = [
    sys::CLONE_NEWNS,
    sys::CLONE_NEWUSER,
    sys::CLONE_NEWPID,
    sys::CLONE_NEWNET,
    sys::CLONE_NEWIPC,
    sys::CLONE_NEWUTS,
    sys::CLONE_NEWCGROUP,
];

/// Kinds of socket that any protocol may be spoken through, SOCK_RAW and SOCK_PACKET: the low bits of the type.
const RAW: [i32; 2] = [sys::SOCK_RAW, 10];
const KIND: u64 = 0xF;

/// Typing on the terminal of whoever started the agent.
const TERMINAL: [u64; 2] = [0x5412, 0x541C];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Puts the filters on; they hold for all that this process becomes and starts.
pub(super) fn restrict(sandbox: &Sandbox, signals_scoped: bool, root: bool) -> Result<(), String> {
    let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    if !signals_scoped {
        rules.extend(SIGNALS.iter().map(|call| (*call, Vec::new())));
        let owners = FILE_SIGNALS.map(|command| rule(&[equal(1, command)]));
        rules.insert(sys::SYS_fcntl, owners.into_iter().collect::<Result<_, _>>()?);
    }
    others(&mut rules)?;
    if root {
        limits_of_root(&mut rules)?;
    }
    old_calls(&mut rules);
    let clone = NAMESPACES.map(|flag| rule(&[masked(0, flag as u64, flag as u64)]));
    rules.insert(sys::SYS_clone, clone.into_iter().collect::<Result<_, _>>()?);
    let owners = if signals_scoped { &[][..] } else { &SOCKET_SIGNALS };
    let requests = TERMINAL.iter().chain(owners).map(|request| rule(&[equal(1, *request)]));
    rules.insert(sys::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    rules.insert(sys::SYS_socket, sockets(sandbox)?);
    apply(rules, sys::EPERM)?;
    // The arguments of clone3 cannot be looked into; without it, the C library takes clone.
    apply(Rules::from([(sys::SYS_clone3, Vec::new())]), sys::ENOSYS)
}

/// Limits, priorities and processors of another process: whoever sets those of the agent can end it.
fn others(rules: &mut Rules) -> Result<(), String> {
    let other = |argument, own| condition(argument, SeccompCmpOp::Ne, own);
    for call in OF_ONE_PROCESS {
        rules.insert(call, vec![rule(&[other(0, 0)])?]);
    }
    for (call, own) in OF_SOME {
        rules.insert(call, vec![rule(&[other(0, own)])?, rule(&[other(1, 0)])?]);
    }
    Ok(())
}

/// Root may raise what it was limited to, and so gets no new limits at all. A null pointer asks what they are.
fn limits_of_root(rules: &mut Rules) -> Result<(), String> {
    rules.insert(sys::SYS_setrlimit, Vec::new());
    let given = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)
        .map_err(|error| error.to_string());
    rules.entry(sys::SYS_prlimit64).or_default().push(rule(&[given])?);
    Ok(())
}

/// Which sockets are refused.
//= specs/house.md#house-sandbox
//# A program that the device starts MUST NOT open a network socket unless its binding allows it.
fn sockets(sandbox: &Sandbox) -> Result<Vec<SeccompRule>, String> {
    let mut refused: Vec<_> =
        RAW.iter().map(|kind| rule(&[masked(1, KIND, *kind as u64)])).collect();
    // Every family but the allowed ones: a rule holds when all its conditions do.
    let allowed = [
        (sys::AF_UNIX, sandbox.local_sockets),
        (sys::AF_INET, sandbox.network),
        (sys::AF_INET6, sandbox.network),
    ];
    let others: Vec<_> = allowed
        .iter()
        .filter(|(_, allowed)| *allowed)
        .map(|(family, _)| condition(0, SeccompCmpOp::Ne, *family as u64))
        .collect();
    match others.is_empty() {
        true => return Ok(Vec::new()),
        false => refused.push(rule(&others)),
    }
    refused.into_iter().collect()
}

#[cfg(target_arch = "x86_64")]
fn old_calls(rules: &mut Rules) {
    rules.extend([sys::SYS_mknod, sys::SYS_iopl, sys::SYS_ioperm].map(|call| (call, Vec::new())));
    // The same calls by the numbers of the x32 interface, where a kernel has it, and those that it alone has.
    const X32: i64 = 0x4000_0000;
    let twins: Vec<_> = rules.keys().map(|call| call | X32).collect();
    rules.extend(twins.into_iter().chain((512..=547).map(|call| call | X32)).map(|c| (c, vec![])));
    let rest = [sys::SYS_socket, sys::SYS_clone, sys::SYS_clone3, sys::SYS_ioctl];
    rules.extend(rest.map(|call| (call | X32, Vec::new())));
}

#[cfg(not(target_arch = "x86_64"))]
fn old_calls(_: &mut Rules) {}

fn apply(rules: Rules, error: i32) -> Result<(), String> {
    let arch = std::env::consts::ARCH;
    let arch = arch.try_into().map_err(|_| format!("not known on {arch}"))?;
    let refused = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch);
    let program: BpfProgram =
        filter.and_then(TryInto::try_into).map_err(|error| error.to_string())?;
    apply_filter(&program).map_err(|error| error.to_string())
}

type Condition = Result<SeccompCondition, String>;

fn condition(argument: u8, operation: SeccompCmpOp, value: u64) -> Condition {
    // The kernel takes families, kinds and requests as 32-bit numbers, and ignores what stands above.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
        .map_err(|error| error.to_string())
}

fn equal(argument: u8, value: u64) -> Condition {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Condition {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

fn rule(conditions: &[Condition]) -> Result<SeccompRule, String> {
    let conditions = conditions.iter().cloned().collect::<Result<_, _>>()?;
    SeccompRule::new(conditions).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What each attempt of a program comes to, by its error's number; 0 where it is allowed. What a mistake of the
    /// filter would let through changes nothing: each sets what is set already.
    const ATTEMPTS: &str = r#"
import ctypes, fcntl, os, resource, socket, struct
libc, agent, one = ctypes.CDLL(None, use_errno=True), os.getppid(), socket.socketpair()[0]
owner, process = struct.pack("ii", 1, agent), struct.pack("i", agent)
def raw(*arguments):
    if libc.syscall(*arguments) < 0: raise OSError(ctypes.get_errno(), "")
def io(command, *rest):
    if getattr(libc, command)(one.fileno(), *rest) < 0: raise OSError(ctypes.get_errno(), "")
core = resource.getrlimit(resource.RLIMIT_CORE)
attributes = struct.pack("IIQiIQQQ", 48, 0, 0, os.getpriority(os.PRIO_PROCESS, 0), 0, 0, 0, 0)
def tell(attempt):
    try: attempt()
    except OSError as error: return error.errno
    return 0
for group in [
    [lambda: resource.prlimit(agent, resource.RLIMIT_CORE, core),
     lambda: os.sched_setaffinity(agent, os.sched_getaffinity(0)),
     lambda: os.sched_setscheduler(agent, os.SCHED_OTHER, os.sched_param(0)),
     lambda: os.sched_setparam(agent, os.sched_param(0)),
     lambda: raw(SETATTR, agent, attributes, 0),
     lambda: os.setpriority(os.PRIO_PROCESS, agent, 0),
     lambda: os.setpriority(os.PRIO_PGRP, 0, os.getpriority(os.PRIO_PROCESS, 0)),
     lambda: raw(IOPRIO, 1, agent, 2 << 13 | 4),
     lambda: raw(IOPRIO, 2, 0, 2 << 13 | 4)],
    [lambda: resource.prlimit(0, resource.RLIMIT_CORE),
     lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
     lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
     lambda: os.sched_setparam(0, os.sched_param(0)),
     lambda: raw(SETATTR, 0, attributes, 0),
     lambda: os.setpriority(os.PRIO_PROCESS, 0, 19),
     lambda: raw(IOPRIO, 1, 0, 2 << 13 | 4),
     lambda: fcntl.fcntl(one, fcntl.F_GETFL)],
    [lambda: resource.prlimit(0, resource.RLIMIT_CORE, core)],
    [lambda: io("fcntl", 8, agent), lambda: io("fcntl", 10, 0), lambda: io("fcntl", 15, owner),
     lambda: io("ioctl", 0x8901, process), lambda: io("ioctl", 0x8902, process)],
]:
    print(*[tell(attempt) for attempt in group])
"#;

    /// The attempts' ends, group by group.
    fn ends(signals_scoped: bool, root: bool) -> Vec<String> {
        let program = ATTEMPTS
            .replace("SETATTR", &sys::SYS_sched_setattr.to_string())
            .replace("IOPRIO", &sys::SYS_ioprio_set.to_string());
        let sandbox = Sandbox { local_sockets: true, ..Sandbox::default() };
        // A filter is the thread's that puts it on, and that of what it starts.
        let run = std::thread::spawn(move || {
            restrict(&sandbox, signals_scoped, root).unwrap();
            std::process::Command::new("/usr/bin/python3").args(["-c", &program]).output().unwrap()
        });
        let output = run.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// So many attempts that end so.
    fn all(count: usize, end: i32) -> String {
        vec![end.to_string(); count].join(" ")
    }

    #[test]
    fn a_program_sets_what_is_its_own_and_nothing_of_the_agents() {
        // Landlock keeps signals inside.
        assert_eq!(ends(true, false), [all(9, sys::EPERM), all(8, 0), all(1, 0), all(5, 0)]);
    }

    #[test]
    fn where_signals_are_refused_so_are_those_for_files() {
        assert_eq!(ends(false, false)[1..], [all(8, 0), all(1, 0), all(5, sys::EPERM)]);
    }

    #[test]
    fn root_gets_no_new_limits() {
        assert_eq!(ends(true, true)[1..3], [all(8, 0), all(1, sys::EPERM)]);
    }
}
