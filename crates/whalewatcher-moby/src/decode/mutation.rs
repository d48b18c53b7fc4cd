//! Random mutations of what an engine sends.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::Index;

/// Values that decoders often do not expect.
const TOKENS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "4294967296",
    "18446744073709551616",
    "1e999",
    "-0.0",
    "\"\"",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{1b}[2J",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "[[[[[[[[",
    "\u{202e}",
    "NaN",
    "0001-01-01T00:00:00Z",
];

#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Token(Index, Index),
    Bytes(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Truncate(Index),
}

pub(crate) fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let mutation = prop_oneof![
        4 => any::<(Index, Index)>().prop_map(|(at, token)| Mutation::Token(at, token)),
        2 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Mutation::Bytes(at, bytes)),
        2 => (any::<Index>(), 1..20_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        1 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ];
    proptest::collection::vec(mutation, 0..6)
}

pub(crate) fn mutate(text: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for mutation in mutations {
        let length = bytes.len() + 1;
        let range = |at: &Index, count: usize| -> Range<usize> {
            let start = at.index(length);
            start..(start + count).min(length - 1)
        };
        match mutation {
            Mutation::Token(at, token) => {
                let token = TOKENS[token.index(TOKENS.len())].bytes();
                bytes.splice(range(at, token.len()), token);
            }
            Mutation::Bytes(at, new) => {
                bytes.splice(range(at, new.len()), new.iter().copied());
            }
            Mutation::Remove(at, count) => {
                bytes.drain(range(at, *count));
            }
            Mutation::Repeat(at, count) => {
                let range = range(at, *count);
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, again);
            }
            Mutation::Truncate(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}
