//! Containers that moved from one engine of a host to another, which both run them: an agent publishes each
//! as that of one engine, and Docker, say, runs its containers in containerd.
//!
//! That one engine publishes a life no more is not its end while another one publishes it. The engines are
//! watched by themselves, and in no order, so what the one reports has to be right whatever the other has
//! reported: the former engine goes on to have the container until the life ends, as it does on its host.
//! Which of them shows it is for the fleet to decide, as it is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use whalewatcher_core::{Container, ContainerId};

use super::engine::Stored;
use super::engine::{Contents, MirroredEngine};
use super::host::MirroredHost;

/// The revision of a value that is not in the store.
const NONE: i64 = 0;

/// The engines and containers that an engine has by the word of another one only. Such a container is among
/// those of its engine.
pub(super) type Moved = BTreeSet<(Arc<str>, ContainerId)>;

/// A container that an engine had, by its engine and ID.
type Former = (String, String, Option<Contents>);

impl<T> Stored<T> {
    /// Returns whether the store holds it.
    pub(super) fn is_stored(&self) -> bool {
        self.modified != NONE
    }
}

impl MirroredHost {
    /// Returns whether a container that an engine publishes no more has moved, and has the engine keep it if it has.
    pub(super) fn has_moved(&mut self, engine: &str, id: &str, was: Option<&Contents>) -> bool {
        let Some(Ok(life)) = was.map(|was| &was.value) else { return false };
        let is_gone = self.engines.get(engine).is_none_or(|engine| !engine.containers.contains_key(id));
        if !is_gone || !self.is_published_elsewhere(engine, life) {
            return false;
        }
        let life = life.clone();
        self.keep(engine, life);
        true
    }

    /// Has engines keep what has moved, as they did before a list.
    pub(super) fn keep_moved(&mut self, before: &MirroredHost) {
        let mut moved = Vec::new();
        for (name, was) in &before.engines {
            let Some(now) = self.engines.get(name) else { continue };
            if now.identity_key() != was.identity_key() {
                continue;
            }
            let gone = was.containers.iter().filter(|(id, _)| !now.containers.contains_key(*id));
            let lives = gone.filter_map(|(_, contents)| contents.value.as_ref().ok());
            let lives = lives.filter(|life| self.is_published_elsewhere(name, life));
            moved.extend(lives.map(|life| (name.clone(), life.clone())));
        }
        for (name, life) in moved {
            self.keep(&name, life);
        }
    }

    /// An engine that leaves takes nothing with it: what has moved from it is shown by the other one already,
    /// or will be.
    fn keep(&mut self, name: &str, life: Container) {
        if let Some((name, engine)) = self.engines.get_key_value(name)
            && engine.is_published()
        {
            let (name, id) = (name.clone(), life.id().clone());
            if let Some(engine) = self.engines.get_mut(&name) {
                engine.containers.insert(id.clone(), Stored { modified: NONE, value: Ok(life) });
                self.moved.insert((name, id));
            }
        }
    }

    /// Another engine at the endpoint has nothing of the former one, and one that left has nothing at all.
    pub(super) fn note_identity(&mut self, name: &str, before: Option<&str>) {
        let Some(engine) = self.engines.get_mut(name) else { return };
        if engine.is_published() && engine.identity_key().as_deref() == before {
            return;
        }
        self.moved.retain(|(of, id)| {
            let is_it = **of == *name;
            if is_it && engine.containers.get(id).is_some_and(|contents| !contents.is_stored()) {
                engine.containers.remove(id);
            }
            !is_it
        });
    }

    /// Removes what moved and is not published by any engine any more, or by its own one again. Returns what has ended.
    pub(super) fn end_moved(&mut self) -> Vec<Former> {
        let mut ended = Vec::new();
        for (name, id) in std::mem::take(&mut self.moved) {
            let contents = self.engines.get(&name).and_then(|engine| engine.containers.get(&id));
            let Some(contents) = contents.filter(|contents| !contents.is_stored()).cloned() else { continue };
            if contents.value.as_ref().is_ok_and(|life| self.is_published_elsewhere(&name, life)) {
                self.moved.insert((name, id));
                continue;
            }
            if let Some(engine) = self.engines.get_mut(&name) {
                engine.containers.remove(&id);
            }
            ended.push((name.to_string(), id.as_str().to_owned(), Some(contents)));
        }
        ended
    }

    /// Returns whether the store holds a life as that of another engine, which may name it otherwise:
    /// containerd's IDs begin with a namespace.
    fn is_published_elsewhere(&self, engine: &str, life: &Container) -> bool {
        let is_it = |contents: &Contents| {
            let is_same = |it: &Container| unscoped(it.id()) == unscoped(life.id()) && it.pid() == life.pid();
            contents.is_stored() && contents.value.as_ref().is_ok_and(is_same)
        };
        let holds = |other: &MirroredEngine| other.is_published() && other.containers.values().any(is_it);
        self.engines.iter().any(|(name, other)| **name != *engine && holds(other))
    }
}

fn unscoped(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, id)| id)
}
