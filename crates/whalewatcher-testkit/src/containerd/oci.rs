//! The OCI runtime specs that containers carry around.

use serde_json::{Value, json};

/// How `typeurl` names a runtime spec.
pub(super) const TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// The size of what dockerd writes for a container with its default seccomp profile.
pub(super) const DOCKER_SIZE: usize = 9_400;

/// A spec of about this size, in JSON.
pub(super) fn spec(id: &str, size: usize) -> Vec<u8> {
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"];
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["sleep", "infinity"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": id,
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "cgroupsPath": format!("/default/{id}"),
            "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }],
        },
    });
    // Where a real one has hundreds of system calls.
    let padding = size.saturating_sub(spec.to_string().len() + r#","annotations":{"padding":""}"#.len());
    spec["annotations"] = json!({ "padding": Value::from("x".repeat(padding)) });
    spec.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_json_of_the_size_asked_for() {
        let spec = spec("web", DOCKER_SIZE);
        assert_eq!(spec.len(), DOCKER_SIZE);
        let spec: Value = serde_json::from_slice(&spec).unwrap();
        assert_eq!(spec["process"]["args"][0], "sleep");
    }
}
