//! The OCI runtime specs of our containers.

use std::path::Path;

use prost::Message;
use prost_types::Any;
use serde_json::{Value, json};

const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const RUNC_OPTIONS: &str = "containerd.runc.v1.Options";

/// About what dockerd writes for a container.
pub(super) const DOCKER_SIZE: usize = 9_400;

/// What is used of the options of containerd's runtime for runc.
#[derive(Clone, PartialEq, Message)]
struct RuncOptions {
    #[prost(string, tag = "7")]
    root: String,
}

/// Has runc keep its state in this folder.
pub(super) fn runc_options(root: &Path) -> Any {
    let options = RuncOptions { root: root.display().to_string() };
    Any { type_url: RUNC_OPTIONS.to_owned(), value: options.encode_to_vec() }
}

/// A container that runs this command in a root file system that it shares with others, in this cgroup and
/// with so much memory.
pub(super) fn spec(command: &[String], root: &Path, cgroup: &str, memory: Option<u64>, size: usize) -> Any {
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": process(command),
        "root": { "path": root, "readonly": true },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }],
        },
    });
    if let Some(bytes) = memory {
        spec["linux"]["resources"] = json!({ "memory": { "limit": bytes } });
    }
    let padding = size.saturating_sub(spec.to_string().len());
    spec["annotations"] = json!({ "padding": "x".repeat(padding) });
    any(SPEC, &spec)
}

/// A process beside the first one.
pub(super) fn exec(command: &[String]) -> Any {
    any(PROCESS, &process(command))
}

fn process(command: &[String]) -> Value {
    json!({
        "user": { "uid": 0, "gid": 0 },
        "args": command,
        "env": ["PATH=/bin"],
        "cwd": "/",
        "noNewPrivileges": true,
    })
}

fn any(type_url: &str, value: &Value) -> Any {
    Any { type_url: type_url.to_owned(), value: value.to_string().into_bytes() }
}
