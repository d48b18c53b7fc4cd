//! The containers of a project, as a persistent sorted list.

use std::iter::once;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::model::{Container, ContainerId};

/// The most containers in a piece. Most projects are one piece.
const MOST: usize = 32;

type Piece = Arc<[Arc<Container>]>;

/// The sort key: name and ID.
type Key = (Arc<str>, ContainerId);

/// Containers sorted by name and ID, in pieces. A change copies one piece.
#[derive(Clone, Default)]
pub(super) struct Members {
    total: usize,
    first: Piece,
    /// The others, each by the lowest key that it may hold.
    rest: RedBlackTreeMapSync<Key, Piece>,
}

impl Members {
    /// Returns the number of containers.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Returns all containers, sorted.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.first.iter().chain(self.rest.values().flat_map(|piece| piece.iter()))
    }

    /// Inserts a container that is not contained.
    pub(super) fn insert(&mut self, container: &Arc<Container>) {
        let piece = self.piece_mut(container);
        let (Ok(at) | Err(at)) = place(piece, container);
        let (before, after) = piece.split_at(at);
        *piece = before.iter().chain(once(container)).chain(after).cloned().collect();
        if piece.len() > MOST {
            let (lower, upper) = piece.split_at(MOST / 2);
            let (lower, upper): (Piece, Piece) = (lower.into(), upper.into());
            *piece = lower;
            if let Some(lowest) = upper.first() {
                self.rest.insert_mut(key(lowest), upper);
            }
        }
        self.total += 1;
    }

    /// Replaces a container by another with the same name and ID.
    pub(super) fn replace(&mut self, former: &Arc<Container>, container: &Arc<Container>) {
        let piece = self.piece_mut(former);
        if let Some(at) = position(piece, former) {
            Arc::make_mut(piece)[at] = container.clone();
        }
    }

    /// Removes a container.
    pub(super) fn remove(&mut self, container: &Arc<Container>) {
        let piece = self.piece_mut(container);
        let Some(at) = position(piece, container) else { return };
        *piece = piece.iter().take(at).chain(piece.iter().skip(at + 1)).cloned().collect();
        let emptied = piece.is_empty();
        self.total -= 1;
        if emptied && let Some(bound) = self.bound(container) {
            self.rest.remove_mut(&bound);
        }
    }

    /// Returns the piece that contains that container, or would.
    fn piece_mut(&mut self, container: &Container) -> &mut Piece {
        match self.bound(container) {
            Some(bound) => self.rest.get_mut(&bound).unwrap_or(&mut self.first),
            None => &mut self.first,
        }
    }

    /// Returns the key of that piece; `None` for the first piece.
    fn bound(&self, container: &Container) -> Option<Key> {
        if self.rest.is_empty() {
            return None;
        }
        self.rest.range(..=key(container)).next_back().map(|(bound, _)| bound.clone())
    }
}

fn key(container: &Container) -> Key {
    (container.shared_name().clone(), container.id().clone())
}

/// Returns the position of a container in the piece, compared by address.
fn position(piece: &Piece, container: &Arc<Container>) -> Option<usize> {
    piece.iter().position(|member| Arc::ptr_eq(member, container))
}

/// Returns the position of the container with that name and ID in the piece, or where it would be.
fn place(piece: &Piece, container: &Container) -> Result<usize, usize> {
    let sought = (container.name(), container.id());
    piece.binary_search_by(|member| (member.name(), member.id()).cmp(&sought))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn container(name: u16, id: u8, pid: u32) -> Arc<Container> {
        Arc::new(Container::new(id.to_string(), format!("n{name:05}"), pid))
    }

    impl Members {
        fn agrees(&self, model: &BTreeMap<(u16, u8), Arc<Container>>) {
            assert_eq!(self.total(), model.len());
            assert!(self.iter().eq(model.values()));
            assert!(self.rest.values().chain([&self.first]).all(|piece| piece.len() <= MOST));
            assert!(self.rest.values().all(|piece| !piece.is_empty()));
        }
    }

    #[test]
    fn thousands_are_sorted_after_any_insertions_and_a_change_copies_one_piece() {
        let mut members = Members::default();
        let mut model = BTreeMap::new();
        for turn in 0..3000_u32 {
            let name = u16::try_from(turn * 7919 % 3000).unwrap();
            members.insert(&container(name, 0, 1));
            model.insert((name, 0), container(name, 0, 1));
        }
        members.agrees(&model);
        assert!((3000 / MOST..3000 / MOST * 3).contains(&members.rest.size()), "{}", members.rest.size());

        let held = members.clone();
        let former = model[&(1500, 0)].clone();
        let former = members.iter().find(|member| **member == former).cloned().expect("it is there");
        members.replace(&former, &container(1500, 0, 2));
        held.agrees(&model);
        model.insert((1500, 0), container(1500, 0, 2));
        members.agrees(&model);
        let copied = |piece: &&Piece| !held.rest.values().any(|other| Arc::ptr_eq(piece, other));
        assert_eq!(members.rest.values().filter(copied).count(), 1);
    }

    #[test]
    fn a_missing_container_is_neither_replaced_nor_removed() {
        let mut members = Members::default();
        members.insert(&container(1, 1, 1));
        // Equal and with the same key, but another allocation.
        members.replace(&container(1, 1, 1), &container(1, 1, 2));
        members.remove(&container(1, 1, 1));
        members.agrees(&BTreeMap::from([((1, 1), container(1, 1, 1))]));
    }

    proptest! {
        /// There are few names, so that pieces are also split within containers of one name.
        #[test]
        fn it_equals_a_sorted_map_and_former_versions_are_unchanged(
            steps in proptest::collection::vec((0..3_u16, any::<u8>(), 0..4_u8, any::<bool>()), 0..400)
        ) {
            let mut members = Members::default();
            let mut model = BTreeMap::<(u16, u8), Arc<Container>>::new();
            let mut kept = Vec::new();
            for (pid, (name, id, goes, keep)) in (1..).zip(steps) {
                // Three digits each, so that texts and numbers sort alike.
                let id = id % 100 + 100;
                let new = container(name, id, pid);
                match (model.get(&(name, id)).cloned(), goes == 0) {
                    (Some(known), true) => {
                        members.remove(&known);
                        model.remove(&(name, id));
                    }
                    (None, true) => members.remove(&new),
                    (Some(known), false) => {
                        members.replace(&known, &new);
                        model.insert((name, id), new);
                    }
                    (None, false) => {
                        members.insert(&new);
                        model.insert((name, id), new);
                    }
                }
                members.agrees(&model);
                if keep && kept.len() < 20 {
                    kept.push((members.clone(), model.clone()));
                }
            }
            for (members, model) in &kept {
                members.agrees(model);
            }
        }
    }
}
