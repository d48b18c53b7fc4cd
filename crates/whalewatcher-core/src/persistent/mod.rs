//! Persistent collections: a changed copy shares what did not change with the original.

mod hash_trie;

pub(crate) use hash_trie::HashTrie;
