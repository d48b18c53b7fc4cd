//! Containers.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::Time;
use crate::model::{Container, ContainerId, Health, Image, Labels, Network, Port};

/// The fields of a container, as they are written.
#[derive(serde::Serialize)]
struct Written<'a> {
    id: &'a ContainerId,
    name: &'a str,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_pid: Option<u32>,
    project: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Membership<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a Image>,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    oom_killed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Time>,
    started_at: Option<Time>,
    labels: &'a Labels,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    networks: &'a [Network],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ports: &'a [Port],
    #[serde(skip_serializing_if = "Option::is_none")]
    network_mode: Option<&'a str>,
}

/// A container's pod, and whether the container is its sandbox.
#[derive(serde::Serialize)]
struct Membership<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    sandbox: bool,
}

impl Serialize for Container {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pod = self.pod().map(|pod| Membership {
            namespace: pod.namespace(),
            name: pod.name(),
            uid: pod.uid(),
            sandbox: self.is_sandbox(),
        });
        let written = Written {
            id: self.id(),
            name: self.name(),
            pid: self.pid(),
            host_pid: self.host_pid(),
            project: self.project(),
            pod,
            image: self.image(),
            paused: self.paused(),
            health: self.health(),
            oom_killed: self.oom_killed(),
            restart_count: self.restart_count(),
            created_at: self.created_at().map(Time),
            started_at: self.started_at().map(Time),
            labels: self.labels(),
            networks: self.networks(),
            ports: self.ports(),
            network_mode: self.network_mode(),
        };
        written.serialize(serializer)
    }
}

/// The fields of a container, as they are read. What its labels contain is not read.
#[derive(serde::Deserialize)]
struct Read {
    id: ContainerId,
    name: String,
    pid: u32,
    host_pid: Option<u32>,
    image: Option<Image>,
    #[serde(default)]
    paused: bool,
    health: Option<Health>,
    #[serde(default)]
    oom_killed: bool,
    restart_count: Option<u32>,
    created_at: Option<Time>,
    started_at: Option<Time>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    networks: Vec<Network>,
    #[serde(default)]
    ports: Vec<Port>,
    network_mode: Option<String>,
}

impl<'de> Deserialize<'de> for Container {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        Ok(Self::new(read.id, read.name, read.pid)
            .with_host_pid(read.host_pid)
            .with_image(read.image)
            .with_paused(read.paused)
            .with_health(read.health)
            .with_oom_killed(read.oom_killed)
            .with_restart_count(read.restart_count)
            .with_created_at(read.created_at.map(|Time(time)| time))
            .with_started_at(read.started_at.map(|Time(time)| time))
            .with_labels(read.labels)
            .with_networks(read.networks)
            .with_ports(read.ports)
            .with_network_mode(read.network_mode.as_deref()))
    }
}
