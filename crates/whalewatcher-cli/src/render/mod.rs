//! The output formats: JSON for programs, tables and rows of events for people.

mod age;
pub(crate) mod column;
pub(crate) mod docker;
pub(crate) mod event_row;
pub(crate) mod grid;
pub(crate) mod json;
mod layout;
mod ports;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod texts;
pub(crate) mod width;

pub(crate) use self::layout::Layout;
