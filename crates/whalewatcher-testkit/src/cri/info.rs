//! The verbose part of a status: JSON, as containerd and CRI-O write it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::Flavour;
use super::record::{Phase, Record};

/// The additional data of a verbose status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Info {
    /// What the runtime writes.
    #[default]
    Reported,
    /// The same with another PID.
    Pid(i64),
    /// The same without a PID.
    WithoutPid,
    /// No information at all.
    Missing,
    /// This text in place of JSON.
    Text(String),
}

/// The map of a verbose status.
pub(super) fn map(record: &Record, flavour: Flavour) -> HashMap<String, String> {
    let reported = || if flavour.is_crio() { of_crio(record) } else { of_containerd(record) };
    let text = match &record.info {
        Info::Reported if flavour == Flavour::CriDockerd => return HashMap::new(),
        Info::Missing => return HashMap::new(),
        Info::Text(text) => text.clone(),
        Info::Reported => reported().to_string(),
        Info::Pid(pid) => {
            let mut reported = reported();
            reported["pid"] = json!(pid);
            reported.to_string()
        }
        Info::WithoutPid => {
            let mut reported = reported();
            if let Some(members) = reported.as_object_mut() {
                members.remove("pid");
            }
            reported.to_string()
        }
    };
    HashMap::from([("info".into(), text)])
}

/// The part of it that could be mistaken for a PID: `pid` is the name of a namespace, too.
fn runtime_spec() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["sleep", "infinity"], "cwd": "/" },
        "linux": {
            "resources": { "pids": { "limit": 100 } },
            "namespaces": [{ "type": "pid" }, { "type": "ipc", "path": "/proc/1/ns/ipc" }, { "type": "mount" }],
        },
    })
}

fn of_containerd(record: &Record) -> Value {
    let name = &*record.id;
    if record.is_sandbox() {
        let status = if record.phase == Phase::Running { "running" } else { "deleted" };
        return json!({
            "pid": record.pid,
            "processStatus": status,
            "netNamespaceClosed": false,
            "image": record.image,
            "snapshotKey": name,
            "snapshotter": "overlayfs",
            "runtimeHandler": "",
            "runtimeType": "io.containerd.runc.v2",
            "runtimeOptions": {},
            "config": {
                "metadata": {
                    "name": record.pod.name,
                    "uid": record.pod.uid,
                    "namespace": record.pod.namespace,
                    "attempt": record.attempt,
                },
                "labels": record.labels,
                "annotations": record.annotations,
            },
            "runtimeSpec": runtime_spec(),
            "cniResult": null,
        });
    }
    json!({
        "sandboxID": &**record.sandbox_id(),
        "pid": record.pid,
        "removing": false,
        "snapshotKey": name,
        "snapshotter": "overlayfs",
        "runtimeType": "io.containerd.runc.v2",
        "runtimeOptions": {},
        "config": {
            "metadata": { "name": record.name, "attempt": record.attempt },
            "image": { "image": record.image },
            "labels": record.labels,
            "annotations": record.annotations,
        },
        "runtimeSpec": runtime_spec(),
    })
}

fn of_crio(record: &Record) -> Value {
    let mut info = BTreeMap::from([("runtimeSpec", runtime_spec())]);
    if !record.is_sandbox() {
        info.insert("sandboxID", json!(&**record.sandbox_id()));
        info.insert("privileged", json!(false));
        info.insert("checkpointedAt", json!("0001-01-01T00:00:00Z"));
        info.insert("restored", json!(false));
    } else if record.infra_container {
        info.insert("image", json!(record.image));
    }
    if record.infra_container {
        info.insert("pid", json!(record.pid));
    }
    json!(info)
}
