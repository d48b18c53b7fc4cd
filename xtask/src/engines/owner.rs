//! The process that started a private instance, and whether it is still alive: by its PID and start time, as far as that can
//! be seen from here.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::processes;

/// A process, named for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Its PID.
    pub(crate) pid: u32,
    start_time: u64,
    boot: String,
    /// PIDs mean nothing outside of their namespace.
    pid_namespace: String,
}

/// What is known about an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerState {
    Alive,
    Dead,
    /// It lives, or lived, in another PID namespace.
    Unknown,
}

impl Owner {
    /// This very process.
    pub(crate) fn this_process() -> Result<Owner> {
        let pid = std::process::id();
        let start_time =
            processes::start_time(pid).context("cannot read this process's start time: is /proc there?")?;
        Ok(Owner { pid, start_time, boot: boot()?, pid_namespace: pid_namespace()? })
    }

    /// Whether it still runs.
    pub(crate) fn state(&self) -> Result<OwnerState> {
        Ok(self.state_given(&boot()?, &pid_namespace()?, processes::start_time(self.pid)))
    }

    fn state_given(&self, boot: &str, pid_namespace: &str, start_time: Option<u64>) -> OwnerState {
        if self.boot != boot {
            OwnerState::Dead
        } else if self.pid_namespace != pid_namespace {
            OwnerState::Unknown
        } else if start_time == Some(self.start_time) {
            OwnerState::Alive
        } else {
            OwnerState::Dead
        }
    }
}

fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
}

fn pid_namespace() -> Result<String> {
    let link = fs::read_link("/proc/self/ns/pid").context("cannot read this process's PID namespace")?;
    Ok(link.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { pid: 7, start_time: 100, boot: "b".to_owned(), pid_namespace: "pid:[1]".to_owned() }
    }

    #[test]
    fn this_process_is_alive() {
        assert_eq!(Owner::this_process().unwrap().state().unwrap(), OwnerState::Alive);
    }

    #[test]
    fn a_pid_in_new_hands_does_not_keep_its_former_owner_alive() {
        assert_eq!(owner().state_given("b", "pid:[1]", Some(100)), OwnerState::Alive);
        assert_eq!(owner().state_given("b", "pid:[1]", Some(101)), OwnerState::Dead);
        assert_eq!(owner().state_given("b", "pid:[1]", None), OwnerState::Dead);
    }

    #[test]
    fn a_reboot_ends_everybody() {
        assert_eq!(owner().state_given("other", "pid:[2]", Some(100)), OwnerState::Dead);
    }

    #[test]
    fn nothing_is_known_about_another_pid_namespace() {
        assert_eq!(owner().state_given("b", "pid:[2]", None), OwnerState::Unknown);
    }
}
