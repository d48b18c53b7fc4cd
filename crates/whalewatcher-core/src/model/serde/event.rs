//! Events.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::Time;
use crate::model::{
    COMPOSE_PROJECT_LABEL, Container, CrashLoop, EngineError, EngineIdentity, EngineKey, ErrorKind, Event,
    EventKind, Health, Image, Labels, Network, Port, SeenBy,
};

/// What `seen_by` is, where it is there.
const KERNEL: &str = "kernel";

/// The fields of an event. Which of them there are depends on its kind.
#[derive(serde::Serialize, serde::Deserialize)]
struct Fields<C, K, E> {
    event: K,
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<E>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_by: Option<K>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<Was>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<From>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crash_loop: Option<Loop>,
}

/// A crash loop, with its container in short: it is not the event's container, which would be alive.
#[derive(serde::Serialize, serde::Deserialize)]
struct Loop {
    id: String,
    name: String,
    #[serde(default)]
    project: String,
    lives: u64,
    since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    over: bool,
}

impl Loop {
    fn of(it: &CrashLoop) -> Self {
        Self {
            id: it.container.id().as_str().to_owned(),
            name: it.container.name().to_owned(),
            project: it.container.project().to_owned(),
            lives: it.lives,
            since: Time(it.since),
            exit_code: it.code,
            over: it.is_over,
        }
    }

    /// Returns the crash loop, of whose container only ID, name and project are known.
    fn read(self) -> CrashLoop {
        let project = Some(self.project).filter(|project| !project.is_empty());
        let labels = Labels::from_iter(project.map(|project| (COMPOSE_PROJECT_LABEL, project)));
        let container = Container::new(self.id, self.name, 0).with_labels(labels);
        CrashLoop::new(Arc::new(container), self.lives, self.since.0)
            .with_code(self.exit_code)
            .with_over(self.over)
    }
}

/// The engine that showed a container before, and the container's ID there.
#[derive(serde::Serialize, serde::Deserialize)]
struct From {
    #[serde(rename = "type")]
    engine_type: String,
    api: String,
    container: String,
}

/// The former values of the fields of a container that changed; of a field that there was not, `null`.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Was {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Not read: the labels contain it.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    host_pid: Option<Option<u32>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    image: Option<Option<Image>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    health: Option<Option<Health>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oom_killed: Option<bool>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    restart_count: Option<Option<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Labels>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<Network>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<Port>>,
}

