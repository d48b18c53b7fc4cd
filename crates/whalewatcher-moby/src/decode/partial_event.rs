//! Reads as much as possible of an event that is truncated or malformed.
//!
//! Engines write the kind, the action and the container's ID before what may be long: names and labels.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The parts that could be read before the first error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PartialEvent {
    pub(crate) kind: Option<String>,
    pub(crate) action: Option<String>,
    /// The actor's ID.
    pub(crate) actor: Option<String>,
    /// The ID in the old form of events.
    pub(crate) id: Option<String>,
}

/// Reads up to the first error.
pub(crate) fn read_partial(text: &str) -> PartialEvent {
    let mut event = PartialEvent::default();
    // The error does not matter.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(Message(&mut event));
    event
}

/// Returns a text; `None` for any other value.
fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

struct Message<'a>(&'a mut PartialEvent);

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "Type" => self.0.kind = text(map.next_value()?),
                "Action" => self.0.action = text(map.next_value()?),
                "status" => {
                    let status = text(map.next_value()?);
                    self.0.action = self.0.action.take().or(status);
                }
                "id" => self.0.id = text(map.next_value()?),
                "Actor" => map.next_value_seed(Actor(self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Actor<'a>(&'a mut PartialEvent);

impl<'de> DeserializeSeed<'de> for Actor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Actor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an actor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "ID" => self.0.actor = text(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn parts_before_the_first_error_are_kept() {
        let new = PartialEvent { kind: some("container"), action: some("die"), actor: some("a"), id: None };
        for text in [
            r#"{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":{"label":"xxxx"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":[[[1]]]},"time":"noon"}"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"a"}}}}}"#,
            r#"{"Ty\u0070e":"container","Action":"die","odd":[{}],"Actor":{"odd":null,"ID":"a","#,
        ] {
            assert_eq!(read_partial(text), new, "{text}");
        }
        let old = PartialEvent { action: some("die"), id: some("a"), ..PartialEvent::default() };
        assert_eq!(read_partial(r#"{"status":"die","id":"a","from":"bu"#), old);
        let part = PartialEvent { kind: some("container"), ..PartialEvent::default() };
        assert_eq!(read_partial(r#"{"Type":"container","Action":5,"Actor":"a"}"#), part);
    }

    #[test]
    fn nothing_is_read_of_what_is_no_event() {
        for text in ["", "null", "<html>", "[1,2]", "{", "{\"Type\"", "{\"Type\":nu"] {
            assert_eq!(read_partial(text), PartialEvent::default(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_harmless() {
        let deep = "[".repeat(1_000_000);
        let text = format!(r#"{{"id":"a","odd":{deep}"#);
        assert_eq!(read_partial(&text), PartialEvent { id: some("a"), ..PartialEvent::default() });
    }
}
