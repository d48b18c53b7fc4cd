//! The engine's own PID, where only the kernel can tell it.

use std::fs;

/// The PID of containerd if the process that made the socket listen is one.
///
/// With socket activation that is systemd, and with a proxy in between the proxy. A wrong PID is worse than none.
pub(crate) fn engine_pid(listener: Option<u32>) -> Option<u32> {
    let pid = listener?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    is_engine(&name).then_some(pid)
}

fn is_engine(name: &str) -> bool {
    name.trim_end() == "containerd"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_called_containerd_is_taken_for_it() {
        assert!(is_engine("containerd\n"));
        assert!(!is_engine("containerd-shim\n") && !is_engine("systemd\n") && !is_engine(""));
        assert_eq!(engine_pid(Some(std::process::id())), None);
        assert_eq!(engine_pid(None), None);
    }
}
