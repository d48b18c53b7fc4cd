//! What a verbose status tells besides: JSON under the key `info`, in which containerd and CRI-O agree on a few names.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

/// Where the JSON is.
const INFO: &str = "info";

/// What is of use in it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Info {
    /// The PID of the initial process.
    pub(crate) pid: Option<u32>,
    /// The sandbox that a container is in.
    pub(crate) sandbox: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    pid: Value,
    #[serde(default, rename = "sandboxID")]
    sandbox: Value,
}

impl Info {
    /// Reads it. What is missing or makes no sense is not told.
    pub(crate) fn of(info: &HashMap<String, String>) -> Self {
        let Some(text) = info.get(INFO) else { return Self::default() };
        let told: Told = match serde_json::from_str(text) {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(%error, "the information in a status cannot be understood");
                return Self::default();
            }
        };
        let pid = told.pid.as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let sandbox = match told.sandbox {
            Value::String(sandbox) => Some(sandbox).filter(|sandbox| !sandbox.is_empty()),
            _ => None,
        };
        Self { pid, sandbox }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Info {
        Info::of(&HashMap::from([("info".to_owned(), text.to_owned())]))
    }

    #[test]
    fn containerd_and_cri_o_tell_the_pid_and_a_containers_sandbox() {
        let of_container = Info { pid: Some(4711), sandbox: Some("5a".into()) };
        let containerd = r#"{"sandboxID":"5a","pid":4711,"removing":false,"config":{"metadata":{"name":"web"}},
            "runtimeSpec":{"process":{"user":{"uid":0},"args":["sh"]},"linux":{"namespaces":[{"type":"pid"}]}}}"#;
        let cri_o =
            r#"{"sandboxID":"5a","pid":4711,"runtimeSpec":{"ociVersion":"1.2.0"},"privileged":false}"#;
        assert_eq!(told(containerd), of_container);
        assert_eq!(told(cri_o), of_container);
        let of_sandbox = Info { pid: Some(7), sandbox: None };
        let containerd = r#"{"pid":7,"processStatus":"running","netNamespaceClosed":false,"image":"pause"}"#;
        let cri_o = r#"{"image":"pause","pid":7,"runtimeSpec":{}}"#;
        assert_eq!(told(containerd), of_sandbox);
        assert_eq!(told(cri_o), of_sandbox);
    }

    #[test]
    fn what_is_no_pid_is_not_told() {
        let deep = format!(r#"{{"pid":7,"x":{}}}"#, "[".repeat(10_000));
        for odd in [
            r#"{"pid":0}"#,
            r#"{"pid":-1}"#,
            r#"{"pid":4294967296}"#,
            r#"{"pid":7.5}"#,
            r#"{"pid":"7"}"#,
            r#"{"pid":null}"#,
            r#"{"pid":[7]}"#,
            r#"{"pid":7"#,
            r#"{"pid":7,"pid":8}"#,
            r#"{"Pid":7,"sandboxID":""}"#,
            r#"{"sandboxID":5}"#,
            "{}",
            "[]",
            "",
            "\u{1b}",
            deep.as_str(),
        ] {
            assert_eq!(told(odd), Info::default(), "{odd:.40}");
        }
        assert_eq!(Info::of(&HashMap::new()), Info::default());
        assert_eq!(told(r#"{"pid":4294967295}"#).pid, Some(u32::MAX));
    }
}
