//! The output formats: JSON for programs, tables and rows of events for people.

mod age;
pub(crate) mod columns;
pub(crate) mod docker;
mod event_row;
pub(crate) mod json;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod width;
