//! What went wrong on the way to containerd, in words that say what to do.

use tonic::Status;
use whalewatcher_adapter::Excerpt;
pub(crate) use whalewatcher_adapter::containerd::ENGINE;
use whalewatcher_core::{EngineError, ErrorKind};

/// containerd is there, but lacks something that this client cannot do without.
pub(crate) fn too_old(what: &str, version: &str, status: Status) -> EngineError {
    let message =
        format!("containerd {} does not know {what}: 1.6 or later is needed", Excerpt(version.trim()));
    EngineError::new(ErrorKind::TooOld, message).with_source(status)
}

/// A question was not answered, or with a complaint.
pub(crate) fn of_status(what: &str, status: Status) -> EngineError {
    ENGINE.of_status(what, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_containerd_is_called_so() {
        let reported = too_old("Introspection.Server", "v1.2.3 ", Status::unimplemented("x"));
        assert_eq!(reported.kind(), ErrorKind::TooOld);
        assert!(
            reported.to_string().starts_with("containerd v1.2.3 does not know Introspection.Server"),
            "{reported}"
        );
    }
}
