//! What does things to containers of real engines, for scenarios and benches: through clients and on connections of
//! its own, so that none of what is tested has a part in it.

pub mod api;
pub mod containerd;
pub mod cri;
pub mod docker;

use std::fmt;

/// The context of an error that is the engine's own: it failed at something it was asked for to set a scenario up, to
/// look at it from outside, or to clear up after it.
#[derive(Clone, Debug)]
pub struct EngineFailure(pub String);

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an error is the engine's own, and so says nothing about a watcher of it. What foreign clients report always
/// is: watchers have errors of their own.
#[must_use]
pub fn is_engines_own(error: &anyhow::Error) -> bool {
    error.is::<EngineFailure>() || error.is::<tonic::Status>() || error.is::<bollard::errors::Error>()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, Error, anyhow};
    use tonic::Status;

    use super::*;

    #[test]
    fn what_a_foreign_client_reports_is_the_engines_own() {
        let closed = Err::<(), _>(Status::unknown("ttrpc: closed"));
        let closed = closed.context("cannot stop pod a").context("in round 1").unwrap_err();
        assert!(is_engines_own(&closed), "{closed:#}");
        let marked = anyhow!("no PID").context(EngineFailure("an odd answer".to_owned())).context("why");
        assert!(is_engines_own(&marked) && format!("{marked:#}") == "why: an odd answer: no PID");
        assert!(is_engines_own(&Error::from(bollard::errors::Error::RequestTimeoutError)));
        // A watcher's error may have one as its cause.
        let watchers = std::io::Error::other(Status::unknown("ttrpc: closed"));
        assert!(!is_engines_own(&Error::from(watchers).context("not ready")));
    }
}
