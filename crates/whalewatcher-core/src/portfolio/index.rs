//! The indexes of a portfolio: by ID, by name and by project, which always agree.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use smol_str::SmolStr;

use super::project::Project;
use crate::model::{Container, ContainerId};
use crate::persistent::HashTrie;

/// Persistent maps: a changed copy shares all but the changed paths with the original.
///
/// The most frequent changes, such as a pause, replace one value in each map and move nothing.
#[derive(Clone)]
pub(super) struct Index {
    pub(super) revision: u64,
    pub(super) total: usize,
    hashing: Hashing,
    by_id: HashTrie<Arc<Container>, 4>,
    by_name: HashTrie<Keyed<SmolStr, Arc<Container>>, 4>,
    by_pid: HashTrie<Keyed<u32, ContainerId>, 4>,
    /// By what follows the scope in an ID that has one.
    by_unscoped_id: HashTrie<Keyed<SmolStr, ContainerId>, 4>,
    projects: HashTrie<Arc<Project>, 3>,
    /// The names of the projects, sorted, and their hashes.
    project_names: RedBlackTreeMapSync<Arc<str>, u64>,
}

/// The containers that have a key, such as a name.
#[derive(Clone)]
struct Keyed<K, T> {
    /// A short name is stored inline: a lookup compares it without following a pointer, and a copy counts no reference.
    key: K,
    holders: Holders<T>,
}

#[derive(Clone)]
enum Holders<T> {
    /// Nearly always there is only one.
    One(T),
    Several(Arc<RedBlackTreeSetSync<ContainerId>>),
}

/// The hash function for texts, seeded for each portfolio.
#[derive(Clone, Default)]
struct Hashing {
    state: RandomState,
    /// Makes most hashes collide.
    #[cfg(test)]
    poor: bool,
}

impl Hashing {
    fn hash(&self, text: &str) -> u64 {
        #[cfg(test)]
        if self.poor {
            return u64::from(text.bytes().last().is_some_and(|last| last % 3 == 0));
        }
        self.state.hash_one(text)
    }

    fn hash_pid(&self, pid: u32) -> u64 {
        #[cfg(test)]
        if self.poor {
            return u64::from(pid.is_multiple_of(3));
        }
        self.state.hash_one(pid)
    }
}

impl<K: PartialEq, T: Clone> HashTrie<Keyed<K, T>, 4> {
    fn holders(&self, hash: u64, is_key: impl Fn(&K) -> bool) -> Option<&Holders<T>> {
        self.get(hash).iter().find(|keyed| is_key(&keyed.key)).map(|keyed| &keyed.holders)
    }
}

impl<K: PartialEq + Clone, T: Clone> HashTrie<Keyed<K, T>, 4> {
    /// Adds a container, the value of which is `one`, to those with this key.
    fn add(&mut self, hash: u64, key: K, id: &ContainerId, one: T, id_of: impl Fn(&T) -> &ContainerId) {
        // Reads first: a mutable access copies shared nodes, and inserting does so as well.
        let ids = match self.holders(hash, |known| *known == key) {
            None => return self.insert(hash, Keyed { key, holders: Holders::One(one) }),
            Some(Holders::One(other)) => [id_of(other), id].into_iter().cloned().collect(),
            Some(Holders::Several(ids)) => ids.insert(id.clone()),
        };
        self.set_holders(hash, |known| *known == key, Holders::Several(Arc::new(ids)));
    }

    /// Removes a container from those with this key.
    fn drop_one(
        &mut self,
        hash: u64,
        is_key: impl Fn(&K) -> bool,
        id: &ContainerId,
        one: impl Fn(&ContainerId) -> Option<T>,
    ) {
        let left = match self.holders(hash, &is_key) {
            None => return,
            Some(Holders::One(_)) => return self.remove(hash, |keyed| is_key(&keyed.key)),
            Some(Holders::Several(ids)) => ids.remove(id),
        };
        let last = left.first().filter(|_| left.size() == 1).and_then(one);
        self.set_holders(hash, is_key, last.map_or_else(|| Holders::Several(Arc::new(left)), Holders::One));
    }

    fn set_holders(&mut self, hash: u64, is_key: impl Fn(&K) -> bool, holders: Holders<T>) {
        if let Some(keyed) = self.get_mut(hash).iter_mut().find(|keyed| is_key(&keyed.key)) {
            keyed.holders = holders;
        }
    }
}

