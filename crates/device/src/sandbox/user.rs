//! Whom the agent runs as: what breaks into a product's agent that is root's has everything.

/// Somebody looked whom the agent runs as, and accepts it; a product is put behind the gate with one only.
///
/// ```compile_fail
/// use countersign_device::sandbox::RunsAs;
/// let nobody_looked = RunsAs(());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RunsAs(());

impl RunsAs {
    /// Looks. `allow_root` is the configuration's.
    ///
    /// # Errors
    /// [`RunsAsRoot`] where it is root and the configuration does not say so.
    pub fn accepted(allow_root: bool) -> Result<Self, RunsAsRoot> {
        Self::judge(is_root(), allow_root)
    }

    //= specs/house.md#house-sandbox
    //# An agent with a product behind it MUST refuse to run as root unless its configuration says so.
    fn judge(root: bool, allow_root: bool) -> Result<Self, RunsAsRoot> {
        if root && !allow_root {
            return Err(RunsAsRoot);
        }
        if root {
            tracing::warn!("the agent runs as root because its configuration allows it");
        }
        Ok(Self(()))
    }
}

/// The agent runs as root, and its configuration does not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "runs as root, and so would whoever breaks into it: give the agent a user of its own, as \
     contrib/systemd/countersign-device.service does, or accept it with --allow-root (allow_root = true)"
)]
pub struct RunsAsRoot;

/// Whether this process is root's, or could become so again.
pub(super) fn is_root() -> bool {
    use nix::unistd::{geteuid, getresuid};
    getresuid().map_or_else(
        |_| geteuid().is_root(),
        |users| [users.real, users.effective, users.saved].iter().any(|user| user.is_root()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-sandbox
    //= type=test
    //# An agent with a product behind it MUST refuse to run as root unless its configuration says so.
    #[test]
    fn root_is_accepted_only_where_the_configuration_says_so() {
        for (root, allow_root, accepted) in
            [(false, false, true), (false, true, true), (true, true, true), (true, false, false)]
        {
            assert_eq!(RunsAs::judge(root, allow_root).is_ok(), accepted, "{root} {allow_root}");
        }
        let refused = RunsAs::accepted(false).is_err();
        assert_eq!(refused, nix::unistd::geteuid().is_root());
    }
}
