//! The subcommands, a module each, and what they need of cargo.

pub(crate) mod bench;
pub(crate) mod cargo;
pub(crate) mod deb;
pub(crate) mod engines;
pub(crate) mod explore;
mod features;
pub(crate) mod fuzz;
pub(crate) mod generate;
pub(crate) mod integration;
pub(crate) mod mutants;
pub(crate) mod page;
pub(crate) mod release;
pub(crate) mod soak;
pub(crate) mod test;
pub(crate) mod words;