/// Distinguishes a field that is `null` from one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Was {
    fn between(was: &Container, now: &Container) -> Self {
        fn changed<T: PartialEq>(was: T, now: &T) -> Option<T> {
            (was != *now).then_some(was)
        }
        Self {
            name: changed(was.name(), &now.name()).map(str::to_owned),
            project: changed(was.project(), &now.project()).map(str::to_owned),
            host_pid: changed(was.host_pid(), &now.host_pid()),
            image: changed(was.image(), &now.image()).map(|image| image.cloned()),
            health: changed(was.health(), &now.health()),
            oom_killed: changed(was.oom_killed(), &now.oom_killed()),
            restart_count: changed(was.restart_count(), &now.restart_count()),
            labels: changed(was.labels(), &now.labels()).cloned(),
            networks: changed(was.networks(), &now.networks()).map(<[_]>::to_vec),
            ports: changed(was.ports(), &now.ports()).map(<[_]>::to_vec),
        }
    }

    /// Returns the container as it was.
    fn before(self, now: &Container) -> Container {
        let mut was = now.clone();
        if let Some(name) = self.name {
            was = was.with_name(name);
        }
        if let Some(host_pid) = self.host_pid {
            was = was.with_host_pid(host_pid);
        }
        if let Some(image) = self.image {
            was = was.with_image(image);
        }
        if let Some(health) = self.health {
            was = was.with_health(health);
        }
        if let Some(oom_killed) = self.oom_killed {
            was = was.with_oom_killed(oom_killed);
        }
        if let Some(restart_count) = self.restart_count {
            was = was.with_restart_count(restart_count);
        }
        if let Some(labels) = self.labels {
            was = was.with_labels(labels);
        }
        if let Some(networks) = self.networks {
            was = was.with_networks(networks);
        }
        if let Some(ports) = self.ports {
            was = was.with_ports(ports);
        }
        was
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields {
            event: self.kind.name(),
            time: Time(self.time),
            engine: self.engine.as_deref(),
            container: self.container().map(|container| &**container),
            exit_code: None,
            seen_by: match self.seen_by {
                SeenBy::Engine => None,
                SeenBy::Kernel => Some(KERNEL),
            },
            was: None,
            from: None,
            containers: None,
            unresolved: None,
            missed: None,
            error: None,
            crash_loop: None,
        };
        match &self.kind {
            EventKind::Exited { code, .. } => fields.exit_code = *code,
            EventKind::Updated { container, was } => fields.was = Some(Was::between(was, container)),
            EventKind::Synced { containers, unresolved } => {
                (fields.containers, fields.unresolved) = (Some(*containers), Some(*unresolved));
            }
            EventKind::Lagged { missed } => fields.missed = Some(*missed),
            EventKind::Disconnected { error } => fields.error = Some(error.to_string()),
            EventKind::Moved { container, was, from } => {
                fields.was = Some(Was::between(was, container));
                fields.from = Some(From {
                    engine_type: from.engine_type().to_owned(),
                    api: from.endpoint().to_owned(),
                    container: was.id().as_str().to_owned(),
                });
            }
            EventKind::CrashLoop(it) => fields.crash_loop = Some(Loop::of(it)),
            EventKind::Started(_)
            | EventKind::Paused(_)
            | EventKind::Unpaused(_)
            | EventKind::Joined
            | EventKind::Left => {}
        }
        fields.serialize(serializer)
    }
}

