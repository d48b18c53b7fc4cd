//! Persistent collections: a changed copy shares the unchanged parts with the original.

mod hash_trie;

pub(crate) use hash_trie::HashTrie;
