//! A container that is alive, as an immutable value.

use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use super::container_id::ContainerId;
use super::escape::Printable;
use super::health::Health;
use super::image::Image;
use super::labels::Labels;
use super::network::{Network, Port};
use super::shared;

/// The label by which compose marks a container as belonging to a project.
pub const COMPOSE_PROJECT_LABEL: &str = "com.docker.compose.project";

/// The labels that name a container's project, in order of precedence: compose, Swarm stacks, podman-compose.
const PROJECT_LABELS: [&str; 3] =
    [COMPOSE_PROJECT_LABEL, "com.docker.stack.namespace", "io.podman.compose.project"];

/// The label, with an empty value, of privileged containers. The adapter to Docker and podman adds it.
pub const PRIVILEGED_LABEL: &str = "github.com/thediveo/whalewatcher/moby/privileged";

/// A container that is alive: it has an initial process, running or paused.
///
/// An immutable value: when a container changes, the [`Portfolio`](crate::Portfolio) holds another value for it.
/// Two containers are equal if everything but their rucksacks is equal.
///
/// ```
/// use whalewatcher_core::{COMPOSE_PROJECT_LABEL, Container, Labels};
///
/// let labels = Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop")]);
/// let web = Container::new("c0ffee", "web", 4711).with_labels(labels);
/// assert_eq!((web.name(), web.pid(), web.project()), ("web", 4711, "shop"));
/// assert_eq!(web.to_string(), "container 'web'/c0ffee from project 'shop' with PID 4711");
/// ```
#[derive(Clone)]
pub struct Container {
    id: ContainerId,
    name: Arc<str>,
    pid: u32,
    paused: bool,
    oom_killed: bool,
    health: Option<Health>,
    started_at: Option<SystemTime>,
    details: Arc<Details>,
    rucksack: Option<Arc<dyn Any + Send + Sync>>,
}

/// What changes rarely, in one piece: a copy of the container, as each pause makes one, counts one reference
/// for all of it.
#[derive(Clone, Default, PartialEq)]
struct Details {
    labels: Labels,
    host_pid: Option<NonZeroU32>,
    restart_count: Option<u32>,
    created_at: Option<SystemTime>,
    image: Option<Image>,
    /// `None` where the engine does not report them.
    networks: Option<Arc<[Network]>>,
    network_mode: Option<Arc<str>>,
    ports: Option<Arc<[Port]>>,
}

