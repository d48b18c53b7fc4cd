//! Keys.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::RecordError;

/// How many exits of an engine are kept: the number of slots of its ring.
pub const EXITS: usize = 256;

/// What is escaped in a part of a key: all but letters, digits and `-._~:`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A key, without the prefix of all keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Key {
    /// `h/HOST/claim`: the agent that publishes for the host. The only key with a lease; the revision of its
    /// creation is the epoch.
    Claim {
        /// The host's ID.
        host: String,
    },
    /// `h/HOST/host`: the host itself.
    Host {
        /// The host's ID.
        host: String,
    },
    /// `h/HOST/e/ENGINE`: an engine.
    Engine {
        /// The host's ID.
        host: String,
        /// The engine's.
        engine: String,
    },
    /// `h/HOST/c/ENGINE/ID`: a container that is alive.
    Container {
        /// The host's ID.
        host: String,
        /// The engine's.
        engine: String,
        /// The container's.
        id: String,
    },
    /// `h/HOST/x/ENGINE/NN`: one of the last exits.
    Exit {
        /// The host's ID.
        host: String,
        /// The engine's.
        engine: String,
        /// The slot in the ring.
        slot: u8,
    },
}

impl Key {
    /// Returns the whole key, with each part escaped.
    #[must_use]
    pub fn below(&self, prefix: &str) -> String {
        let mut text = host_prefix(prefix, self.host());
        // Writing to a text does not fail.
        let _ = match self {
            Self::Claim { .. } => write!(text, "claim"),
            Self::Host { .. } => write!(text, "host"),
            Self::Engine { engine, .. } => write!(text, "e/{}", escaped(engine)),
            Self::Container { engine, id, .. } => write!(text, "c/{}/{}", escaped(engine), escaped(id)),
            Self::Exit { engine, slot, .. } => write!(text, "x/{}/{slot:02x}", escaped(engine)),
        };
        text
    }

    /// Parses a whole key. Each key has one spelling: another one that would mean the same is refused.
    ///
    /// # Errors
    ///
    /// If it is no key of a record.
    pub fn parse(prefix: &str, text: &str) -> Result<Self, RecordError> {
        let wrong = |why| RecordError::new(text, why);
        let rest = text.strip_prefix(prefix).ok_or_else(|| wrong("it is not below the prefix"))?;
        let parts: Vec<String> = rest
            .split('/')
            .map(|part| {
                Some(percent_decode_str(part).decode_utf8().ok()?.into_owned())
                    .filter(|part| !part.is_empty())
            })
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("it has a part that is empty or no text"))?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let key = match *parts.as_slice() {
            ["h", host, "claim"] => Self::Claim { host: host.into() },
            ["h", host, "host"] => Self::Host { host: host.into() },
            ["h", host, "e", engine] => Self::Engine { host: host.into(), engine: engine.into() },
            ["h", host, "c", engine, id] => {
                Self::Container { host: host.into(), engine: engine.into(), id: id.into() }
            }
            ["h", host, "x", engine, slot] => {
                let slot = u8::from_str_radix(slot, 16).map_err(|_| wrong("it has no slot from 00 to ff"))?;
                Self::Exit { host: host.into(), engine: engine.into(), slot }
            }
            _ => return Err(wrong("whalewatcher has no such key")),
        };
        if key.below(prefix) == text {
            Ok(key)
        } else {
            Err(wrong("it is spelled in another way than whalewatcher does"))
        }
    }

    /// Returns the ID of the host.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Claim { host }
            | Self::Host { host }
            | Self::Engine { host, .. }
            | Self::Container { host, .. }
            | Self::Exit { host, .. } => host,
        }
    }

    /// Returns the ID of the engine, if the key is of one.
    #[must_use]
    pub fn engine(&self) -> Option<&str> {
        match self {
            Self::Claim { .. } | Self::Host { .. } => None,
            Self::Engine { engine, .. } | Self::Container { engine, .. } | Self::Exit { engine, .. } => {
                Some(engine)
            }
        }
    }
}

/// Returns the prefix of the keys of all hosts.
#[must_use]
pub fn hosts_prefix(prefix: &str) -> String {
    format!("{prefix}h/")
}

/// Returns the prefix of all keys of a host: what its agent may write.
#[must_use]
pub fn host_prefix(prefix: &str, host: &str) -> String {
    format!("{prefix}h/{}/", escaped(host))
}

fn escaped(part: &str) -> impl std::fmt::Display {
    utf8_percent_encode(part, ESCAPED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DEFAULT_PREFIX;

    fn any_key() -> impl Strategy<Value = Key> {
        let part = || prop_oneof!["[a-z0-9/%.: ]{1,8}", "\\PC{1,4}", Just("..".to_owned())];
        (part(), part(), part(), 0..5, any::<u8>()).prop_map(|(host, engine, id, kind, slot)| match kind {
            0 => Key::Claim { host },
            1 => Key::Host { host },
            2 => Key::Engine { host, engine },
            3 => Key::Container { host, engine, id },
            _ => Key::Exit { host, engine, slot },
        })
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written(key in any_key()) {
            let text = key.below(DEFAULT_PREFIX);
            prop_assert_eq!(Key::parse(DEFAULT_PREFIX, &text), Ok(key.clone()));
            prop_assert!(text.starts_with(&host_prefix(DEFAULT_PREFIX, key.host())));
            prop_assert!(text.is_ascii());
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in "(/p/)?(h/)?[a-z%/.0-9]{0,20}") {
            if let Ok(key) = Key::parse("/p/", &text) {
                prop_assert_eq!(key.below("/p/"), text);
            }
        }
    }

    #[test]
    fn other_spellings_and_other_keys_are_refused() {
        for (text, why) in [
            ("/q/h/a/claim", "below the prefix"),
            ("/p/h/a", "no such key"),
            ("/p/h/a/e/b/c", "no such key"),
            ("/p/h//claim", "empty"),
            ("/p/h/%ff/claim", "no text"),
            ("/p/h/%61/claim", "spelled in another way"),
            ("/p/h/a/x/b/0", "spelled in another way"),
            ("/p/h/a/x/b/FF", "spelled in another way"),
            ("/p/h/a/x/b/100", "no slot"),
        ] {
            let error = Key::parse("/p/", text).unwrap_err();
            assert_eq!(error.key(), text);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
