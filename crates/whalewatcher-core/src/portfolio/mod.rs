//! The portfolio: the live containers of one engine, as an immutable snapshot.

use std::fmt;
use std::sync::Arc;

use crate::model::{Container, ContainerId, EventKind};

mod difference;
mod index;
mod members;
mod pods;
mod project;

pub use difference::difference;
pub(crate) use difference::steps;
use index::Index;
pub use pods::{Pod, Pods};
pub use project::Project;

/// The live containers of one engine, by project.
///
/// A portfolio is a snapshot: it never changes, a clone costs a reference count, and it can be kept for any
/// time. Lookups by ID and by name take constant time. Two portfolios are equal if they hold equal
/// containers; revisions are ignored.
///
/// ```
/// use whalewatcher_core::{Container, Portfolio};
///
/// let portfolio = Portfolio::from_iter([Container::new("c0ffee", "web", 4711)]);
/// assert_eq!(portfolio.by_name("web").map(|container| container.pid()), Some(4711));
/// assert_eq!(portfolio.total(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Portfolio(Arc<Index>);

impl Portfolio {
    /// Returns how many times the watcher's portfolio had changed when this snapshot was taken. Of two snapshots of one
    /// watcher, the one with the higher revision is the later one.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// Returns the container with this ID or, if there is none, with this name.
    #[must_use]
    pub fn container(&self, id_or_name: &str) -> Option<&Arc<Container>> {
        self.by_id(id_or_name).or_else(|| self.by_name(id_or_name))
    }

    /// Returns the container with this ID.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&Arc<Container>> {
        self.0.by_id(id)
    }

    /// Returns the container with this name; if several have it, the one with the lowest ID.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Container>> {
        self.0.by_name(name)
    }

    /// Returns all containers with this name, by ascending ID.
    pub fn all_by_name(&self, name: &str) -> impl Iterator<Item = &Arc<Container>> {
        self.0.all_by_name(name)
    }

    /// Returns the container whose initial process has this PID; if an engine reports it of several, the one
    /// with the lowest ID.
    ///
    /// PIDs are used again: a process that is not the container's may have it already when the container has
    /// just ended. Which container *any* process belongs to is what `owner_of` of the facade finds.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<&Arc<Container>> {
        self.0.by_pid(pid)
    }

    /// Returns all containers with this ID in any scope, in no order: for `web` those with the IDs `web` and, in
    /// containerd's namespaces, `NAMESPACE/web`.
    pub fn all_by_unscoped_id(&self, id: &str) -> impl Iterator<Item = &Arc<Container>> {
        self.0.all_by_unscoped_id(id)
    }

    /// Returns the names of the projects, ascending, without the unnamed one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.project_names().filter(|name| !name.is_empty())
    }

    /// Returns the project with this name. The unnamed project `""` always exists, others while they have containers.
    #[must_use]
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.0.project(name)
    }

    /// Returns all projects by ascending name, the unnamed one first.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.0.projects()
    }

    /// Returns all containers, sorted by project, name and ID.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.projects().flat_map(Project::containers)
    }

    /// Returns all IDs, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = &ContainerId> {
        self.containers().map(|container| container.id())
    }

    /// Returns how many containers are alive.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Returns whether no container is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Applies a change. A snapshot to which all events of its subscription are applied in turn equals the watcher's
    /// portfolio. Events without a container change nothing.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use whalewatcher_core::{Container, EventKind, Portfolio};
    ///
    /// let mut portfolio = Portfolio::default();
    /// portfolio.apply(&EventKind::Started(Arc::new(Container::new("c0ffee", "web", 4711))));
    /// assert!(portfolio.by_id("c0ffee").is_some());
    /// ```
    pub fn apply(&mut self, event: &EventKind) {
        match event {
            EventKind::Started(container)
            | EventKind::Paused(container)
            | EventKind::Unpaused(container)
            | EventKind::Updated { container, .. }
            | EventKind::Moved { container, .. } => Arc::make_mut(&mut self.0).insert(container),
            EventKind::Exited { container, .. } => self.remove(container.id()),
            EventKind::Synced { .. }
            | EventKind::Lagged { .. }
            | EventKind::Disconnected { .. }
            | EventKind::Joined
            | EventKind::Left
            | EventKind::CrashLoop(_) => {}
        }
    }

    /// Removes the container with this ID.
    pub(crate) fn remove(&mut self, id: &ContainerId) {
        Arc::make_mut(&mut self.0).remove(id);
    }

    /// Replaces a container by an equal one, which has another rucksack.
    pub(crate) fn replace(&mut self, container: &Arc<Container>) {
        Arc::make_mut(&mut self.0).insert(container);
    }

    /// Returns whether this is the same snapshot, rucksacks included.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<Container> for Portfolio {
    /// Creates a portfolio that belongs to no watcher, for tests and comparisons.
    fn from_iter<I: IntoIterator<Item = Container>>(containers: I) -> Self {
        let mut portfolio = Self::default();
        for container in containers {
            Arc::make_mut(&mut portfolio.0).insert(&Arc::new(container));
        }
        portfolio
    }
}

