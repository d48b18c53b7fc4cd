//! Values, in JSON.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use whalewatcher_core::{Container, ContainerId, EngineIdentity, Layer, Phase};

use super::error::RecordError;
use super::key::Key;

/// The version of the values' shape, their field `v`. Fields are only added to a version; readers ignore
/// those that they do not know.
pub const VERSION: u32 = 1;

/// A value that has a version.
pub trait Versioned: Serialize + DeserializeOwned + sealed::Sealed {
    /// Returns the value as it is written.
    fn to_json(&self) -> Vec<u8> {
        // Texts, numbers and maps with texts for keys: nothing that JSON does not have.
        serde_json::to_vec(&Written { v: VERSION, value: self }).unwrap_or_default()
    }

    /// Reads the value of a key.
    ///
    /// # Errors
    ///
    /// If it is no JSON, lacks a field, or is of a later version.
    fn from_json(key: &str, value: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let wrong = |error: serde_json::Error| RecordError::new(key, error.to_string());
        let Version { v } = serde_json::from_slice(value).map_err(wrong)?;
        if v != VERSION {
            let why =
                format!("its value is of version {v}, and this whalewatcher knows {VERSION} only: update it");
            return Err(RecordError::new(key, why));
        }
        serde_json::from_slice(value).map_err(wrong)
    }
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! versioned {
    ($($record:ty),*) => {
        $(impl sealed::Sealed for $record {}
        impl Versioned for $record {})*
    };
}

versioned!(ClaimRecord, HostRecord, EngineRecord, ContainerRecord, ExitRecord);

/// The value of a [claim](Key::Claim): the agent that publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// Distinguishes this run of the agent from all others.
    pub agent: String,
    /// The boot of the host (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The host's name.
    pub hostname: String,
    /// The address of the host that leads to etcd, unless that is on the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The agent's version.
    pub version: String,
    /// When the agent made this claim, by the host's clock.
    pub since: Timestamp,
}

/// The value of a [host](Key::Host), which stays when the claim is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The host's name.
    pub hostname: String,
    /// The address of the host that leads to etcd, when the agent wrote last; none if etcd is on the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The version of the host's kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The boot of the host that the keys are of.
    pub boot: String,
    /// When the host was first published, by its clock.
    pub first_seen: Timestamp,
    /// The agent that wrote last, and the epoch in which it did.
    pub agent: String,
    /// The revision at which that agent's claim was created; 0 in the transaction that made it.
    pub epoch: i64,
    /// When the agent wrote this, by the host's clock: at least once an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Counts the transactions that this agent tried: each writes this record, on condition that it is as the
    /// one before left it.
    pub attempt: u64,
}

/// The value of an [engine](Key::Engine).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// The engine, as in events; its `api` is that on its host.
    pub engine: EngineIdentity,
    /// Whether its containers are what is published.
    pub phase: EnginePhase,
    /// Since when, by the host's clock.
    pub since: Timestamp,
    /// Why it is not live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which engines run their containers in it.
    #[serde(default, with = "layer")]
    pub layer: Layer,
    /// How many containers cannot be inspected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unresolved: usize,
}

/// The state of an engine, as its agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EnginePhase {
    /// It was not in sync yet.
    Connecting,
    /// The published containers are those of the engine.
    Live,
    /// The engine cannot be reached; the published containers are those last known.
    Disconnected,
    /// The agent does not watch any more: it ended, or the engine left. The published containers are those last known.
    Ended,
    /// Another state, of a later version.
    #[serde(other)]
    Other,
}

impl From<&Phase> for EnginePhase {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Live { .. } => Self::Live,
            Phase::Disconnected { .. } => Self::Disconnected,
            Phase::Connecting | Phase::Synchronizing => Self::Connecting,
            _ => Self::Ended,
        }
    }
}

/// The value of a [container](Key::Container).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The container, as in events.
    pub container: Container,
}

/// The value of an [exit](Key::Exit): the end of a life that was published before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The container's ID.
    pub id: ContainerId,
    /// The PID that its initial process had.
    pub pid: u32,
    /// When the life began, where the engine reports that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended, by the engine's clock.
    pub time: Timestamp,
    /// The exit code, where the engine reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether a process of it was killed for lack of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

/// A value of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Of a claim.
    Claim(ClaimRecord),
    /// Of a host.
    Host(HostRecord),
    /// Of an engine.
    Engine(EngineRecord),
    /// Of a container.
    Container(ContainerRecord),
    /// Of an exit.
    Exit(ExitRecord),
}

