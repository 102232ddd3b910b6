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
pub(super) fn restrict(sandbox: &Sandbox, signals_scoped: bool) -> Result<(), String> {
    let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    if !signals_scoped {
        rules.extend(SIGNALS.iter().map(|call| (*call, Vec::new())));
    }
    old_calls(&mut rules);
    let clone = NAMESPACES.map(|flag| rule(&[masked(0, flag as u64, flag as u64)]));
    rules.insert(sys::SYS_clone, clone.into_iter().collect::<Result<_, _>>()?);
    let terminal = TERMINAL.map(|request| rule(&[equal(1, request)]));
    rules.insert(sys::SYS_ioctl, terminal.into_iter().collect::<Result<_, _>>()?);
    rules.insert(sys::SYS_socket, sockets(sandbox)?);
    apply(rules, sys::EPERM)?;
    // The arguments of clone3 cannot be looked into; without it, the C library takes clone.
    apply(Rules::from([(sys::SYS_clone3, Vec::new())]), sys::ENOSYS)
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