impl Container {
    /// Creates a running container without labels. A `pid` of 0 means that the PID is not known.
    pub fn new(id: impl Into<ContainerId>, name: impl Into<Arc<str>>, pid: u32) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            pid,
            paused: false,
            oom_killed: false,
            health: None,
            started_at: None,
            details: Arc::default(),
            rucksack: None,
        }
    }

    fn details_mut(&mut self) -> &mut Details {
        Arc::make_mut(&mut self.details)
    }

    /// Whether the details are equal. Networks that are not reported equal none.
    fn has_details_of(&self, other: &Self) -> bool {
        self.host_pid() == other.host_pid()
            && self.restart_count() == other.restart_count()
            && self.created_at() == other.created_at()
            && self.labels() == other.labels()
            && self.image() == other.image()
            && self.networks() == other.networks()
            && self.network_mode() == other.network_mode()
            && self.ports() == other.ports()
    }

    /// Sets the ID.
    #[cfg(feature = "serde")]
    pub(crate) fn with_id(mut self, id: impl Into<ContainerId>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the PID.
    pub(crate) fn with_pid(mut self, pid: u32) -> Self {
        self.pid = pid;
        self
    }

    /// Shares what is equal with the container that is known by this ID, so that it is held once; if none is, the ID.
    pub(crate) fn sharing(mut self, id: &ContainerId, known: Option<&Self>) -> Self {
        let id = known.map_or(id, |known| &known.id);
        if self.id == *id {
            self.id = id.clone();
        }
        let Some(known) = known else { return self };
        if self.name == known.name {
            self.name = known.name.clone();
        }
        if self.details == known.details {
            self.details = known.details.clone();
            return self;
        }
        let (details, known) = (self.details_mut(), &known.details);
        if details.labels == known.labels {
            details.labels = known.labels.clone();
        }
        if details.networks == known.networks {
            details.networks.clone_from(&known.networks);
        }
        if details.ports == known.ports {
            details.ports.clone_from(&known.ports);
        }
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.details_mut().labels = labels;
        self
    }

    /// Sets whether it is paused.
    #[must_use]
    pub fn with_paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// Sets the time, by the engine's clock, at which this life began.
    #[must_use]
    pub fn with_started_at(mut self, started_at: impl Into<Option<SystemTime>>) -> Self {
        self.started_at = started_at.into();
        self
    }

    /// Sets the time, by the engine's clock, at which the container was created.
    #[must_use]
    pub fn with_created_at(mut self, created_at: impl Into<Option<SystemTime>>) -> Self {
        self.details_mut().created_at = created_at.into();
        self
    }

    /// Sets the image.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<Option<Image>>) -> Self {
        self.details_mut().image = image.into();
        self
    }

    /// Sets the health.
    #[must_use]
    pub fn with_health(mut self, health: impl Into<Option<Health>>) -> Self {
        self.health = health.into();
        self
    }

    /// Sets the networks. A container in a list whose networks are set, even to none, is compared by them.
    #[must_use]
    pub fn with_networks(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        let mut networks: Vec<_> = networks.into_iter().collect();
        networks.sort_by(|one, other| one.name().cmp(other.name()));
        self.details_mut().networks = Some(networks.into());
        self
    }

    /// Sets the network mode.
    #[must_use]
    pub fn with_network_mode(mut self, network_mode: Option<&str>) -> Self {
        self.details_mut().network_mode = network_mode.map(shared::text);
        self
    }

    /// Sets the ports. A container in a list whose ports are set, even to none, is compared by them.
    #[must_use]
    pub fn with_ports(mut self, ports: impl IntoIterator<Item = Port>) -> Self {
        let mut ports: Vec<_> = ports.into_iter().collect();
        ports.sort_unstable();
        ports.dedup();
        self.details_mut().ports = Some(ports.into());
        self
    }

    /// Sets the PID of its initial process in the PID namespace of this host, where the engine has another one.
    #[must_use]
    pub fn with_host_pid(mut self, host_pid: impl Into<Option<u32>>) -> Self {
        let host_pid = host_pid.into().and_then(NonZeroU32::new);
        if host_pid != self.details.host_pid {
            self.details_mut().host_pid = host_pid;
        }
        self
    }

    /// Sets how many times the engine has restarted the container by itself.
    #[must_use]
    pub fn with_restart_count(mut self, restart_count: impl Into<Option<u32>>) -> Self {
        self.details_mut().restart_count = restart_count.into();
        self
    }

    /// Sets whether the kernel killed one of its processes for lack of memory.
    #[must_use]
    pub fn with_oom_killed(mut self, oom_killed: bool) -> Self {
        self.oom_killed = oom_killed;
        self
    }

    /// Attaches a value of the application, which [`rucksack`](Self::rucksack) returns.
    #[must_use]
    pub fn with_rucksack(mut self, rucksack: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        self.rucksack = rucksack;
        self
    }

    /// Returns roughly how many bytes it takes, without its rucksack.
    pub(crate) fn size(&self) -> usize {
        let labels = self.details.labels.iter().map(|(key, value)| key.len() + value.len() + 80);
        let image = self.image().map_or(0, |image| image.name().len() + image.id().map_or(0, str::len) + 80);
        let networks = self.networks().iter().map(|network| network.name().len() + 80).sum::<usize>();
        let ports = size_of_val(self.ports()) + self.network_mode().map_or(0, str::len);
        256 + self.id.len() + self.name.len() + labels.sum::<usize>() + image + networks + ports
    }

    /// Returns the ID by which the engine identifies it.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Returns its name, which need not be unique; on engines without names, its ID.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the PID of its initial process, in the PID namespace of the engine.
    ///
    /// Never 0 for a container in a portfolio. It is 0 only in the events of a life that ended before it could be
    /// inspected.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the PID of its initial process in the PID namespace of this host, if the engine is known to
    /// have another one, as in a container.
    #[must_use]
    pub fn host_pid(&self) -> Option<u32> {
        self.details.host_pid.map(NonZeroU32::get)
    }

    /// Returns its labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.details.labels
    }

    /// Returns the compose project or Swarm stack that it belongs to, `""` if none: the first of the labels
    /// `com.docker.compose.project`, `com.docker.stack.namespace` and `io.podman.compose.project` that is not blank.
    #[must_use]
    pub fn project(&self) -> &str {
        let mut names = PROJECT_LABELS.iter().filter_map(|label| self.details.labels.get(label));
        names.find(|name| !name.trim().is_empty()).unwrap_or_default()
    }

    /// Returns whether its processes are frozen.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// Returns when this life began, by the engine's clock; `None` where the engine reports no start time.
    #[must_use]
    pub fn started_at(&self) -> Option<SystemTime> {
        self.started_at
    }

    /// Returns when the container was created, by the engine's clock; `None` where the engine does not report it.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.details.created_at
    }

    /// Returns the image that it was created from; `None` where the engine does not report it.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.details.image.as_ref()
    }

    /// Returns the newest result of its healthcheck; `None` if it has none. Docker and podman have healthchecks.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.health
    }

    /// Returns the networks that it is connected to, by ascending name; none where the engine does not report
    /// them or the client was built without.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        self.details.networks.as_deref().unwrap_or_default()
    }

    /// Returns the network mode that it was created with, such as `bridge`, `host`, the name of a network, or
    /// `container:ID` if it uses the networks of another container; `None` where the engine does not report
    /// it or the client was built without networks. Docker's API has it.
    #[must_use]
    pub fn network_mode(&self) -> Option<&str> {
        self.details.network_mode.as_deref()
    }

    /// Returns the ports that it exposes or publishes, in ascending order; none where the engine does not
    /// report them or the client was built without.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        self.details.ports.as_deref().unwrap_or_default()
    }

    /// Returns how many times the engine has restarted it by itself, on CRI runtimes the container's attempt;
    /// `None` where the engine does not report it.
    #[must_use]
    pub fn restart_count(&self) -> Option<u32> {
        self.details.restart_count
    }

    /// Returns whether, in this life, the kernel killed one of its processes for lack of memory: the initial
    /// process, and the life is over or about to end, or another one. Where an engine reports that only with
    /// the exit, the container of the exit has it.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.oom_killed
    }

    /// Returns whether it has the label [`PRIVILEGED_LABEL`]: it has all the rights of its engine's host.
    /// Docker and podman report that, but podman's own list does not.
    #[must_use]
    pub fn privileged(&self) -> bool {
        self.details.labels.contains(PRIVILEGED_LABEL)
    }

    /// Returns whether the networks and ports that this container has, as far as its engine listed them, and
    /// its health are those of another one.
    pub(crate) fn lists_same_details(&self, known: &Self) -> bool {
        (self.health.is_none() || self.health == known.health)
            && (self.details.networks.is_none() || self.networks() == known.networks())
            && (self.details.ports.is_none() || self.ports() == known.ports())
    }

    pub(crate) fn has_rucksack(&self) -> bool {
        self.rucksack.is_some()
    }

    /// Returns what the application's packer made of the engine's inspection data, if it is a `T`. It is
    /// packed again with each inspection: when the container changes, after a reconnect, and on request
    /// ([`EngineWatcher::refresh`](crate::EngineWatcher::refresh)).
    #[must_use]
    pub fn rucksack<T: 'static>(&self) -> Option<&T> {
        self.rucksack.as_deref().and_then(|rucksack| rucksack.downcast_ref())
    }
}

