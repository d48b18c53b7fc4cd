//! Containers and events in the shape that the program prints them in.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use super::container::Container;
use super::container_id::ContainerId;
use super::event::{Event, EventKind};
use super::labels::Labels;
use super::pod::PodIdentity;

/// A point in time as RFC 3339 text in UTC, with as many decimals of a second as it has; times out of the range of
/// RFC 3339 become the first or the last one in it.
fn text(time: SystemTime) -> String {
    let in_range = Timestamp::try_from(time);
    let nearest = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    in_range.unwrap_or(nearest).to_string()
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for Container {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pod = self.pod();
        let mut fields = serializer.serialize_struct("Container", 7 + usize::from(pod.is_some()))?;
        fields.serialize_field("id", self.id())?;
        fields.serialize_field("name", self.name())?;
        fields.serialize_field("pid", &self.pid())?;
        fields.serialize_field("project", self.project())?;
        match pod {
            Some(pod) => fields.serialize_field("pod", &Membership { pod, sandbox: self.is_sandbox() })?,
            None => fields.skip_field("pod")?,
        }
        fields.serialize_field("paused", &self.paused())?;
        fields.serialize_field("started_at", &self.started_at().map(text))?;
        fields.serialize_field("labels", self.labels())?;
        fields.end()
    }
}

/// A container's part in its pod.
struct Membership<'a> {
    pod: PodIdentity<'a>,
    sandbox: bool,
}

impl Serialize for Membership<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Pod", 4)?;
        fields.serialize_field("namespace", self.pod.namespace())?;
        fields.serialize_field("name", self.pod.name())?;
        fields.serialize_field("uid", self.pod.uid())?;
        fields.serialize_field("sandbox", &self.sandbox)?;
        fields.end()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("event", self.kind.name())?;
        fields.serialize_entry("time", &text(self.time))?;
        if let Some(container) = self.container() {
            fields.serialize_entry("container", &**container)?;
        }
        match &self.kind {
            EventKind::Exited { code: Some(code), .. } => fields.serialize_entry("exit_code", code)?,
            EventKind::Synced { containers, unresolved } => {
                fields.serialize_entry("containers", containers)?;
                fields.serialize_entry("unresolved", unresolved)?;
            }
            EventKind::Lagged { missed } => fields.serialize_entry("missed", missed)?,
            EventKind::Disconnected { error } => fields.serialize_entry("error", &error.to_string())?,
            _ => {}
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{COMPOSE_PROJECT_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, SANDBOX_LABEL};

    #[test]
    fn an_exit_is_written_as_the_output_contract_says() {
        let started_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_100);
        let container = Container::new("c0ffee", "web", 4711)
            .with_labels(Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop")]))
            .with_started_at(started_at);
        let time = started_at + Duration::from_nanos(23_456_789);
        let event = Event::new(time, EventKind::Exited { container: Arc::new(container), code: Some(137) });
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            json!({
                "event": "exited",
                "time": "2026-01-31T12:00:00.123456789Z",
                "exit_code": 137,
                "container": {
                    "id": "c0ffee", "name": "web", "pid": 4711, "project": "shop", "paused": false,
                    "started_at": "2026-01-31T12:00:00.1Z",
                    "labels": {"com.docker.compose.project": "shop"},
                },
            })
        );
    }

    #[test]
    fn a_container_of_a_pod_reports_which_one_and_whether_it_is_the_sandbox() {
        let labels = [(POD_NAMESPACE_LABEL, "default"), (POD_NAME_LABEL, "web-0"), (POD_UID_LABEL, "4e11")];
        let pod = |container: Container| serde_json::to_value(container).unwrap()["pod"].clone();
        let app = Container::new("1", "app", 1).with_labels(Labels::from_iter(labels));
        let expected = json!({"namespace": "default", "name": "web-0", "uid": "4e11", "sandbox": false});
        assert_eq!(pod(app), expected);
        let labels = labels.into_iter().chain([(SANDBOX_LABEL, "")]);
        let sandbox = Container::new("2", "2", 2).with_labels(Labels::from_iter(labels));
        assert_eq!(pod(sandbox)["sandbox"], json!(true));
        let text = serde_json::to_string(&Container::new("3", "lone", 3)).unwrap();
        assert!(!text.contains("pod"), "{text}");
    }

    #[test]
    fn a_time_far_off_is_written_as_the_nearest_that_can_be() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert_eq!(text(far), Timestamp::MAX.to_string());
    }
}
