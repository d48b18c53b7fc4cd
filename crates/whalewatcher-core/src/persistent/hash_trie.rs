//! A persistent hash table: a clone costs a reference count, and a change copies only the path to the changed entry, or
//! nothing if the path is not shared.
//!
//! It is a trie of hashes. Each node is one allocation that contains its entries, so a lookup follows one
//! pointer a level. The caller provides the hash and selects among the entries with that hash: nearly always
//! there is only one.

use std::iter::once;
use std::mem::replace;
use std::slice;
use std::sync::Arc;

/// A persistent hash table. `BITS` of the hash, at most 5, select the branch in a node: with more of them lookups are
/// shorter, but a change copies more.
#[derive(Clone)]
pub(crate) struct HashTrie<T, const BITS: u32> {
    root: Node<T, BITS>,
}

#[derive(Clone)]
struct Node<T, const BITS: u32> {
    /// The branches that have a slot, as a bit set.
    filled: u32,
    /// The slots, sorted by branch.
    slots: Arc<[Slot<T, BITS>]>,
}

/// The content of a branch: a node for two hashes or more, or the entries of one hash.
#[derive(Clone)]
enum Slot<T, const BITS: u32> {
    Node(Node<T, BITS>),
    One(u64, T),
    /// Several entries with the same hash.
    Several(u64, Arc<Vec<T>>),
}

impl<T, const BITS: u32> Default for HashTrie<T, BITS> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T, const BITS: u32> HashTrie<T, BITS> {
    /// Returns the entries with this hash.
    pub(crate) fn get(&self, hash: u64) -> &[T] {
        let (mut node, mut bits) = (&self.root, hash);
        loop {
            match node.slot(bits) {
                Some(Slot::Node(child)) => (node, bits) = (child, bits >> BITS),
                Some(Slot::One(of, entry)) if *of == hash => return slice::from_ref(entry),
                Some(Slot::Several(of, entries)) if *of == hash => return entries,
                _ => return &[],
            }
        }
    }
}

impl<T: Clone, const BITS: u32> HashTrie<T, BITS> {
    /// Returns the entries with this hash, for modification.
    pub(crate) fn get_mut(&mut self, hash: u64) -> &mut [T] {
        self.root.get_mut(0, hash)
    }

    /// Inserts an entry, beside others with the same hash.
    pub(crate) fn insert(&mut self, hash: u64, entry: T) {
        self.root.insert(0, hash, entry);
    }

    /// Removes the first entry with this hash that the predicate selects, if any.
    pub(crate) fn remove(&mut self, hash: u64, meant: impl Fn(&T) -> bool) {
        // Finds the entry first, so that nothing is copied if there is none.
        if let Some(nth) = self.get(hash).iter().position(meant) {
            self.root.remove(0, hash, nth);
        }
    }
}

impl<T, const BITS: u32> Default for Node<T, BITS> {
    fn default() -> Self {
        Self { filled: 0, slots: Arc::new([]) }
    }
}

impl<T, const BITS: u32> Node<T, BITS> {
    /// Returns the branch that these bits of a hash select, and the position of its slot, existing or not.
    fn place(&self, bits: u64) -> (u32, usize) {
        let branch = 1 << (bits % (1 << BITS));
        (branch, (self.filled & (branch - 1)).count_ones() as usize)
    }

    fn slot(&self, bits: u64) -> Option<&Slot<T, BITS>> {
        let (branch, at) = self.place(bits);
        if self.filled & branch == 0 { None } else { self.slots.get(at) }
    }
}

/// The lowest `used` bits of the hash lead to the node.
impl<T: Clone, const BITS: u32> Node<T, BITS> {
    fn slot_mut(&mut self, bits: u64) -> Option<&mut Slot<T, BITS>> {
        let (branch, at) = self.place(bits);
        if self.filled & branch == 0 { None } else { Arc::make_mut(&mut self.slots).get_mut(at) }
    }

