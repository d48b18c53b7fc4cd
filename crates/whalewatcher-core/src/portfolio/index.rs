//! The maps of a portfolio, and how they are kept to tell the same.

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
/// What changes most, such as whether a container is paused, lets all places be as they are: in each map it changes one.
#[derive(Clone)]
pub(super) struct Index {
    pub(super) revision: u64,
    pub(super) total: usize,
    hashing: Hashing,
    by_id: HashTrie<Arc<Container>, 4>,
    by_name: HashTrie<Named, 4>,
    projects: HashTrie<Arc<Project>, 3>,
    /// The names of the projects, sorted, and their hashes.
    project_names: RedBlackTreeMapSync<Arc<str>, u64>,
}

/// Who has a name.
#[derive(Clone)]
struct Named {
    /// If it is short, it is here, so that a lookup need not go any further to compare it, nor a copy to count it.
    name: SmolStr,
    holders: Holders,
}

#[derive(Clone)]
enum Holders {
    /// Nearly always there is one only.
    One(Arc<Container>),
    Several(Arc<RedBlackTreeSetSync<ContainerId>>),
}

/// How texts are hashed: each picture does it in its own way.
#[derive(Clone, Default)]
struct Hashing {
    state: RandomState,
    /// So poorly that most hashes coincide.
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
}

impl Index {
    /// The container with this ID.
    pub(super) fn by_id(&self, id: &str) -> Option<&Arc<Container>> {
        self.by_id.get(self.hashing.hash(id)).iter().find(|container| **container.id() == *id)
    }

    /// The container with this name; if several have it, the one with the lowest ID.
    pub(super) fn by_name(&self, name: &str) -> Option<&Arc<Container>> {
        match self.holders(name)? {
            Holders::One(container) => Some(container),
            Holders::Several(ids) => self.by_id(ids.first()?),
        }
    }

    /// All containers with this name, by ascending ID.
    pub(super) fn all_by_name(&self, name: &str) -> impl Iterator<Item = &Arc<Container>> {
        let (one, several) = match self.holders(name) {
            Some(Holders::One(container)) => (Some(container), None),
            Some(Holders::Several(ids)) => (None, Some(ids)),
            None => (None, None),
        };
        let several = several.into_iter().flat_map(|ids| ids.iter());
        one.into_iter().chain(several.filter_map(|id| self.by_id(id)))
    }

    /// The project of this name.
    pub(super) fn project(&self, name: &str) -> Option<&Project> {
        self.project_of_hash(self.hashing.hash(name), name)
    }

    /// All projects by ascending name.
    pub(super) fn projects(&self) -> impl Iterator<Item = &Project> {
        self.project_names.iter().filter_map(|(name, hash)| self.project_of_hash(*hash, name))
    }

    /// Their names, ascending.
    pub(super) fn project_names(&self) -> impl Iterator<Item = &str> {
        self.project_names.keys().map(|name| &**name)
    }

    /// Puts a container in, in place of the one with the same ID.
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

    /// Takes the container with this ID out.
    pub(super) fn remove(&mut self, id: &ContainerId) {
        if let Some(container) = self.by_id(id).cloned() {
            self.revision += 1;
            self.take_out(&container);
        }
    }

    /// Puts a container in the place of one with the same ID, name and project.
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
        self.remember_name(container);
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
        self.forget_name(container);
        let name = container.project();
        let Some(project) = self.project_mut(name) else { return };
        project.containers.remove(container);
        if project.is_empty() && !name.is_empty() {
            self.projects.remove(self.hashing.hash(name), |project| *project.name == *name);
            self.project_names.remove_mut(name);
        }
    }

    fn remember_name(&mut self, container: &Arc<Container>) {
        let name = container.shared_name();
        let hash = self.hashing.hash(name);
        let holders = match self.holders(name) {
            None => {
                let name = name.clone().into();
                return self.by_name.insert(hash, Named { name, holders: Holders::One(container.clone()) });
            }
            Some(Holders::One(other)) => {
                [other, container].into_iter().map(|container| container.id().clone()).collect()
            }
            Some(Holders::Several(ids)) => ids.insert(container.id().clone()),
        };
        self.set_holders(hash, name, Holders::Several(Arc::new(holders)));
    }

    fn forget_name(&mut self, container: &Container) {
        let name = container.name();
        let hash = self.hashing.hash(name);
        let left = match self.holders(name) {
            Some(Holders::Several(ids)) => ids.remove(container.id()),
            _ => return self.by_name.remove(hash, |named| *named.name == *name),
        };
        let last = left.first().filter(|_| left.size() == 1).and_then(|last| self.by_id(last));
        let holders = last.cloned().map_or_else(|| Holders::Several(Arc::new(left)), Holders::One);
        self.set_holders(hash, name, holders);
    }

    fn set_holders(&mut self, hash: u64, name: &str, holders: Holders) {
        if let Some(named) = self.by_name.get_mut(hash).iter_mut().find(|named| *named.name == *name) {
            named.holders = holders;
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

    fn holders(&self, name: &str) -> Option<&Holders> {
        let named = self.by_name.get(self.hashing.hash(name)).iter().find(|named| *named.name == *name);
        named.map(|named| &named.holders)
    }
}

impl Index {
    fn new(hashing: Hashing) -> Self {
        let mut picture = Self {
            revision: 0,
            total: 0,
            hashing,
            by_id: HashTrie::default(),
            by_name: HashTrie::default(),
            projects: HashTrie::default(),
            project_names: RedBlackTreeMapSync::new_sync(),
        };
        // It always exists.
        picture.add_project(Project::new(""));
        picture
    }

    /// Whether one container is held as the only one with that name; `None` if none is held.
    #[cfg(test)]
    pub(super) fn holds_one(&self, name: &str) -> Option<bool> {
        self.holders(name).map(|holders| matches!(holders, Holders::One(_)))
    }

    /// One in which hashes coincide.
    #[cfg(test)]
    pub(super) fn hashing_poorly() -> Self {
        Self::new(Hashing { poor: true, ..Hashing::default() })
    }
}

/// Whether two containers with the same ID have the same places everywhere: most changes leave name and project alone, and
/// even the labels.
fn has_place_of(container: &Container, former: &Container) -> bool {
    let same_project = || former.labels() == container.labels() || former.project() == container.project();
    former.name() == container.name() && same_project()
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Hashing::default())
    }
}
