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
use super::network::{self, Network, Port};

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
    host_pid: Option<NonZeroU32>,
    labels: Labels,
    paused: bool,
    oom_killed: bool,
    health: Option<Health>,
    restart_count: Option<u32>,
    created_at: Option<SystemTime>,
    started_at: Option<SystemTime>,
    image: Option<Arc<Image>>,
    networks: Option<Arc<[Network]>>,
    ports: Option<Arc<[Port]>>,
    rucksack: Option<Arc<dyn Any + Send + Sync>>,
}

impl Container {
    /// Creates a running container without labels. A `pid` of 0 means that the PID is not known.
    pub fn new(id: impl Into<ContainerId>, name: impl Into<Arc<str>>, pid: u32) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            pid,
            labels: Labels::default(),
            paused: false,
            host_pid: None,
            oom_killed: false,
            health: None,
            restart_count: None,
            created_at: None,
            started_at: None,
            image: None,
            networks: None,
            ports: None,
            rucksack: None,
        }
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

    /// Shares equal values with another container, so that they are held once: labels, image, networks and ports, and, of a
    /// former life, ID and name.
    pub(crate) fn sharing(mut self, other: &Self) -> Self {
        if self.id == other.id {
            self.id = other.id.clone();
        }
        if self.name == other.name {
            self.name = other.name.clone();
        }
        self.labels = self.labels.sharing(&other.labels);
        if self.image == other.image {
            self.image.clone_from(&other.image);
        }
        self.networks = network::sharing(self.networks, &other.networks);
        if self.ports == other.ports {
            self.ports.clone_from(&other.ports);
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
        self.labels = labels;
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
        self.created_at = created_at.into();
        self
    }

    /// Sets the image.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<Option<Image>>) -> Self {
        self.image = image.into().map(Arc::new);
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
        self.networks = Some(networks.into());
        self
    }

    /// Sets the ports. A container in a list whose ports are set, even to none, is compared by them.
    #[must_use]
    pub fn with_ports(mut self, ports: impl IntoIterator<Item = Port>) -> Self {
        let mut ports: Vec<_> = ports.into_iter().collect();
        ports.sort_unstable();
        ports.dedup();
        self.ports = Some(ports.into());
        self
    }

    /// Sets the PID of its initial process in the PID namespace of this host, where the engine has another one.
    #[must_use]
    pub fn with_host_pid(mut self, host_pid: impl Into<Option<u32>>) -> Self {
        self.host_pid = host_pid.into().and_then(NonZeroU32::new);
        self
    }

    /// Sets how many times the engine has restarted the container by itself.
    #[must_use]
    pub fn with_restart_count(mut self, restart_count: impl Into<Option<u32>>) -> Self {
        self.restart_count = restart_count.into();
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
        let labels = self.labels.iter().map(|(key, value)| key.len() + value.len() + 80);
        let image = self.image().map_or(0, |image| image.name().len() + image.id().map_or(0, str::len) + 80);
        let networks = self.networks().iter().map(|network| network.name().len() + 80).sum::<usize>();
        let ports = size_of_val(self.ports());
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

    /// Returns the PID of its initial process in the PID namespace of this host, if the engine is known to have another one, as in a
    /// container.
    #[must_use]
    pub fn host_pid(&self) -> Option<u32> {
        self.host_pid.map(NonZeroU32::get)
    }

    /// Returns its labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Returns the compose project or Swarm stack that it belongs to, `""` if none: the first of the labels
    /// `com.docker.compose.project`, `com.docker.stack.namespace` and `io.podman.compose.project` that is not blank.
    #[must_use]
    pub fn project(&self) -> &str {
        let mut names = PROJECT_LABELS.iter().filter_map(|label| self.labels.get(label));
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
        self.created_at
    }

    /// Returns the image that it was created from; `None` where the engine does not report it.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.image.as_deref()
    }

    /// Returns the newest result of its healthcheck; `None` if it has none. Docker and podman have healthchecks.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.health
    }

    /// Returns the networks that it is connected to, by ascending name; none where the engine does not report them or the client
    /// was built without.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        self.networks.as_deref().unwrap_or_default()
    }

    /// Returns the ports that it exposes or publishes, in ascending order; none where the engine does not report them or the
    /// client was built without.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        self.ports.as_deref().unwrap_or_default()
    }

    /// Returns how many times the engine has restarted it by itself, on CRI runtimes the container's attempt; `None` where the engine
    /// does not report it.
    #[must_use]
    pub fn restart_count(&self) -> Option<u32> {
        self.restart_count
    }

    /// Returns whether, in this life, the kernel killed one of its processes for lack of memory: the initial process, and the life
    /// is over or about to end, or another one. Where an engine reports that only with the exit, the container of the exit has it.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.oom_killed
    }

    /// Returns whether it has the label [`PRIVILEGED_LABEL`]: it has all the rights of its engine's host. Docker and podman
    /// report that, but podman's own list does not.
    #[must_use]
    pub fn privileged(&self) -> bool {
        self.labels.contains(PRIVILEGED_LABEL)
    }

    /// Returns whether the networks and ports that this container has, as far as its engine listed them, and its health are those
    /// of another one.
    pub(crate) fn lists_same_details(&self, known: &Self) -> bool {
        (self.health.is_none() || self.health == known.health)
            && (self.networks.is_none() || self.networks() == known.networks())
            && (self.ports.is_none() || self.ports() == known.ports())
    }

    pub(crate) fn has_rucksack(&self) -> bool {
        self.rucksack.is_some()
    }

    /// Returns what the application's packer made of the engine's inspection data, if it is a `T`. It is packed again with each
    /// inspection: when the container changes, after a reconnect, and on request
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
            && self.host_pid == other.host_pid
            && self.oom_killed == other.oom_killed
            && self.health == other.health
            && self.restart_count == other.restart_count
            && self.created_at == other.created_at
            && self.started_at == other.started_at
            && self.name == other.name
            && self.labels == other.labels
            && self.image == other.image
            && self.networks() == other.networks()
            && self.ports() == other.ports()
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
            .field("restart_count", &self.restart_count)
            .field("created_at", &self.created_at)
            .field("started_at", &self.started_at)
            .field("image", &self.image)
            .field("labels", &self.labels)
            .field("networks", &self.networks())
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

    #[test]
    fn shared_texts_are_held_once_and_neither_container_changes() {
        let labels = |service: &str| {
            Labels::from_iter([
                ("project".to_owned(), "shop".to_owned()),
                ("service".to_owned(), service.to_owned()),
            ])
        };
        let web = Container::new("1".to_owned(), "web".to_owned(), 7).with_labels(labels("web"));
        let db = Container::new("2".to_owned(), "db".to_owned(), 8).with_labels(labels("db"));
        let sharing = db.clone().with_labels(labels("db")).sharing(&web);
        assert_eq!((&sharing, sharing.name(), sharing.labels().get("service")), (&db, "db", Some("db")));
        let held = |container: &Container| {
            container.labels().iter().map(|(key, value)| (key.as_ptr(), value.as_ptr())).collect::<Vec<_>>()
        };
        let (shared, webs) = (held(&sharing), held(&web));
        assert_eq!(shared[0], webs[0]);
        assert!(shared[1].0 == webs[1].0 && shared[1].1 != webs[1].1);

        let restarted = Container::new("1".to_owned(), "web".to_owned(), 9).with_labels(labels("web"));
        let restarted = restarted.sharing(&web);
        assert_eq!(held(&restarted), webs);
        assert!(std::ptr::eq(restarted.id().as_str(), web.id().as_str()));
        assert!(std::ptr::eq(restarted.name(), web.name()) && restarted.pid() == 9);

        // Labels that are held elsewhere too are not changed, and without labels there is nothing to share.
        let kept = labels("db");
        let unshared = db.with_labels(kept.clone()).sharing(&web);
        assert_ne!(held(&unshared)[0], webs[0]);
        assert_eq!(*unshared.labels(), kept);
        assert_eq!(Container::new("3", "x", 1).sharing(&web), Container::new("3", "x", 1));
        assert_eq!(web.clone().sharing(&Container::new("3", "x", 1)), web);
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