impl PartialEq for Portfolio {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.total() == other.total()
                && self.containers().all(|container| other.by_id(container.id()) == Some(container))
    }
}

impl Eq for Portfolio {}

impl fmt::Debug for Portfolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.containers()).finish()
    }
}

/// Writes one container a line.
impl fmt::Display for Portfolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.containers().try_for_each(|container| writeln!(f, "{container}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{COMPOSE_PROJECT_LABEL, Labels};

    fn container(id: &str, name: &str, project: &str) -> Container {
        let labels = (!project.is_empty()).then_some((COMPOSE_PROJECT_LABEL, project));
        Container::new(id, name, 1).with_labels(Labels::from_iter(labels))
    }

    #[test]
    fn the_unnamed_project_always_exists_and_is_not_among_the_names() {
        let empty = Portfolio::default();
        assert!(empty.is_empty() && empty.project("").is_some_and(Project::is_empty));
        assert_eq!(empty.names().count(), 0);
        let two = Portfolio::from_iter([container("1", "a", ""), container("2", "b", "shop")]);
        assert_eq!(two.names().collect::<Vec<_>>(), ["shop"]);
        assert_eq!(two.projects().map(Project::name).collect::<Vec<_>>(), ["", "shop"]);
    }

    #[test]
    fn a_named_project_is_gone_with_its_last_container() {
        let mut all = Portfolio::from_iter([container("1", "a", "shop"), container("2", "b", "shop")]);
        for (id, left) in [("1", 1), ("2", 0)] {
            let (container, before) = (all.by_id(id).unwrap().clone(), all.revision());
            all.apply(&EventKind::Exited { container, code: None });
            assert_eq!(all.revision(), before + 1);
            assert_eq!(all.project("shop").map_or(0, Project::total), left);
        }
        assert!(all.project("shop").is_none() && all.project("").is_some());
    }

    #[test]
    fn a_change_of_neither_name_nor_project_shows_in_every_index() {
        let mut all = Portfolio::from_iter([
            container("1", "web", "shop"),
            container("2", "web", "shop"),
            container("3", "db", "shop"),
        ]);
        let before = all.clone();
        for id in ["1", "2", "3"] {
            let paused = Arc::new(Container::clone(all.by_id(id).unwrap()).with_paused(true));
            all.apply(&EventKind::Paused(paused));
        }
        assert!(before.containers().all(|container| !container.paused()));
        assert_eq!((all.containers().count(), all.all_by_name("web").count()), (3, 2));
        let named = all.all_by_name("web").chain(all.by_name("db"));
        assert!(all.containers().chain(named).all(|container| container.paused()));
        assert!(all.by_id("2").unwrap().paused());
    }

    #[test]
    fn namesakes_coexist_and_an_id_wins_over_a_name() {
        let all = Portfolio::from_iter([
            container("2", "1", ""),
            container("1", "web", ""),
            container("3", "web", "p"),
        ]);
        assert_eq!(all.container("1").unwrap().name(), "web");
        assert_eq!(all.all_by_name("web").map(|c| c.id().as_str()).collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(all.project("p").unwrap().container("web").unwrap().id().as_str(), "3");
    }

    #[test]
    fn a_snapshot_stays_as_it_was_while_the_portfolio_moves_on() {
        let mut all = Portfolio::from_iter([container("1", "a", "")]);
        let (before, revision) = (all.clone(), all.revision());
        let was = all.by_id("1").unwrap().clone();
        all.apply(&EventKind::Updated { container: Arc::new(container("1", "b", "shop")), was });
        assert_eq!(
            (before.total(), before.by_name("a").is_some(), before.by_name("b").is_some()),
            (1, true, false)
        );
        assert_eq!((all.by_name("a").is_some(), all.by_name("b").is_some()), (false, true));
        assert!(all.revision() > revision && all != before);
    }

    #[test]
    fn portfolios_with_equal_containers_are_equal() {
        let all = |names: &[&str]| names.iter().map(|name| container(name, name, "")).collect::<Portfolio>();
        assert_eq!(all(&["a", "b"]), all(&["b", "a"]));
        for other in [&[][..], &["a"], &["a", "c"], &["a", "b", "c"]] {
            assert_ne!(all(&["a", "b"]), all(other));
            assert_ne!(all(other), all(&["a", "b"]));
        }
    }

    #[test]
    fn a_projects_container_is_found_by_its_id_or_else_by_its_name() {
        let all = Portfolio::from_iter([container("1", "2", "p"), container("2", "1", "p")]);
        let project = all.project("p").unwrap();
        for (sought, name) in [("1", Some("2")), ("2", Some("1")), ("3", None)] {
            assert_eq!(project.container(sought).map(|found| found.name()), name);
        }
        assert!(!project.is_empty() && !all.is_empty());
        let named = Portfolio::from_iter([container("1", "web", "p"), container("2", "db", "p")]);
        assert_eq!(named.project("p").unwrap().container("web").unwrap().id().as_str(), "1");
    }

    /// With linear lookups, this test would run for minutes.
    #[test]
    fn each_of_very_many_is_found() {
        let named = |nth: u32| (nth.to_string(), format!("n{nth}"));
        let all: Portfolio = (0..200_000).map(named).map(|(id, name)| container(&id, &name, "")).collect();
        for (id, name) in (0..200_000).map(named) {
            assert_eq!(all.by_id(&id).map(|found| found.name()), Some(&*name));
            assert_eq!(all.by_name(&name).map(|found| found.id().as_str()), Some(&*id));
        }
    }

    #[test]
    fn display_writes_one_container_a_line() {
        let all = Portfolio::from_iter([container("1", "web", "p"), container("2", "db", "")]);
        let texts = ["container 'db'/2 with PID 1", "container 'web'/1 from project 'p' with PID 1"];
        assert_eq!(all.to_string(), format!("{}\n{}\n", texts[0], texts[1]));
        assert_eq!(format!("{all:?}"), format!("{:?}", all.containers().collect::<Vec<_>>()));
        let project = format!("{:?}", all.project("p").unwrap());
        assert!(project.starts_with(r#"Project { name: "p", containers: [Container"#), "{project}");
    }

    /// An ID without a scope or in one of two.
    fn scoped(nth: u8) -> String {
        format!("{}{}", ["", "a/", "b/"][usize::from(nth % 3)], nth / 3)
    }

    proptest! {
        /// After any insertions and removals, all indexes agree with a plain map, also with colliding hashes.
        #[test]
        fn every_index_agrees_with_a_plain_map(
            steps in proptest::collection::vec((0..6_u8, 0..4_u8, 0..3_u8, 1..4_u32, any::<bool>()), 0..80),
            poor in any::<bool>()
        ) {
            let mut all = if poor { Portfolio(Arc::new(Index::hashing_poorly())) } else { Portfolio::default() };
            let mut model = BTreeMap::<String, Container>::new();
            for (id, name, project, pid, goes) in steps {
                let project = ["", "p", "q"][usize::from(project)];
                let id = scoped(id);
                let labels = container("", "", project).labels().clone();
                let it = Container::new(id.as_str(), format!("n{name}"), pid).with_labels(labels);
                let event = if goes {
                    model.remove(&id);
                    EventKind::Exited { container: Arc::new(it), code: None }
                } else {
                    model.insert(id, it.clone());
                    EventKind::Started(Arc::new(it))
                };
                all.apply(&event);
                prop_assert_eq!(all.total(), model.len());
                prop_assert_eq!(all.containers().count(), model.len());
                prop_assert_eq!(all.projects().map(Project::total).sum::<usize>(), model.len());
                for id in (0..6).map(scoped) {
                    prop_assert_eq!(all.by_id(&id).map(|c| &**c), model.get(&id));
                }
                for pid in 1..4 {
                    let expected = model.values().find(|c| c.pid() == pid);
                    prop_assert_eq!(all.by_pid(pid).map(|c| &**c), expected);
                }
                for id in ["0", "1", "a/0", "a", ""] {
                    let expected: Vec<_> = model.values().filter(|c| c.id().rsplit('/').next() == Some(id)).collect();
                    let mut found: Vec<_> = all.all_by_unscoped_id(id).map(|c| &**c).collect();
                    found.sort_by_key(|c| c.id().clone());
                    prop_assert_eq!(found, expected);
                }
                for name in 0..4 {
                    let name = format!("n{name}");
                    let expected: Vec<_> = model.values().filter(|c| c.name() == name).collect();
                    prop_assert_eq!(all.by_name(&name).map(|c| &**c), expected.first().copied());
                    let alone = (!expected.is_empty()).then_some(expected.len() == 1);
                    prop_assert_eq!(all.0.holds_one(&name), alone, "as many as there are");
                    prop_assert_eq!(all.all_by_name(&name).map(|c| &**c).collect::<Vec<_>>(), expected);
                }
                for project in ["p", "q"] {
                    let expected = model.values().filter(|c| c.project() == project).count();
                    prop_assert_eq!(all.project(project).map_or(0, Project::total), expected);
                    prop_assert_eq!(all.project(project).is_some(), expected > 0);
                }
            }
        }
    }
}