impl Record {
    /// Reads the value of a key, which `text` is the whole of.
    ///
    /// # Errors
    ///
    /// As [`Versioned::from_json`]; or if a container has another ID than its key says.
    pub fn read(key: &Key, text: &str, value: &[u8]) -> Result<Self, RecordError> {
        let record = match key {
            Key::Claim { .. } => Self::Claim(Versioned::from_json(text, value)?),
            Key::Host { .. } => Self::Host(Versioned::from_json(text, value)?),
            Key::Engine { .. } => Self::Engine(Versioned::from_json(text, value)?),
            Key::Container { .. } => Self::Container(Versioned::from_json(text, value)?),
            Key::Exit { .. } => Self::Exit(Versioned::from_json(text, value)?),
        };
        match (key, &record) {
            (Key::Container { id, .. }, Self::Container(it)) if it.container.id().as_str() != id => {
                Err(RecordError::new(text, "its value is that of another container"))
            }
            _ => Ok(record),
        }
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Layers by their names.
mod layer {
    use serde::{Deserialize, Deserializer, Serializer};
    use whalewatcher_core::Layer;

    pub(super) fn serialize<S: Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match layer {
            Layer::Runtime => "runtime",
            Layer::Kubernetes => "kubernetes",
            _ => "engine",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Layer, D::Error> {
        Ok(match &*String::deserialize(deserializer)? {
            "runtime" => Layer::Runtime,
            "kubernetes" => Layer::Kubernetes,
            _ => Layer::Engine,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use whalewatcher_core::Labels;

    use super::*;

    fn written_is_read<T: Versioned + PartialEq + Debug>(record: &T) {
        let json = record.to_json();
        assert_eq!(T::from_json("k", &json).as_ref(), Ok(record));
        // Fields that a later version adds change nothing.
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json).unwrap();
        fields.insert("later".into(), serde_json::json!({"a": [1]}));
        assert_eq!(T::from_json("k", &serde_json::to_vec(&fields).unwrap()).as_ref(), Ok(record));
    }

    fn any_time() -> impl Strategy<Value = Timestamp> {
        (0..4_000_000_000_i64, 0..1_000_000_000)
            .prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
    }

    fn any_container() -> impl Strategy<Value = Container> {
        (("\\PC{1,8}", "\\PC*", any::<u32>()), proptest::option::of(any_time()), any::<bool>(), "\\PC{0,8}")
            .prop_map(|((id, name, pid), started_at, paused, label)| {
                Container::new(id, name, pid)
                    .with_started_at(started_at.and_then(|at| SystemTime::try_from(at).ok()))
                    .with_paused(paused)
                    .with_labels(Labels::from_iter([("a.label".to_owned(), label)]))
            })
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(
            container in any_container(),
            (text, time) in ("\\PC*", any_time()),
            (number, code) in (any::<i64>(), proptest::option::of(any::<i32>())),
            phase in prop_oneof![Just(EnginePhase::Live), Just(EnginePhase::Disconnected), Just(EnginePhase::Ended)],
        ) {
            written_is_read(&ClaimRecord {
                agent: text.clone(),
                boot: text.clone(),
                hostname: text.clone(),
                address: code.map(|code| code.to_string()),
                version: text.clone(),
                since: time,
            });
            written_is_read(&HostRecord {
                hostname: text.clone(),
                address: None,
                kernel: Some(text.clone()),
                boot: text.clone(),
                first_seen: time,
                agent: text.clone(),
                epoch: number,
                time: code.map(|_| time),
                attempt: number.unsigned_abs(),
            });
            written_is_read(&EngineRecord {
                engine: EngineIdentity::new(text.clone(), text.clone()),
                phase,
                since: time,
                error: code.map(|_| text.clone()),
                layer: if number > 0 { Layer::Runtime } else { Layer::Kubernetes },
                unresolved: code.unwrap_or_default().unsigned_abs() as usize,
            });
            written_is_read(&ExitRecord {
                id: container.id().clone(),
                pid: container.pid(),
                started_at: container.started_at().and_then(|at| Timestamp::try_from(at).ok()),
                time,
                exit_code: code,
                oom_killed: container.paused(),
            });
            written_is_read(&ContainerRecord { container });
        }
    }

    #[test]
    fn a_container_is_written_in_the_programs_own_shape() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let container = Container::new("c0ffee", "web", 7).with_started_at(at);
        assert_eq!(
            String::from_utf8(ContainerRecord { container }.to_json()).unwrap(),
            r#"{"v":1,"container":{"id":"c0ffee","name":"web","pid":7,"project":"","paused":false,"started_at":"1970-01-01T00:00:01Z","labels":{}}}"#
        );
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error_with_the_key() {
        let key = Key::Container { host: "h".into(), engine: "e".into(), id: "1".into() };
        for (value, why) in [
            (&b"?"[..], "expected value"),
            (b"{}", "missing field `v`"),
            (br#"{"v":2,"container":{}}"#, "is of version 2"),
            (br#"{"v":1}"#, "missing field `container`"),
            (br#"{"v":1,"container":{"id":"2","name":"","pid":1,"started_at":null}}"#, "another container"),
            (b"\xff", "expected value"),
        ] {
            let error = Record::read(&key, "/p/h/h/c/e/1", value).unwrap_err();
            assert!(error.to_string().contains("/p/h/h/c/e/1"), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn what_a_later_version_may_add_is_read_too() {
        let value = br#"{"v":1,"engine":{"type":"t","id":"","version":"","api":"a"},"phase":"dreaming",
            "since":"2026-01-01T00:00:00Z","layer":"deeper"}"#;
        let record = EngineRecord::from_json("k", value).unwrap();
        assert_eq!((record.phase, record.layer), (EnginePhase::Other, Layer::Engine));
    }
}
