//! The labels of a container.

use std::fmt;
use std::sync::Arc;

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
pub struct Labels(Option<Arc<[Label]>>);

/// Key and value.
type Label = (Arc<str>, Arc<str>);

impl Labels {
    /// Returns the value of the label `key`, by binary search.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let all = self.0.as_deref()?;
        let at = all.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&all[at].1)
    }

    /// Returns whether the label `key` exists, with any value.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Returns all labels as key and value, by ascending key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.as_deref().unwrap_or_default().iter().map(|(key, value)| (&**key, &**value))
    }

    /// Shares equal keys and values with other labels, so that they are held once.
    pub(super) fn sharing(mut self, others: &Self) -> Self {
        if self == *others {
            return others.clone();
        }
        let others = others.0.as_deref().unwrap_or_default();
        // Labels that are held elsewhere too are not changed.
        let own = self.0.as_mut().and_then(Arc::get_mut).unwrap_or_default();
        for (at, (key, value)) in own.iter_mut().enumerate() {
            // Containers of one project have the same keys, at the same places.
            let same_place = others.get(at).filter(|(other, _)| other == key);
            let other = same_place.or_else(|| {
                let at = others.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
                others.get(at)
            });
            if let Some((same_key, other_value)) = other {
                *key = same_key.clone();
                if value == other_value {
                    *value = other_value.clone();
                }
            }
        }
        self
    }

    /// Returns these labels and another one, which replaces one with the same key.
    #[must_use]
    pub fn with(&self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let own = self.0.iter().flat_map(|all| all.iter().cloned());
        own.chain([(key.into(), value.into())]).collect()
    }

    /// Returns the number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// Returns whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    /// Collects labels. If a key occurs several times, the last value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut all: Vec<Label> = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if all.is_empty() {
            return Self(None);
        }
        all.reverse();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(later, _), (kept, _)| later == kept);
        Self(Some(all.into()))
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
