//! The engine's PID, from the credentials of its socket.

use std::fs;

use crate::engine::Engine;

/// Returns the PID of the process that listens at a socket, if that process has one of these names.
///
/// The kernel reports the process that called `listen`, which with socket activation is systemd and with a
/// proxy the proxy. A wrong PID is worse than none.
#[must_use]
pub fn pid_if_named(listener: Option<u32>, names: &[&str]) -> Option<u32> {
    let pid = listener?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    is_one_of(&name, names).then_some(pid)
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.contains(&name.trim_end())
}

impl Engine {
    /// Returns the PID of the process that listens at a socket, if that process is [named](pid_if_named) like
    /// an engine of this kind.
    #[must_use]
    pub fn pid_of(&self, listener: Option<u32>) -> Option<u32> {
        pid_if_named(listener, self.processes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{CONTAINERD, RUNTIME};

    #[test]
    fn only_a_process_named_like_the_engine_counts() {
        assert!(is_one_of("containerd\n", CONTAINERD.processes));
        assert!(is_one_of("containerd\n", RUNTIME.processes) && is_one_of("crio\n", RUNTIME.processes));
        for other in ["containerd-shim\n", "systemd\n", "crio\n", ""] {
            assert!(!is_one_of(other, CONTAINERD.processes), "{other}");
        }
        assert_eq!(CONTAINERD.pid_of(Some(std::process::id())), None);
        assert_eq!(CONTAINERD.pid_of(None), None);
    }
}
