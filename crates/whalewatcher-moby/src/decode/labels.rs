//! JSON objects of texts, as engines write labels and the attributes of events; `null` where there are none.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use whalewatcher_core::{Labels, SANDBOX_LABEL};

use crate::limits::MAX_LABELS;

/// Keys and values, in the order of the JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Texts<T = Arc<str>>(pub(crate) Vec<(T, T)>);

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Deref<Target = str>> Texts<T> {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| **k == *key).map(|(_, value)| &**value)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Texts<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Pairs<T> {
            type Value = Texts<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts, or null")
            }

            fn visit_unit<E>(self) -> Result<Texts<T>, E> {
                Ok(Texts::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<T>, A::Error> {
                let mut texts = Vec::new();
                while let Some((key, value)) = map.next_entry::<T, Option<T>>()? {
                    if texts.len() == MAX_LABELS {
                        return Err(A::Error::custom(format_args!("more than {MAX_LABELS} texts")));
                    }
                    texts.push((key, value.unwrap_or_default()));
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(Pairs(PhantomData))
    }
}

/// The label with which cri-dockerd marks a pod's sandbox.
const CRI_DOCKERD_SANDBOX: (&str, &str) = ("io.kubernetes.docker.type", "podsandbox");

/// Returns the labels of a container, and adds [`SANDBOX_LABEL`] for a sandbox of cri-dockerd.
pub(crate) fn of_container(mut labels: Texts) -> Labels {
    let (key, sandbox) = CRI_DOCKERD_SANDBOX;
    if labels.get(key) == Some(sandbox) && labels.get(SANDBOX_LABEL).is_none() {
        labels.0.push((SANDBOX_LABEL.into(), "".into()));
    }
    Labels::from_iter(labels.0)
}

/// A text that is borrowed from the JSON unless it contains escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrowing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_texts_are_decoded_and_null_is_none() {
        let texts: Texts = serde_json::from_str(r#"{"b":"1","a":"\u0000\u001b[2J","c":null,"":""}"#).unwrap();
        assert_eq!(texts.get("a"), Some("\0\u{1b}[2J"));
        assert_eq!((texts.get("c"), texts.0.len()), (Some(""), 4));
        assert_eq!(serde_json::from_str::<Texts>("null").unwrap(), Texts::default());
        let error = serde_json::from_str::<Texts>("[]").unwrap_err();
        assert!(error.to_string().contains("expected an object of texts, or null"), "{error}");
    }

    #[test]
    fn the_number_of_texts_is_limited() {
        let texts = |count: usize| format!("{{{}}}", vec!["\"a\":\"\""; count].join(","));
        let taken = serde_json::from_str::<Texts<Text<'_>>>(&texts(MAX_LABELS)).map(|texts| texts.0.len());
        assert_eq!(taken.unwrap(), MAX_LABELS);
        let error = serde_json::from_str::<Texts>(&texts(MAX_LABELS + 1)).unwrap_err();
        assert!(error.to_string().contains("more than 262144 texts"), "{error}");
    }

    #[test]
    fn a_sandbox_of_cri_dockerd_is_labelled_so() {
        for (value, sandbox) in [("podsandbox", true), ("container", false)] {
            let texts = Texts(vec![("io.kubernetes.docker.type".into(), value.into())]);
            assert_eq!(of_container(texts).contains(SANDBOX_LABEL), sandbox, "{value}");
        }
    }

    #[test]
    fn a_text_is_borrowed_unless_it_contains_escapes() {
        let json = r#"{"a":"as it is","b":"\u0000\u001b[2J","c":null}"#;
        let texts: Texts<Text<'_>> = serde_json::from_str(json).unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|key| texts.get(key)),
            [Some("as it is"), Some("\0\u{1b}[2J"), Some("")]
        );
        let is_borrowed = |at: usize| matches!(texts.0[at].1.0, Cow::Borrowed(_));
        assert!(is_borrowed(0) && !is_borrowed(1));
        let error = serde_json::from_str::<Texts<Text<'_>>>(r#"{"a":1}"#).unwrap_err();
        assert!(error.to_string().contains("invalid type: integer `1`, expected a string"), "{error}");
    }
}
