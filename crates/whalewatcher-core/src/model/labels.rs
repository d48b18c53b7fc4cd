//! The labels of a container.

use std::fmt;
use std::sync::Arc;

use super::shared;

/// A container's labels, sorted by key. Immutable and cheap to clone.
///
/// ```
/// use whalewatcher_core::Labels;
///
/// let labels = Labels::from_iter([("tier", "front"), ("app", "web")]);
/// assert_eq!(labels.get("app"), Some("web"));
/// assert_eq!(labels.iter().next(), Some(("app", "web")));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Labels(Option<Texts>);

/// As many values as keys.
#[derive(Clone, PartialEq, Eq)]
struct Texts {
    keys: Arc<[Arc<str>]>,
    values: Arc<[Arc<str>]>,
}

impl Labels {
    /// Returns the value of the label `key`, by binary search.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let Texts { keys, values } = self.0.as_ref()?;
        let at = keys.binary_search_by(|known| (**known).cmp(key)).ok()?;
        Some(&values[at])
    }

    /// Returns whether the label `key` exists, with any value.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Returns all labels as key and value, by ascending key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let (keys, values) = self.0.as_ref().map(|texts| (&*texts.keys, &*texts.values)).unwrap_or_default();
        keys.iter().zip(values).map(|(key, value)| (&**key, &**value))
    }

    /// Returns these labels and another one, which replaces one with the same key.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        self.iter().chain([(key, value)]).collect()
    }

    /// Returns the number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |texts| texts.keys.len())
    }

    /// Returns whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    /// Collects labels. If a key occurs several times, the last value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut all: Vec<(K, V)> = labels.into_iter().collect();
        if all.is_empty() {
            return Self(None);
        }
        all.reverse();
        all.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        all.dedup_by(|(later, _), (kept, _)| later.as_ref() == kept.as_ref());
        let [keys, values] = shared::keys_and_values(&all);
        Self(Some(Texts { keys, values }))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_key_and_the_last_of_a_key_counts() {
        let labels = Labels::from_iter([("b", "1"), ("a", "2"), ("b", "3"), ("empty", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3"), ("empty", "")]);
        assert_eq!((labels.get("b"), labels.get("c")), (Some("3"), None));
        assert_eq!(
            labels.with("b", "4").with("c", "5").iter().map(|(_, value)| value).collect::<Vec<_>>(),
            ["2", "4", "5", ""]
        );
        assert!(labels.contains("empty") && Labels::default().is_empty());
        assert_eq!(Labels::from_iter::<[(&str, &str); 0]>([]), Labels::default());
    }
}
