//! JSON objects of texts, as engines write labels and an event's attributes; `null` where there is none.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Key and value, in the order in which they came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) Vec<(Arc<str>, Arc<str>)>);

impl Texts {
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.0.iter().find(|(k, _)| **k == *key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts, or null")
            }

            fn visit_unit<E>(self) -> Result<Texts, E> {
                Ok(Texts::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some((key, value)) = map.next_entry::<Arc<str>, Option<Arc<str>>>()? {
                    texts.push((key, value.unwrap_or_default()));
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_texts_are_taken_and_null_is_none() {
        let texts: Texts = serde_json::from_str(r#"{"b":"1","a":"\u0000\u001b[2J","c":null,"":""}"#).unwrap();
        assert_eq!(texts.get("a").map(|text| &**text), Some("\0\u{1b}[2J"));
        assert_eq!((texts.get("c").map(|text| &**text), texts.0.len()), (Some(""), 4));
        assert_eq!(serde_json::from_str::<Texts>("null").unwrap(), Texts::default());
        let error = serde_json::from_str::<Texts>("[]").unwrap_err();
        assert!(error.to_string().contains("expected an object of texts, or null"), "{error}");
    }
}
