//! The engine's own PID, where the kernel can tell it.

use std::fs;

/// The processes that are engines, by the name that they give themselves.
const ENGINES: [&str; 2] = ["dockerd", "podman"];

/// The PID of the engine if the process behind the socket is one.
///
/// The kernel tells who made the socket listen, not who accepts: with socket activation that is systemd, and with a
/// proxy in between the proxy. A wrong PID is worse than none, so the process must be called like an engine.
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
    fn only_a_process_called_like_an_engine_is_taken_for_it() {
        assert!(is_engine("dockerd\n") && is_engine("podman\n"));
        assert!(!is_engine("systemd\n") && !is_engine("socat\n") && !is_engine(""));
        assert_eq!(engine_pid(Some(std::process::id())), None);
        assert_eq!(engine_pid(None), None);
    }
}
