//! A container that is alive, as an immutable value.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::container_id::ContainerId;
use super::escape::Printable;
use super::labels::Labels;

/// The label by which compose marks a container as belonging to a project.
pub const COMPOSE_PROJECT_LABEL: &str = "com.docker.compose.project";

/// The labels that name a container's project, the first one that names any counts: compose, Swarm stacks, podman-compose.
const PROJECT_LABELS: [&str; 3] =
    [COMPOSE_PROJECT_LABEL, "com.docker.stack.namespace", "io.podman.compose.project"];

/// A container that is alive: it has an initial process, running or paused.
///
/// A value never changes; what changes is which value a [`Portfolio`](crate::Portfolio) holds.
/// Two containers are equal if everything but their rucksack is.
#[derive(Clone)]
pub struct Container {
    id: ContainerId,
    name: Arc<str>,
    pid: u32,
    labels: Labels,
    paused: bool,
    started_at: Option<SystemTime>,
    rucksack: Option<Arc<dyn Any + Send + Sync>>,
}

impl Container {
    /// A running container without labels. Engine clients make these; a `pid` of 0 means that it is not known.
    pub fn new(id: impl Into<ContainerId>, name: impl Into<Arc<str>>, pid: u32) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            pid,
            labels: Labels::default(),
            paused: false,
            started_at: None,
            rucksack: None,
        }
    }

    /// The same with this PID.
    pub(crate) fn with_pid(mut self, pid: u32) -> Self {
        self.pid = pid;
        self
    }

    /// The same, with what another container has, too, held once: its labels, and its ID and name if it is a former life.
    pub(crate) fn sharing(mut self, other: &Self) -> Self {
        if self.id == other.id {
            self.id = other.id.clone();
        }
        if self.name == other.name {
            self.name = other.name.clone();
        }
        self.labels = self.labels.sharing(&other.labels);
        self
    }

    /// The same with these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// The same, paused or not.
    #[must_use]
    pub fn with_paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// The same with the moment, by the engine's clock, at which this life began.
    #[must_use]
    pub fn with_started_at(mut self, started_at: impl Into<Option<SystemTime>>) -> Self {
        self.started_at = started_at.into();
        self
    }

    /// The same with a value of the application's.
    #[must_use]
    pub fn with_rucksack(mut self, rucksack: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        self.rucksack = rucksack;
        self
    }

    /// How many bytes it takes, roughly, without its rucksack.
    pub(crate) fn size(&self) -> usize {
        let labels = self.labels.iter().map(|(key, value)| key.len() + value.len() + 80);
        128 + self.id.len() + self.name.len() + labels.sum::<usize>()
    }

    /// What identifies it to its engine.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its name; on engines without names the same as its ID. Not necessarily unique.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The PID of its initial process, in the PID namespace of the engine.
    ///
    /// Never 0 for a container in a portfolio. It is 0 only in the events of a life that was over before the
    /// engine could be asked for its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its labels; none is the empty set.
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

    /// Whether its processes are frozen.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// When this life began, by the engine's clock; `None` where the engine tells no start time.
    #[must_use]
    pub fn started_at(&self) -> Option<SystemTime> {
        self.started_at
    }

    /// What the application's packer made of the engine's own inspection data, if it is a `T`.
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
            && self.started_at == other.started_at
            && self.name == other.name
            && self.labels == other.labels
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
            .field("started_at", &self.started_at)
            .field("labels", &self.labels)
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
    fn what_two_containers_have_in_common_is_held_once_and_neither_changes() {
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

        // Somebody else's labels are let alone, and without any there is nothing to share.
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