    fn get_mut(&mut self, used: u32, hash: u64) -> &mut [T] {
        match self.slot_mut(hash >> used) {
            Some(Slot::Node(child)) => child.get_mut(used + BITS, hash),
            Some(Slot::One(of, entry)) if *of == hash => slice::from_mut(entry),
            Some(Slot::Several(of, entries)) if *of == hash => Arc::make_mut(entries).as_mut_slice(),
            _ => &mut [],
        }
    }

    fn insert(&mut self, used: u32, hash: u64, entry: T) {
        // A shared node is copied once: with the new slot, or for modification.
        if self.slot(hash >> used).is_none() {
            return self.put(hash >> used, Slot::One(hash, entry));
        }
        let Some(slot) = self.slot_mut(hash >> used) else { return };
        let other = match slot {
            Slot::Node(child) => return child.insert(used + BITS, hash, entry),
            Slot::One(of, other) if *of == hash => {
                *slot = Slot::Several(hash, Arc::new(vec![other.clone(), entry]));
                return;
            }
            Slot::Several(of, others) if *of == hash => return Arc::make_mut(others).push(entry),
            Slot::One(of, _) | Slot::Several(of, _) => *of,
        };
        let mut child = Self::default();
        // If both hashes select the same branch, they differ further down.
        let former = replace(slot, Slot::Node(Self::default()));
        child.put(other >> (used + BITS), former);
        child.insert(used + BITS, hash, entry);
        *slot = Slot::Node(child);
    }

    /// Removes the `nth` entry with this hash.
    fn remove(&mut self, used: u32, hash: u64, nth: usize) {
        if let Some(Slot::One(..)) = self.slot(hash >> used) {
            return self.take(hash >> used);
        }
        let Some(slot) = self.slot_mut(hash >> used) else { return };
        let left = match slot {
            Slot::Node(child) => {
                child.remove(used + BITS, hash, nth);
                child.only()
            }
            Slot::Several(_, entries) => {
                let entries = Arc::make_mut(entries);
                entries.remove(nth);
                match &**entries {
                    [last] => Some(Slot::One(hash, last.clone())),
                    _ => None,
                }
            }
            Slot::One(..) => None,
        };
        if let Some(left) = left {
            *slot = left;
        }
    }

    /// Returns the only slot of a node that contains one hash, which replaces the node.
    fn only(&self) -> Option<Slot<T, BITS>> {
        match &*self.slots {
            [only @ (Slot::One(..) | Slot::Several(..))] => Some(only.clone()),
            _ => None,
        }
    }

    /// Inserts a slot.
    fn put(&mut self, bits: u64, slot: Slot<T, BITS>) {
        let (branch, at) = self.place(bits);
        let (before, after) = self.slots.split_at(at);
        self.slots = before.iter().cloned().chain(once(slot)).chain(after.iter().cloned()).collect();
        self.filled |= branch;
    }