impl Index {
    /// Returns the container with this ID.
    pub(super) fn by_id(&self, id: &str) -> Option<&Arc<Container>> {
        find(&self.by_id, &self.hashing, id)
    }

    /// Returns the container with this name; if several have it, the one with the lowest ID.
    pub(super) fn by_name(&self, name: &str) -> Option<&Arc<Container>> {
        match self.holders(name)? {
            Holders::One(container) => Some(container),
            Holders::Several(ids) => self.by_id(ids.first()?),
        }
    }

    /// Returns all containers with this name, by ascending ID.
    pub(super) fn all_by_name(&self, name: &str) -> impl Iterator<Item = &Arc<Container>> {
        let (one, several) = match self.holders(name) {
            Some(Holders::One(container)) => (Some(container), None),
            Some(Holders::Several(ids)) => (None, Some(ids)),
            None => (None, None),
        };
        let several = several.into_iter().flat_map(|ids| ids.iter());
        one.into_iter().chain(several.filter_map(|id| self.by_id(id)))
    }

    /// Returns the container whose initial process has this PID; if several have it, the one with the lowest ID.
    pub(super) fn by_pid(&self, pid: u32) -> Option<&Arc<Container>> {
        match self.by_pid.holders(self.hashing.hash_pid(pid), |key| *key == pid)? {
            Holders::One(id) => self.by_id(id),
            Holders::Several(ids) => self.by_id(ids.first()?),
        }
    }

    /// Returns the containers with this ID in any scope.
    pub(super) fn all_by_unscoped_id(&self, id: &str) -> impl Iterator<Item = &Arc<Container>> {
        let plain = (!id.contains('/')).then(|| self.by_id(id)).flatten();
        let (one, several) = match self.by_unscoped_id.holders(self.hashing.hash(id), |key| key == id) {
            Some(Holders::One(id)) => (Some(id), None),
            Some(Holders::Several(ids)) => (None, Some(ids)),
            None => (None, None),
        };
        let scoped = one.into_iter().chain(several.into_iter().flat_map(|ids| ids.iter()));
        plain.into_iter().chain(scoped.filter_map(|id| self.by_id(id)))
    }

    /// Returns the project with this name.
    pub(super) fn project(&self, name: &str) -> Option<&Project> {
        self.project_of_hash(self.hashing.hash(name), name)
    }

    /// Returns all projects by ascending name.
    pub(super) fn projects(&self) -> impl Iterator<Item = &Project> {
        self.project_names.iter().filter_map(|(name, hash)| self.project_of_hash(*hash, name))
    }

    /// Returns the names of the projects, ascending.
    pub(super) fn project_names(&self) -> impl Iterator<Item = &str> {
        self.project_names.keys().map(|name| &**name)
    }

    /// Inserts a container, or replaces the one with the same ID.
    pub(super) fn insert(&mut self, container: &Arc<Container>) {
        self.revision += 1;
        match self.by_id(container.id()).cloned() {
            Some(former) if has_place_of(container, &former) => self.replace(&former, container),
            former => {
                if let Some(former) = former {
                    self.take_out(&former);
                }
                self.put_in(container);
            }
        }
    }

    /// Removes the container with this ID.
    pub(super) fn remove(&mut self, id: &ContainerId) {
        if let Some(container) = self.by_id(id).cloned() {
            self.revision += 1;
            self.take_out(&container);
        }
    }

    /// Replaces a container by one with the same ID, name, PID and project.
    fn replace(&mut self, former: &Arc<Container>, container: &Arc<Container>) {
        let identified = self.by_id.get_mut(self.hashing.hash(container.id())).iter_mut();
        let named = self.by_name.get_mut(self.hashing.hash(container.name())).iter_mut();
        let named = named.filter_map(|named| match &mut named.holders {
            Holders::One(place) => Some(place),
            Holders::Several(_) => None,
        });
        for place in identified.chain(named).filter(|place| Arc::ptr_eq(place, former)) {
            *place = container.clone();
        }
        if let Some(project) = self.project_mut(container.project()) {
            project.containers.replace(former, container);
        }
    }

    fn put_in(&mut self, container: &Arc<Container>) {
        self.by_id.insert(self.hashing.hash(container.id()), container.clone());
        self.total += 1;
        self.add_keys(container);
        let name = container.project();
        if let Some(project) = self.project_mut(name) {
            return project.containers.insert(container);
        }
        let mut project = Project::new(name);
        project.containers.insert(container);
        self.add_project(project);
    }

