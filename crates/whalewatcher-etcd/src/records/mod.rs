//! What is in etcd: the keys below a prefix, and their values in JSON.
//!
//! ```
//! use whalewatcher_etcd::records::Key;
//!
//! let key = Key::Container { host: "web-3".into(), engine: "0a1b".into(), id: "k8s.io/c0ffee".into() };
//! let text = key.below("/whalewatcher/v1/");
//! assert_eq!(text, "/whalewatcher/v1/h/web-3/c/0a1b/k8s.io%2Fc0ffee");
//! assert_eq!(Key::parse("/whalewatcher/v1/", &text)?, key);
//! # Ok::<(), whalewatcher_etcd::records::RecordError>(())
//! ```

mod error;
mod key;
mod value;

pub use error::RecordError;
pub use key::{EXITS, Key, host_prefix, hosts_prefix};
pub use value::{
    ClaimRecord, ContainerRecord, EnginePhase, EngineRecord, ExitRecord, HostRecord, Record, VERSION,
    Versioned,
};
