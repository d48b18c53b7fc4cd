//! A persistent hash table: a clone costs a reference count, and a change copies but the path to what changes, or
//! nothing where nobody else holds it.
//!
//! A trie of hashes, each node of which is one piece of memory that holds its entries themselves: a lookup meets no more
//! than a node for each level and then what the entry is. Whoever asks brings the hash and says which of the entries with
//! that hash it means. There is one of them, but for a coincidence or a poor hash function.

use std::iter::once;
use std::mem::replace;
use std::slice;
use std::sync::Arc;

/// See the module's documentation. `BITS` of the hash choose the branch in a node, at most 5: with more of them lookups are
/// shorter, but a change copies more.
#[derive(Clone)]
pub(crate) struct HashTrie<T, const BITS: u32> {
    root: Node<T, BITS>,
}

#[derive(Clone)]
struct Node<T, const BITS: u32> {
    /// For which branches there is a slot.
    filled: u32,
    /// In the order of their branches.
    slots: Arc<[Slot<T, BITS>]>,
}

/// What a branch leads to: two hashes or more, or one.
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
    /// The entries with this hash.
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
    /// The entries with this hash, to be changed.
    pub(crate) fn get_mut(&mut self, hash: u64) -> &mut [T] {
        self.root.get_mut(0, hash)
    }

    /// Puts an entry in, beside any others.
    pub(crate) fn insert(&mut self, hash: u64, entry: T) {
        self.root.insert(0, hash, entry);
    }

    /// Takes the first entry out that has this hash and is meant, if there is any.
    pub(crate) fn remove(&mut self, hash: u64, meant: impl Fn(&T) -> bool) {
        // Looked for beforehand, for nothing is to be copied in vain.
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
    /// The branch that these bits, of a hash, choose; and where its slot is, or would be.
    fn place(&self, bits: u64) -> (u32, usize) {
        let branch = 1 << (bits % (1 << BITS));
        (branch, (self.filled & (branch - 1)).count_ones() as usize)
    }

    fn slot(&self, bits: u64) -> Option<&Slot<T, BITS>> {
        let (branch, at) = self.place(bits);
        if self.filled & branch == 0 { None } else { self.slots.get(at) }
    }
}

/// The lowest `used` bits of the hash led to the node.
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
        // What is shared is copied once: with the new slot in it, or to change one.
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
        // Where the two do not part yet, it goes down once more.
        let former = replace(slot, Slot::Node(Self::default()));
        child.put(other >> (used + BITS), former);
        child.insert(used + BITS, hash, entry);
        *slot = Slot::Node(child);
    }

    /// Takes out the `nth` of the entries with this hash.
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

    /// What is in a node that has one hash only, and so is none.
    fn only(&self) -> Option<Slot<T, BITS>> {
        match &*self.slots {
            [only @ (Slot::One(..) | Slot::Several(..))] => Some(only.clone()),
            _ => None,
        }
    }

    /// Puts a slot where there is none.
    fn put(&mut self, bits: u64, slot: Slot<T, BITS>) {
        let (branch, at) = self.place(bits);
        let (before, after) = self.slots.split_at(at);
        self.slots = before.iter().cloned().chain(once(slot)).chain(after.iter().cloned()).collect();
        self.filled |= branch;
    }

    /// Takes a slot out.
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
        /// How many entries there are, once it is certain that no node is there in vain.
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

    /// Hashes that are all different, that part late, that part in the last bit only, and that coincide.
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

    /// Steps: what is put in or changed, and its value, or is taken out; and whether what is after that is kept.
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
    fn what_nobody_else_holds_is_changed_where_it_is_and_only_the_path_to_what_changes_is_copied() {
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
        /// Whatever is put in, changed and taken out, and however poor the hashes: it is as a plain map, and what was
        /// kept stays as it was.
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