impl PartialEq for Container {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.pid == other.pid
            && self.paused == other.paused
            && self.oom_killed == other.oom_killed
            && self.health == other.health
            && self.started_at == other.started_at
            && self.name == other.name
            && (Arc::ptr_eq(&self.details, &other.details) || self.has_details_of(other))
    }
}

impl Eq for Container {}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("pid", &self.pid)
            .field("paused", &self.paused)
            .field("host_pid", &self.host_pid())
            .field("oom_killed", &self.oom_killed)
            .field("health", &self.health)
            .field("restart_count", &self.details.restart_count)
            .field("created_at", &self.details.created_at)
            .field("started_at", &self.started_at)
            .field("image", &self.details.image)
            .field("labels", &self.details.labels)
            .field("networks", &self.networks())
            .field("network_mode", &self.details.network_mode)
            .field("ports", &self.ports())
            .field("rucksack", &self.rucksack.is_some())
            .finish()
    }
}

/// `[paused ]container 'NAME'[/ID where it differs from NAME] [from project 'P' ]with PID N`, with control
/// characters escaped.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.paused {
            f.write_str("paused ")?;
        }
        write!(f, "container '{}'", Printable(&self.name))?;
        if *self.name != *self.id {
            write!(f, "/{}", self.id)?;
        }
        if !self.project().is_empty() {
            write!(f, " from project '{}'", Printable(self.project()))?;
        }
        write!(f, " with PID {}", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::network::Protocol;

    #[test]
    fn what_is_equal_is_held_once_and_nothing_changes() {
        let web = |pid, service: &str| {
            Container::new("1".to_owned(), "web".to_owned(), pid)
                .with_labels(Labels::from_iter([("service", service)]))
                .with_networks([Network::new("shop")])
                .with_ports([Port::new(80, Protocol::Tcp)])
        };
        let known = web(7, "web");
        let again = web(9, "web").sharing(known.id(), Some(&known));
        assert_eq!(again, web(9, "web"));
        assert!(std::ptr::eq(again.id().as_str(), known.id().as_str()));
        assert!(std::ptr::eq(again.name(), known.name()));
        assert!(
            std::ptr::eq(again.networks(), known.networks()) && std::ptr::eq(again.ports(), known.ports())
        );
        let changed = web(7, "db").with_name("db").with_networks([]).with_ports([]);
        assert_eq!(changed.clone().sharing(known.id(), Some(&known)), changed);
        assert!(std::ptr::eq(changed.sharing(known.id(), None).id().as_str(), known.id().as_str()));
    }

    #[test]
    fn the_first_label_that_names_a_project_counts() {
        let [compose, stack, podman] = PROJECT_LABELS;
        for (labels, project) in [
            (&[(compose, "shop"), (stack, "swarm"), (podman, "pod")][..], "shop"),
            (&[(compose, " \t"), (stack, "swarm"), (podman, "pod")], "swarm"),
            (&[(stack, ""), (podman, " pod ")], " pod "),
            (&[(compose, " "), ("project", "other")], ""),
        ] {
            let labels = Labels::from_iter(labels.iter().copied());
            assert_eq!(Container::new("a", "a", 1).with_labels(labels).project(), project);
        }
    }

    #[test]
    fn text_names_the_id_only_where_it_differs_and_the_project_only_where_there_is_one() {
        assert_eq!(Container::new("c0ffee", "web", 42).to_string(), "container 'web'/c0ffee with PID 42");
        let shop = Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop")]);
        let web = Container::new("web", "web", 42).with_labels(shop).with_paused(true);
        assert_eq!(web.to_string(), "paused container 'web' from project 'shop' with PID 42");
    }

    #[test]
    fn control_characters_in_names_do_not_reach_a_terminal() {
        let evil = Container::new("x", "a\u{1b}[2J\r\nb\u{202e}", 1).to_string();
        assert_eq!(evil, r"container 'a\u{1b}[2J\r\nb\u{202e}'/x with PID 1");
    }

    #[test]
    fn a_rucksack_gives_back_only_what_was_packed() {
        let packed = Container::new("x", "x", 1).with_rucksack(Some(Arc::new(7_u8)));
        assert_eq!((packed.rucksack::<u8>(), packed.rucksack::<u16>()), (Some(&7), None));
        assert_eq!(packed, Container::new("x", "x", 1), "a rucksack is not part of a container's identity");
    }
}