/// The kind of a [`Disconnected`](EventKind::Disconnected)'s error is not written: it is read as [`ErrorKind::Failed`].
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::<Container, String, EngineIdentity>::deserialize(deserializer)?;
        let missing = D::Error::missing_field;
        let container = fields.container.map(Arc::new).ok_or_else(|| missing("container"));
        let kind = match &*fields.event {
            "started" => EventKind::Started(container?),
            "exited" => EventKind::Exited { container: container?, code: fields.exit_code },
            "paused" => EventKind::Paused(container?),
            "unpaused" => EventKind::Unpaused(container?),
            "updated" => {
                let container = container?;
                let was = Arc::new(fields.was.unwrap_or_default().before(&container));
                EventKind::Updated { container, was }
            }
            "synced" => EventKind::Synced {
                containers: fields.containers.ok_or_else(|| missing("containers"))?,
                unresolved: fields.unresolved.unwrap_or_default(),
            },
            "lagged" => EventKind::Lagged { missed: fields.missed.ok_or_else(|| missing("missed"))? },
            "disconnected" => {
                let message = fields.error.ok_or_else(|| missing("error"))?;
                EventKind::Disconnected { error: Arc::new(EngineError::new(ErrorKind::Failed, message)) }
            }
            "joined" => EventKind::Joined,
            "left" => EventKind::Left,
            "moved" => {
                let (container, from) = (container?, fields.from.ok_or_else(|| missing("from"))?);
                let was = fields.was.unwrap_or_default().before(&container).with_id(from.container);
                let from = EngineKey::new(from.engine_type, from.api);
                EventKind::Moved { container, was: Arc::new(was), from }
            }
            "crash_loop" => {
                let it = fields.crash_loop.ok_or_else(|| missing("crash_loop"))?;
                EventKind::CrashLoop(Arc::new(it.read()))
            }
            other => return Err(D::Error::custom(format_args!("unknown kind of event '{other}'"))),
        };
        let is_by_kernel = fields.seen_by.as_deref() == Some(KERNEL);
        let seen_by = if is_by_kernel { SeenBy::Kernel } else { SeenBy::Engine };
        Ok(Self::new(fields.time.0, kind).with_engine(fields.engine.map(Arc::new)).with_seen_by(seen_by))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};

    use super::*;
    use crate::model::{POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, Protocol, SANDBOX_LABEL};

    fn web() -> Container {
        let started_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_100);
        Container::new("c0ffee", "web", 4711)
            .with_labels(Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop")]))
            .with_started_at(started_at)
    }

    fn whole() -> Container {
        let port = Port::new(80, Protocol::Tcp);
        web()
            .with_image(Image::new("nginx:1.27").with_id("sha256:1"))
            .with_health(Health::Healthy)
            .with_created_at(SystemTime::UNIX_EPOCH)
            .with_host_pid(54_711)
            .with_restart_count(2)
            .with_oom_killed(true)
            .with_network_mode(Some("shop_default"))
            .with_networks([Network::new("shop_default").with_ipv4("172.18.0.2".parse().ok())])
            .with_ports([port.published_at("0.0.0.0".parse().unwrap(), 8080), port])
    }

    fn event(kind: EventKind) -> Event {
        Event::new(web().started_at().unwrap() + Duration::from_nanos(23_456_789), kind)
    }

    #[test]
    fn an_exit_follows_the_output_contract() {
        let engine = EngineIdentity::new("docker.com", "unix:///run/docker.sock");
        let event = event(EventKind::Exited { container: Arc::new(web()), code: Some(137) });
        assert_eq!(
            serde_json::to_value(event.with_engine(Some(Arc::new(engine)))).unwrap(),
            json!({
                "event": "exited",
                "time": "2026-01-31T12:00:00.123456789Z",
                "engine": {"type": "docker.com", "id": "", "version": "", "api": "unix:///run/docker.sock"},
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
    fn a_container_has_all_that_is_known_of_it() {
        let value = serde_json::to_value(whole()).unwrap();
        let expected = json!({
            "id": "c0ffee", "name": "web", "pid": 4711, "host_pid": 54_711, "project": "shop", "paused": false,
            "image": {"name": "nginx:1.27", "id": "sha256:1"}, "health": "healthy", "oom_killed": true,
            "restart_count": 2, "created_at": "1970-01-01T00:00:00Z", "started_at": "2026-01-31T12:00:00.1Z",
            "labels": {"com.docker.compose.project": "shop"},
            "networks": [{"name": "shop_default", "ipv4": "172.18.0.2"}],
            "ports": [
                {"private": 80, "protocol": "tcp"},
                {"private": 80, "protocol": "tcp", "public": 8080, "address": "0.0.0.0"},
            ],
            "network_mode": "shop_default",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_pods_container_contains_the_pod_and_whether_it_is_the_sandbox() {
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
    fn an_update_contains_the_former_values_of_what_changed() {
        let was = |was: Container, now: Container| {
            let (container, was) = (Arc::new(now), Arc::new(was));
            serde_json::to_value(event(EventKind::Updated { container, was })).unwrap()["was"].clone()
        };
        assert_eq!(was(web().with_name("old"), web()), json!({"name": "old"}));
        assert_eq!(was(web(), web().with_health(Health::Starting)), json!({"health": null}));
        let moved = web().with_labels(Labels::default());
        assert_eq!(was(moved, web()), json!({"project": "", "labels": {}}));
        assert_eq!(
            was(whole(), web().with_name("new")),
            json!({
                "name": "web", "image": {"name": "nginx:1.27", "id": "sha256:1"}, "health": "healthy",
                "oom_killed": true, "restart_count": 2, "host_pid": 54_711,
                "networks": [{"name": "shop_default", "ipv4": "172.18.0.2"}],
                "ports": [
                    {"private": 80, "protocol": "tcp"},
                    {"private": 80, "protocol": "tcp", "public": 8080, "address": "0.0.0.0"},
                ],
            })
        );
    }

    /// A crash loop of which all is written that is known.
    fn crash_loop() -> CrashLoop {
        let labels = Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop")]);
        let container = Container::new("c0ffee", "web", 0).with_labels(labels);
        CrashLoop::new(Arc::new(container), 5, SystemTime::UNIX_EPOCH).with_code(Some(1)).with_over(true)
    }

    #[test]
    fn a_crash_loop_has_no_container_that_would_be_alive() {
        let value = serde_json::to_value(event(EventKind::CrashLoop(Arc::new(crash_loop())))).unwrap();
        let expected = json!({
            "id": "c0ffee", "name": "web", "project": "shop", "lives": 5, "since": "1970-01-01T00:00:00Z",
            "exit_code": 1, "over": true,
        });
        assert_eq!((&value["event"], &value["crash_loop"]), (&json!("crash_loop"), &expected));
        assert_eq!(value.get("container"), None);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let (container, was) = (Arc::new(whole().with_health(None)), Arc::new(whole().with_name("old")));
        let mut identity = EngineIdentity::new("docker.com", "unix:///run/docker.sock");
        identity.pid = Some(7);
        let engine = Some(Arc::new(identity));
        for kind in [
            EventKind::Started(was.clone()),
            EventKind::Exited { container: container.clone(), code: None },
            EventKind::Exited { container: container.clone(), code: Some(-1) },
            EventKind::Paused(container.clone()),
            EventKind::Unpaused(container.clone()),
            EventKind::Updated { container: container.clone(), was: was.clone() },
            EventKind::Joined,
            EventKind::Left,
            EventKind::Moved {
                was: Arc::new(Container::clone(&was).with_id("moby/c0ffee")),
                container,
                from: EngineKey::new("containerd.io", "unix:///run/a"),
            },
            EventKind::Synced { containers: 2, unresolved: 1 },
            EventKind::Lagged { missed: 3 },
            EventKind::Disconnected { error: Arc::new(EngineError::new(ErrorKind::Failed, "gone")) },
            EventKind::CrashLoop(Arc::new(crash_loop())),
        ] {
            let written = event(kind).with_engine(engine.clone());
            let text = serde_json::to_string(&written).unwrap();
            let read: Event = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{read:?}"), format!("{written:?}"), "{text}");
        }
    }

    #[test]
    fn an_end_that_the_kernel_saw_first_says_so() {
        let exited = event(EventKind::Exited { container: Arc::new(web()), code: None });
        let value = |event: &Event| serde_json::to_value(event).unwrap();
        assert_eq!(value(&exited).get("seen_by"), None);
        let seen = exited.with_seen_by(SeenBy::Kernel);
        assert_eq!(value(&seen)["seen_by"], json!("kernel"));
        assert_eq!(serde_json::from_value::<Event>(value(&seen)).unwrap().seen_by, SeenBy::Kernel);
        assert!(seen.to_string().ends_with(", seen by the kernel"), "{seen}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (text, expected) in [
            (r#"{"event":"paused","time":"2026-01-31T12:00:00Z"}"#, "missing field `container`"),
            (r#"{"event":"odd","time":"2026-01-31T12:00:00Z"}"#, "unknown kind of event 'odd'"),
            (r#"{"event":"odd","time":"noon"}"#, "noon"),
            (r#"{"event":"synced","time":"2026-01-31T12:00:00Z"}"#, "missing field `containers`"),
        ] {
            let error = serde_json::from_str::<Event>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let unknown: Value = json!({"id": "1", "name": "a", "pid": 1, "later": [7], "started_at": null});
        assert_eq!(serde_json::from_value::<Container>(unknown).unwrap(), Container::new("1", "a", 1));
    }

    #[test]
    fn a_time_out_of_range_becomes_the_nearest_in_range() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert_eq!(serde_json::to_value(Time(far)).unwrap(), json!(jiff::Timestamp::MAX.to_string()));
    }
}
