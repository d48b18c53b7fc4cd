//! Texts that many containers have in common, such as the keys of labels and the names of images: held once.
//!
//! Each thread keeps the texts that it used last, by their hash. So texts are shared by most, not all, of the
//! containers that have them, and the memory that the texts themselves take beyond the containers' life is
//! bounded.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

/// How many texts a thread keeps.
const TEXTS: usize = 1024;
/// How many sets of keys a thread keeps.
const KEY_SETS: usize = 64;
/// Longer texts are not shared, in bytes.
const MAX_TEXT: usize = 256;
/// Larger sets of keys are not shared.
const MAX_KEYS: usize = 64;

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

#[derive(Default)]
struct Recent {
    hashing: RandomState,
    texts: Vec<Option<Arc<str>>>,
    key_sets: Vec<Option<Arc<[Arc<str>]>>>,
}

impl Recent {
    fn text(&mut self, text: &str) -> Arc<str> {
        if text.len() > MAX_TEXT {
            return text.into();
        }
        let place = place(&mut self.texts, TEXTS, &self.hashing, text);
        match place {
            Some(held) if **held == *text => held.clone(),
            _ => place.insert(text.into()).clone(),
        }
    }

    fn keys<K: AsRef<str>, V>(&mut self, labels: &[(K, V)]) -> Arc<[Arc<str>]> {
        let keys = || labels.iter().map(|(key, _)| key.as_ref());
        if labels.len() > MAX_KEYS {
            return keys().map(|key| self.text(key)).collect();
        }
        let all: Vec<_> = keys().collect();
        if let Some(held) = place(&mut self.key_sets, KEY_SETS, &self.hashing, &all)
            && held.iter().map(|key| &**key).eq(keys())
        {
            return held.clone();
        }
        let shared: Arc<[_]> = keys().map(|key| self.text(key)).collect();
        *place(&mut self.key_sets, KEY_SETS, &self.hashing, &all) = Some(shared.clone());
        shared
    }
}

/// Returns the place of what has that hash.
fn place<'a, T>(
    places: &'a mut Vec<Option<T>>,
    count: usize,
    hashing: &RandomState,
    of: impl Hash,
) -> &'a mut Option<T> {
    if places.is_empty() {
        places.resize_with(count, || None);
    }
    &mut places[hashing.hash_one(of) as usize % count]
}

/// Returns the text, shared with other containers of this thread if one of them used it recently.
pub(super) fn text(text: &str) -> Arc<str> {
    RECENT.try_with(|recent| recent.borrow_mut().text(text)).unwrap_or_else(|_| text.into())
}

/// Returns the keys and the values of labels. The keys are shared as a whole, because many containers have the same.
pub(super) fn keys_and_values<K: AsRef<str>, V: AsRef<str>>(labels: &[(K, V)]) -> [Arc<[Arc<str>]>; 2] {
    fn of<K: AsRef<str>, V: AsRef<str>>(recent: &mut Recent, labels: &[(K, V)]) -> [Arc<[Arc<str>]>; 2] {
        let values = labels.iter().map(|(_, value)| recent.text(value.as_ref())).collect();
        [recent.keys(labels), values]
    }
    // A thread that ends has no texts any more.
    let shared = RECENT.try_with(|recent| of(&mut recent.borrow_mut(), labels));
    shared.unwrap_or_else(|_| of(&mut Recent::default(), labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_held_once() {
        let (one, other) = (text("shop-web"), text("shop-web"));
        assert!(Arc::ptr_eq(&one, &other));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!((&*text(&long), Arc::ptr_eq(&text(&long), &text(&long))), (&*long, false));
    }

    #[test]
    fn equal_keys_are_held_once_and_values_that_are_equal_too() {
        let [keys, values] = keys_and_values(&[("service", "web"), ("version", "2.40.3")]);
        let [same_keys, others] = keys_and_values(&[("service", "db"), ("version", "2.40.3")]);
        assert!(Arc::ptr_eq(&keys, &same_keys) && Arc::ptr_eq(&values[1], &others[1]));
        assert_eq!((&*values[0], &*others[0]), ("web", "db"));
        let [fewer, _] = keys_and_values(&[("service", "web")]);
        assert_eq!((fewer.len(), Arc::ptr_eq(&fewer[0], &keys[0])), (1, true));
    }

    #[test]
    fn any_number_of_texts_and_keys_is_right_and_few_are_kept() {
        let texts: Vec<_> = (0..20_000).map(|number| text(&number.to_string())).collect();
        assert!(texts.iter().enumerate().all(|(number, text)| **text == *number.to_string()));
        for size in (1..200).chain(1..200) {
            let labels: Vec<_> = (0..size).map(|nth| (format!("key {nth}"), nth.to_string())).collect();
            let [keys, values] = keys_and_values(&labels);
            let both = keys.iter().zip(&*values).map(|(key, value)| (key.to_string(), value.to_string()));
            assert_eq!(both.collect::<Vec<_>>(), labels);
        }
        let kept = texts.iter().filter(|text| Arc::strong_count(text) > 1).count();
        assert!(kept <= TEXTS, "{kept}");
    }
}