    fn take_out(&mut self, container: &Arc<Container>) {
        self.by_id.remove(self.hashing.hash(container.id()), |other| Arc::ptr_eq(other, container));
        self.total -= 1;
        self.drop_keys(container);
        let name = container.project();
        let Some(project) = self.project_mut(name) else { return };
        project.containers.remove(container);
        if project.is_empty() && !name.is_empty() {
            self.projects.remove(self.hashing.hash(name), |project| *project.name == *name);
            self.project_names.remove_mut(name);
        }
    }

    fn add_keys(&mut self, container: &Arc<Container>) {
        let (id, name) = (container.id(), container.shared_name());
        let hash = self.hashing.hash(name);
        self.by_name.add(hash, name.clone().into(), id, container.clone(), |other| other.id());
        let hash = self.hashing.hash_pid(container.pid());
        self.by_pid.add(hash, container.pid(), id, id.clone(), |other| other);
        if let Some(unscoped) = unscoped(id) {
            let hash = self.hashing.hash(unscoped);
            self.by_unscoped_id.add(hash, unscoped.into(), id, id.clone(), |other| other);
        }
    }

    fn drop_keys(&mut self, container: &Container) {
        let (id, name, pid) = (container.id(), container.name(), container.pid());
        let (hashing, by_id) = (&self.hashing, &self.by_id);
        let last = |id: &ContainerId| find(by_id, hashing, id).cloned();
        self.by_name.drop_one(hashing.hash(name), |key| key == name, id, last);
        self.by_pid.drop_one(hashing.hash_pid(pid), |key| *key == pid, id, |last| Some(last.clone()));
        if let Some(unscoped) = unscoped(id) {
            let hash = hashing.hash(unscoped);
            self.by_unscoped_id.drop_one(hash, |key| key == unscoped, id, |last| Some(last.clone()));
        }
    }

    fn add_project(&mut self, project: Project) {
        let hash = self.hashing.hash(&project.name);
        self.project_names.insert_mut(project.name.clone(), hash);
        self.projects.insert(hash, Arc::new(project));
    }

    fn project_mut(&mut self, name: &str) -> Option<&mut Project> {
        let projects = self.projects.get_mut(self.hashing.hash(name));
        projects.iter_mut().find(|project| *project.name == *name).map(Arc::make_mut)
    }

    fn project_of_hash(&self, hash: u64, name: &str) -> Option<&Project> {
        self.projects.get(hash).iter().find(|project| *project.name == *name).map(|project| &**project)
    }

    fn holders(&self, name: &str) -> Option<&Holders<Arc<Container>>> {
        self.by_name.holders(self.hashing.hash(name), |key| key == name)
    }
}

impl Index {
    fn new(hashing: Hashing) -> Self {
        let mut index = Self {
            revision: 0,
            total: 0,
            hashing,
            by_id: HashTrie::default(),
            by_name: HashTrie::default(),
            by_pid: HashTrie::default(),
            by_unscoped_id: HashTrie::default(),
            projects: HashTrie::default(),
            project_names: RedBlackTreeMapSync::new_sync(),
        };
        // The unnamed project always exists.
        index.add_project(Project::new(""));
        index
    }

    /// Returns whether that name is held by one container in the compact form; `None` if no container has it.
    #[cfg(test)]
    pub(super) fn holds_one(&self, name: &str) -> Option<bool> {
        self.holders(name).map(|holders| matches!(holders, Holders::One(_)))
    }

    /// Creates an index in which hashes collide.
    #[cfg(test)]
    pub(super) fn hashing_poorly() -> Self {
        Self::new(Hashing { poor: true, ..Hashing::default() })
    }
}

fn find<'a>(
    by_id: &'a HashTrie<Arc<Container>, 4>,
    hashing: &Hashing,
    id: &str,
) -> Option<&'a Arc<Container>> {
    by_id.get(hashing.hash(id)).iter().find(|container| **container.id() == *id)
}

/// What follows the scope in an ID that has one, as containerd's have their namespace.
fn unscoped(id: &ContainerId) -> Option<&str> {
    id.rsplit_once('/').map(|(_, unscoped)| unscoped)
}

/// Returns whether two containers with the same ID have the same position in all indexes: most changes affect
/// neither name, PID nor project, and not even the labels.
fn has_place_of(container: &Container, former: &Container) -> bool {
    let same_project = || former.labels() == container.labels() || former.project() == container.project();
    former.name() == container.name() && former.pid() == container.pid() && same_project()
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Hashing::default())
    }
}
