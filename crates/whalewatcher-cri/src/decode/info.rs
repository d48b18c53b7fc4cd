//! Decodes the additional data of a verbose status: JSON under the key `info`, in which containerd and CRI-O
//! agree on a few names.

use std::collections::HashMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The key of the JSON.
const INFO: &str = "info";

/// The parts that are used.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Info {
    /// The PID of the initial process.
    pub(crate) pid: Option<u32>,
    /// Whether the data was decoded and contains no PID, as CRI-O's of a sandbox without a process.
    pub(crate) has_no_pid: bool,
    /// The sandbox of a container.
    pub(crate) sandbox: Option<String>,
    /// The image of a sandbox, which its status lacks.
    pub(crate) image: Option<String>,
}

#[derive(Deserialize)]
struct Reported {
    #[serde(default, deserialize_with = "present")]
    pid: Option<Scalar>,
    #[serde(default, rename = "sandboxID", deserialize_with = "present")]
    sandbox: Option<Scalar>,
    #[serde(default, deserialize_with = "present")]
    image: Option<Scalar>,
}

/// Decodes a field that is present, also `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Scalar>, D::Error> {
    deserializer.deserialize_any(AnyScalar).map(Some)
}

/// A number or a text. Other values are skipped.
enum Scalar {
    Number(u64),
    Text(String),
    Other,
}

struct AnyScalar;

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Scalar, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Scalar, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

impl Info {
    /// Decodes the data. Missing and invalid parts are left out.
    pub(crate) fn of(info: &HashMap<String, String>) -> Self {
        let Some(text) = info.get(INFO) else { return Self::default() };
        let reported: Reported = match serde_json::from_str(text) {
            Ok(reported) => reported,
            Err(error) => {
                tracing::debug!(%error, "cannot decode the additional data of a status");
                return Self::default();
            }
        };
        let has_no_pid = reported.pid.is_none();
        let pid = match reported.pid {
            Some(Scalar::Number(pid)) => u32::try_from(pid).ok().filter(|pid| *pid != 0),
            _ => None,
        };
        let text = |reported| match reported {
            Some(Scalar::Text(text)) => Some(text).filter(|text| !text.is_empty()),
            _ => None,
        };
        Self { pid, has_no_pid, sandbox: text(reported.sandbox), image: text(reported.image) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(text: &str) -> Info {
        Info::of(&HashMap::from([("info".to_owned(), text.to_owned())]))
    }

    #[test]
    fn pid_and_sandbox_of_containerd_and_cri_o() {
        let of_container = Info { pid: Some(4711), sandbox: Some("5a".into()), ..Info::default() };
        let containerd = r#"{"sandboxID":"5a","pid":4711,"removing":false,"config":{"metadata":{"name":"web"}},
            "runtimeSpec":{"process":{"user":{"uid":0},"args":["sh"]},"linux":{"namespaces":[{"type":"pid"}]}}}"#;
        let cri_o =
            r#"{"sandboxID":"5a","pid":4711,"runtimeSpec":{"ociVersion":"1.2.0"},"privileged":false}"#;
        assert_eq!(reported(containerd), of_container);
        assert_eq!(reported(cri_o), of_container);
        let of_sandbox = Info { pid: Some(7), image: Some("pause".into()), ..Info::default() };
        let containerd = r#"{"pid":7,"processStatus":"running","netNamespaceClosed":false,"image":"pause"}"#;
        let cri_o = r#"{"image":"pause","pid":7,"runtimeSpec":{}}"#;
        assert_eq!(reported(containerd), of_sandbox);
        assert_eq!(reported(cri_o), of_sandbox);
    }

    #[test]
    fn invalid_pids_are_left_out() {
        let deep = format!(r#"{{"pid":7,"x":{}}}"#, "[".repeat(10_000));
        for odd in [
            r#"{"pid":0}"#,
            r#"{"pid":-1}"#,
            r#"{"pid":4294967296}"#,
            r#"{"pid":7.5}"#,
            r#"{"pid":"7"}"#,
            r#"{"pid":null}"#,
            r#"{"pid":[7]}"#,
            r#"{"pid":true}"#,
            r#"{"pid":{"pid":7},"sandboxID":["5a"]}"#,
            r#"{"pid":7"#,
            r#"{"pid":7,"pid":8}"#,
            r#"{"pid":0,"image":["pause"]}"#,
            r#"{"pid":0,"image":""}"#,
            "",
            "\u{1b}",
            deep.as_str(),
        ] {
            assert_eq!(reported(odd), Info::default(), "{odd:.40}");
        }
        assert_eq!(Info::of(&HashMap::new()), Info::default());
        for without in [r#"{"Pid":7,"sandboxID":""}"#, r#"{"sandboxID":5}"#, r#"{"runtimeSpec":{}}"#, "{}"] {
            assert_eq!(reported(without), Info { has_no_pid: true, ..Info::default() }, "{without}");
        }
        assert_eq!(reported(r#"{"pid":4294967295}"#).pid, Some(u32::MAX));
    }
}
