//! The agent's side: a program with all that it starts, which ends as a whole.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Between two counts of a group's processes.
const COUNT_EVERY: Duration = Duration::from_millis(50);

/// A program and all that it has started. Dropping it ends them: they cannot leave the group.
#[derive(Debug)]
pub struct Group {
    /// The program itself.
    pub child: Child,
    id: Option<Pid>,
}

impl Group {
    /// Starts what [`super::Launcher`] has made ready.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, id })
    }

    /// Returns when the group has more than `most` processes: what the kernel does not count for root is counted here.
    pub(crate) fn crowded(&self, most: u64) -> impl Future<Output = ()> + use<> {
        let group = self.id;
        async move {
            loop {
                tokio::time::sleep(COUNT_EVERY).await;
                if group.is_some_and(|group| members(group) > most) {
                    return;
                }
            }
        }
    }
}

//= specs/house.md#house-sandbox
//# A program that the device starts MUST end with all that it has started when its call ends.
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.id {
            // There may be nobody left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

fn members(group: Pid) -> u64 {
    let group = group.to_string();
    let belongs = |id: &str| {
        // `id (name) state parent group …`; a name may hold anything.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        (rest.split_whitespace().nth(2)? == group).then_some(())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| belongs(entry.file_name().to_str()?)).count() as u64
}
