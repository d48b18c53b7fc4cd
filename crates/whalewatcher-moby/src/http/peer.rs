//! The engine's own PID, where the kernel reports it.

use std::fs;

/// The names of processes that are engines.
const ENGINES: [&str; 2] = ["dockerd", "podman"];

/// Returns the PID of the process behind the socket if that is an engine.
///
/// The kernel reports the process that made the socket listen, not the one that accepts: with socket activation that is
/// systemd, and with a proxy in between the proxy. A wrong PID is worse than none, so the process must have an engine's name.
pub(crate) fn engine_pid(listener: Option<u32>) -> Option<u32> {
    let pid = listener?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    is_engine(&name).then_some(pid)
}

fn is_engine(name: &str) -> bool {
    ENGINES.contains(&name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_with_an_engines_name_is_one() {
        assert!(is_engine("dockerd\n") && is_engine("podman\n"));
        assert!(!is_engine("systemd\n") && !is_engine("socat\n") && !is_engine(""));
        assert_eq!(engine_pid(Some(std::process::id())), None);
        assert_eq!(engine_pid(None), None);
    }
}
