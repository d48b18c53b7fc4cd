//! What can be told of an event that cannot be understood as a whole: one that is cut off, or odd in some part.
//!
//! Engines write what matters, whom it is about, before what may be long or odd: names and labels.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What could be read before it made no sense any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvaged {
    pub(crate) kind: Option<String>,
    pub(crate) action: Option<String>,
    /// As the actor's.
    pub(crate) actor: Option<String>,
    /// As the old form of events has it.
    pub(crate) id: Option<String>,
}

/// Reads as far as it goes.
pub(crate) fn salvage(text: &str) -> Salvaged {
    let mut salvaged = Salvaged::default();
    // How it ends does not matter.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(Message(&mut salvaged));
    salvaged
}

/// A text; nothing if it is anything else.
fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

struct Message<'a>(&'a mut Salvaged);

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

struct Actor<'a>(&'a mut Salvaged);

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
    fn whatever_comes_before_the_nonsense_is_kept() {
        let new = Salvaged { kind: some("container"), action: some("die"), actor: some("a"), id: None };
        for text in [
            r#"{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":{"label":"xxxx"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":[[[1]]]},"time":"noon"}"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"a"}}}}}"#,
            r#"{"Ty\u0070e":"container","Action":"die","odd":[{}],"Actor":{"odd":null,"ID":"a","#,
        ] {
            assert_eq!(salvage(text), new, "{text}");
        }
        let old = Salvaged { action: some("die"), id: some("a"), ..Salvaged::default() };
        assert_eq!(salvage(r#"{"status":"die","id":"a","from":"bu"#), old);
        let part = Salvaged { kind: some("container"), ..Salvaged::default() };
        assert_eq!(salvage(r#"{"Type":"container","Action":5,"Actor":"a"}"#), part);
    }

    #[test]
    fn of_what_is_no_event_nothing_is_kept() {
        for text in ["", "null", "<html>", "[1,2]", "{", "{\"Type\"", "{\"Type\":nu"] {
            assert_eq!(salvage(text), Salvaged::default(), "{text}");
        }
    }

    #[test]
    fn nesting_however_deep_is_no_harm() {
        let deep = "[".repeat(1_000_000);
        let text = format!(r#"{{"id":"a","odd":{deep}"#);
        assert_eq!(salvage(&text), Salvaged { id: some("a"), ..Salvaged::default() });
    }
}
