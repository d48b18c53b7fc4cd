//! What to do about an engine that cannot be watched, where its error does not say so itself.

use whalewatcher_core::{EngineError, ErrorKind, Watcher};

/// Which engine: its type, and where it is.
pub(crate) fn place(watcher: &dyn Watcher) -> String {
    format!("{} at {}", watcher.engine_type(), watcher.endpoint())
}

/// What is wrong, where, and what to do.
pub(crate) fn advised(watcher: &dyn Watcher, error: &EngineError) -> String {
    with_advice(&place(watcher), watcher.endpoint(), Kind::of(watcher.engine_type()), error)
}

/// The kind of engine that was looked for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Docker,
    Containerd,
    Cri,
}

impl Kind {
    fn of(engine_type: &str) -> Self {
        match engine_type {
            "containerd.io" => Self::Containerd,
            "k8s.io/cri-api" => Self::Cri,
            _ => Self::Docker,
        }
    }
}

fn with_advice(place: &str, endpoint: &str, sought: Kind, error: &EngineError) -> String {
    let mut message = error.to_string();
    if !message.contains(endpoint) {
        message = format!("{place}: {message}");
    }
    match advice(error.kind(), sought) {
        Some(advice) => format!("{message} ({advice})"),
        None => message,
    }
}

fn advice(kind: ErrorKind, sought: Kind) -> Option<&'static str> {
    Some(match (kind, sought) {
        (ErrorKind::Unreachable, Kind::Docker) => {
            "--host or DOCKER_HOST name another; 'whalewatcher demo' needs none"
        }
        (ErrorKind::Unreachable, _) => "--host names another; 'whalewatcher demo' needs none",
        (ErrorKind::NotThisEngine, Kind::Docker) => {
            "--host and DOCKER_HOST must name where Docker's API is; containerd is at containerd:///PATH, a CRI runtime at cri:///PATH"
        }
        (ErrorKind::NotThisEngine, Kind::Containerd) => {
            "Docker is at docker:///PATH, a CRI runtime at cri:///PATH"
        }
        (ErrorKind::NotThisEngine, Kind::Cri) => {
            "Docker is at docker:///PATH, containerd is at containerd:///PATH"
        }
        (ErrorKind::TooOld, _) => "upgrade the engine",
        (ErrorKind::TimedOut, _) => "is the engine overloaded or stopped?",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_reported_with_its_place_once_and_with_advice() {
        let reported = |kind, message| {
            let error = EngineError::new(kind, message);
            with_advice("docker.com at unix:///x", "unix:///x", Kind::of("docker.com"), &error)
        };
        assert_eq!(reported(ErrorKind::Malformed, "no sense"), "docker.com at unix:///x: no sense");
        assert_eq!(reported(ErrorKind::PermissionDenied, "no way to unix:///x"), "no way to unix:///x");
        assert_eq!(
            reported(ErrorKind::TooOld, "Docker API 1.12 is too old"),
            "docker.com at unix:///x: Docker API 1.12 is too old (upgrade the engine)"
        );
    }
}