    /// Removes a slot.
    fn take(&mut self, bits: u64) {
        let (branch, at) = self.place(bits);
        let (before, after) = self.slots.split_at(at);
        self.slots = before.iter().chain(after.iter().skip(1)).cloned().collect();
        self.filled &= !branch;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const BITS: u32 = 5;

    impl<T, const BITS: u32> Node<T, BITS> {
        /// Checks that no node is superfluous, and counts the entries.
        fn counted(&self, root: bool) -> usize {
            assert_eq!(self.slots.len(), self.filled.count_ones() as usize);
            assert!(root || self.slots.len() > 1 || matches!(&*self.slots, [Slot::Node(_)]));
            let counted = |slot: &Slot<T, BITS>| match slot {
                Slot::Node(child) => child.counted(false),
                Slot::One(..) => 1,
                Slot::Several(_, entries) => {
                    assert!(entries.len() > 1);
                    entries.len()
                }
            };
            self.slots.iter().map(counted).sum()
        }
    }

    /// Hashes that differ early, late, in the last bit only, and not at all.
    const POOR: [fn(u64) -> u64; 5] = [
        |key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        |key| key,
        |key| key << 58,
        |key| key << 63 | 5,
        |key| key % 3,
    ];

    fn found<const BITS: u32>(trie: &HashTrie<(u64, u8), BITS>, hash: u64, key: u64) -> Option<u8> {
        trie.get(hash).iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    fn agrees<const BITS: u32>(
        trie: &HashTrie<(u64, u8), BITS>,
        model: &HashMap<u64, u8>,
        of: fn(u64) -> u64,
    ) {
        assert_eq!(trie.root.counted(true), model.len());
        for key in 0..48 {
            assert_eq!(found(trie, of(key), key), model.get(&key).copied(), "of {key}");
        }
    }

    /// Steps: an entry to insert or change, or to remove; and whether to keep the version after it.
    fn follows<const BITS: u32>(of: fn(u64) -> u64, steps: Vec<(u64, u8, bool, bool)>) {
        let mut trie = HashTrie::<_, BITS>::default();
        let mut model = HashMap::new();
        let mut kept = Vec::new();
        for (key, value, goes, keep) in steps {
            if goes {
                trie.remove(of(key), |(known, _)| *known == key);
                model.remove(&key);
            } else {
                match trie.get_mut(of(key)).iter_mut().find(|(known, _)| *known == key) {
                    Some(entry) => entry.1 = value,
                    None => trie.insert(of(key), (key, value)),
                }
                model.insert(key, value);
            }
            agrees(&trie, &model, of);
            if keep {
                kept.push((trie.clone(), model.clone()));
            }
        }
        for (trie, model) in &kept {
            agrees(trie, model, of);
        }
    }

    #[test]
    fn changing_what_is_not_there_changes_nothing() {
        let mut trie = HashTrie::<_, BITS>::default();
        assert!(trie.get(1).is_empty() && trie.get_mut(1).is_empty());
        trie.insert(1, "one");
        trie.remove(1, |entry| *entry == "other");
        trie.remove(2, |_| true);
        assert!(trie.get_mut(1 << BITS | 1).is_empty());
        assert_eq!((trie.get(1), trie.get(1 << BITS | 1), trie.get(2)), (&["one"][..], &[][..], &[][..]));
    }

    #[test]
    fn unshared_nodes_are_changed_in_place_and_only_the_path_to_a_change_is_copied() {
        let mut trie = HashTrie::<_, BITS>::default();
        (0..1000_u64).for_each(|key| trie.insert(POOR[0](key), (key, 0)));
        let place = |trie: &HashTrie<(u64, u8), BITS>, key| trie.get(POOR[0](key)).as_ptr();
        let before = place(&trie, 7);
        trie.get_mut(POOR[0](7))[0].1 = 1;
        assert_eq!(place(&trie, 7), before);
        let held = trie.clone();
        trie.get_mut(POOR[0](7))[0].1 = 2;
        assert_eq!((place(&held, 7), held.get(POOR[0](7))[0].1), (before, 1));
        assert_ne!(place(&trie, 7), before);
        let moved = (0..1000).filter(|key| place(&trie, *key) != place(&held, *key)).count();
        assert!((1..100).contains(&moved), "{moved}");
    }

    proptest! {
        /// After any insertions, changes and removals, with any hashes, it equals a plain map, and the kept
        /// versions are unchanged.
        #[test]
        fn it_reports_what_a_plain_map_reports_and_so_does_each_former_version(
            poor in 0..POOR.len(),
            narrow in any::<bool>(),
            steps in proptest::collection::vec((0..48_u64, any::<u8>(), any::<bool>(), any::<bool>()), 0..120)
        ) {
            match narrow {
                true => follows::<3>(POOR[poor], steps),
                false => follows::<5>(POOR[poor], steps),
            }
        }
    }
}
