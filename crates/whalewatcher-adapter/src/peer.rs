//! The engine's PID, from the credentials of its socket.

use std::fs;

use crate::engine::Engine;

impl Engine {
    /// Returns the PID of the process that listens at a socket, if that process is named like an engine of this kind.
    ///
    /// With socket activation the kernel reports systemd, and with a proxy the proxy. A wrong PID is worse than none.
    #[must_use]
    pub fn pid_of(&self, listener: Option<u32>) -> Option<u32> {
        let pid = listener?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        self.is_process(&name).then_some(pid)
    }

    fn is_process(&self, name: &str) -> bool {
        self.processes.contains(&name.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::tests::{CONTAINERD, RUNTIME};

    #[test]
    fn only_a_process_named_like_the_engine_counts() {
        assert!(CONTAINERD.is_process("containerd\n"));
        assert!(RUNTIME.is_process("containerd\n") && RUNTIME.is_process("crio\n"));
        for other in ["containerd-shim\n", "systemd\n", "crio\n", ""] {
            assert!(!CONTAINERD.is_process(other), "{other}");
        }
        assert_eq!(CONTAINERD.pid_of(Some(std::process::id())), None);
        assert_eq!(CONTAINERD.pid_of(None), None);
    }
}
