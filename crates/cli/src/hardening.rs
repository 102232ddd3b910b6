//! What nobody else may read of this process: done once, before anything else.
//!
//! ```text
//!  no core dump       RLIMIT_CORE = 0, also for the programs that are started
//!  no looking in      not dumpable: no ptrace, no /proc/PID/mem for other processes of the same user
//!  no swap            every page locked as it is first used, where RLIMIT_MEMLOCK allows that
//! ```
//! Sealing keys, the setup code's verifier and network keys lie in locked memory of their own besides
//! (`countersign_crypto::secret`). What is done here reaches the rest: private keys inside the backend, TLS's traffic keys.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What could not be had, in words; nothing of it keeps the program from working.
pub(crate) struct Hardened(Vec<String>);

//= specs/house.md#house-secrets
//# A process that holds keys MUST leave no core dump and MUST NOT be readable for other processes of its user.
/// Does what the system gives.
pub(crate) fn harden() -> Hardened {
    let mut missing = Vec::new();
    let mut note = |what: &str, done: rustix::io::Result<()>| {
        if let Err(error) = done {
            missing.push(format!("{what}: {error}"));
        }
    };
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    note("core dumps stay possible", setrlimit(Resource::Core, none));
    note("memory stays readable", set_dumpable_behavior(DumpableBehavior::NotDumpable));
    // With a limit, whatever is allocated beyond it would fail: then only what is locked by itself is locked.
    let unlimited =
        getrlimit(Resource::Memlock).current.is_none() || rustix::process::geteuid().is_root();
    if unlimited {
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        note("memory may be swapped", mlockall(all));
    } else {
        missing
            .push("memory may be swapped, but for sealing keys: RLIMIT_MEMLOCK is set".to_owned());
    }
    Hardened(missing)
}

impl Hardened {
    /// Says what is missing, once there is a log.
    pub(crate) fn tell(&self) {
        for what in &self.0 {
            tracing::debug!("{what}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    //= specs/house.md#house-secrets
    //= type=test
    //# A process that holds keys MUST leave no core dump and MUST NOT be readable for other processes of its user.
    #[test]
    fn this_process_is_closed_afterwards() {
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        let hardened = harden();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert!(hardened.0.iter().all(|missing| missing.starts_with("memory may be swapped")));
    }
}
