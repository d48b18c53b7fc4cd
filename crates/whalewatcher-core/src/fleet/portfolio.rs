//! The portfolio of a fleet: the live containers of all its engines, as an immutable snapshot.

use std::fmt;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::event::FleetEvent;
use super::member::FleetMember;
use crate::model::{Container, EngineKey, EventKind};
use crate::portfolio::{Pods, Portfolio, Project};

/// The live containers of all engines of a fleet, each container once.
///
/// A snapshot: it never changes, a clone costs a reference count, and it can be kept for any time. A lookup
/// asks the index of each member. Two are equal if their members have equal containers and are in sync or
/// disconnected alike; revisions are ignored.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// # use whalewatcher_core::scripted::Engine;
/// # use whalewatcher_core::{Container, EngineWatcher, Fleet};
/// # let docker = Engine::new();
/// # docker.start(Container::new("c0ffee", "web", 4711));
/// # let fleet = Fleet::new();
/// # fleet.add(EngineWatcher::new(docker))?;
/// fleet.ready(Duration::from_secs(10)).await;
/// let now = fleet.portfolio();
/// for (engine, web) in now.by_name("web") {
///     println!("{} has a container {web}", engine.key());
/// }
/// assert_eq!(now.total(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct FleetPortfolio(Arc<Members>);

#[derive(Clone, Default)]
struct Members {
    revision: u64,
    by_key: RedBlackTreeMapSync<EngineKey, FleetMember>,
}

impl FleetPortfolio {
    /// Returns how many times the fleet's portfolio had changed when this snapshot was taken. Of two
    /// snapshots of one fleet, the one with the higher revision is the later one.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// Returns the members, sorted by endpoint and type.
    pub fn members(&self) -> impl Iterator<Item = &FleetMember> {
        self.0.by_key.values()
    }

    /// Returns the member with this key.
    #[must_use]
    pub fn member(&self, key: &EngineKey) -> Option<&FleetMember> {
        self.0.by_key.get(key)
    }

    /// Returns all containers, by member, then sorted by project, name and ID.
    pub fn containers(&self) -> impl Iterator<Item = (&FleetMember, &Arc<Container>)> {
        self.members()
            .flat_map(|member| member.portfolio.containers().map(move |container| (member, container)))
    }

    /// Returns the first container with this ID or, if there is none, with this name.
    #[must_use]
    pub fn container(&self, id_or_name: &str) -> Option<(&FleetMember, &Arc<Container>)> {
        let first = self.by_id(id_or_name).next();
        first.or_else(|| self.by_name(id_or_name).next())
    }

    /// Returns the containers with this ID: at most one of each member.
    pub fn by_id(&self, id: &str) -> impl Iterator<Item = (&FleetMember, &Arc<Container>)> {
        self.each(move |portfolio| portfolio.by_id(id))
    }

    /// Returns the containers with this ID in any scope, such as a containerd namespace.
    pub fn by_unscoped_id(&self, id: &str) -> impl Iterator<Item = (&FleetMember, &Arc<Container>)> {
        self.each(move |portfolio| portfolio.all_by_unscoped_id(id))
    }

    /// Returns all containers with this name.
    pub fn by_name(&self, name: &str) -> impl Iterator<Item = (&FleetMember, &Arc<Container>)> {
        self.each(move |portfolio| portfolio.all_by_name(name))
    }

    /// Returns the containers whose initial process has this PID: at most one of each member. Engines on
    /// other hosts, and in PID namespaces of their own, report PIDs of theirs.
    pub fn by_pid(&self, pid: u32) -> impl Iterator<Item = (&FleetMember, &Arc<Container>)> {
        self.each(move |portfolio| portfolio.by_pid(pid))
    }

    /// Returns the project with this name, of each member that has it.
    pub fn project(&self, name: &str) -> impl Iterator<Item = (&FleetMember, &Project)> {
        let all = self.members().map(move |member| (member, member.portfolio.project(name)));
        all.filter_map(|(member, project)| Some((member, project.filter(|project| !project.is_empty())?)))
    }

    /// Groups the containers of all members that belong to pods by pod. Each call visits all containers.
    #[must_use]
    pub fn pods(&self) -> Pods {
        self.containers().map(|(_, container)| container.clone()).collect()
    }

    /// Returns how many containers are alive.
    #[must_use]
    pub fn total(&self) -> usize {
        self.members().map(|member| member.portfolio.total()).sum()
    }

    /// Returns whether no container is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members().all(|member| member.portfolio.is_empty())
    }

    /// Applies an event. A snapshot to which all events of its subscription are applied in turn equals the
    /// fleet's portfolio.
    pub fn apply(&mut self, event: &FleetEvent) {
        let FleetEvent { revision, key, watcher, event } = event;
        let Members { revision: newest, by_key } = Arc::make_mut(&mut self.0);
        *newest = *revision;
        match &event.kind {
            EventKind::Joined => {
                by_key.insert_mut(key.clone(), FleetMember::new(key.clone(), watcher.clone()));
            }
            EventKind::Left => {
                by_key.remove_mut(key);
            }
            EventKind::Moved { was, from, .. } => {
                if let Some(former) = by_key.get_mut(from) {
                    former.portfolio.remove(was.id());
                }
            }
            _ => {}
        }
        if let Some(member) = by_key.get_mut(key) {
            member.apply(*revision, event);
        }
    }

    /// Sets the revision.
    pub(super) fn renumber(&mut self, revision: u64) {
        Arc::make_mut(&mut self.0).revision = revision;
    }

    /// Replaces the portfolio of a member by an equal one. Returns the former.
    pub(super) fn replace(&mut self, key: &EngineKey, portfolio: Portfolio) -> Option<Portfolio> {
        let member = Arc::make_mut(&mut self.0).by_key.get_mut(key)?;
        Some(std::mem::replace(&mut member.portfolio, portfolio))
    }

    fn each<'a, T: 'a, I: IntoIterator<Item = &'a T>>(
        &'a self,
        find: impl Fn(&'a Portfolio) -> I,
    ) -> impl Iterator<Item = (&'a FleetMember, &'a T)> {
        self.members()
            .flat_map(move |member| find(&member.portfolio).into_iter().map(move |one| (member, one)))
    }
}

impl PartialEq for FleetPortfolio {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.members().eq(other.members())
    }
}

impl fmt::Debug for FleetPortfolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members()).finish()
    }
}

/// Writes one container a line, each with its engine.
impl fmt::Display for FleetPortfolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.containers().try_for_each(|(member, container)| writeln!(f, "{}: {container}", member.key()))
    }
}
