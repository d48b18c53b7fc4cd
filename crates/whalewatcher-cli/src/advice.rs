//! What to do about an engine that cannot be watched, where its error does not say so itself.

use whalewatcher::{EngineError, ErrorKind, Watcher};

/// Which engine: its type, and where it is.
pub(crate) fn place(watcher: &dyn Watcher) -> String {
    format!("{} at {}", watcher.engine_type(), watcher.endpoint())
}

/// What is wrong, where, and what to do.
pub(crate) fn advised(watcher: &dyn Watcher, error: &EngineError) -> String {
    let is_docker = watcher.engine_type() != "containerd.io";
    with_advice(&place(watcher), watcher.endpoint(), is_docker, error)
}

fn with_advice(place: &str, endpoint: &str, is_docker: bool, error: &EngineError) -> String {
    let mut message = error.to_string();
    if !message.contains(endpoint) {
        message = format!("{place}: {message}");
    }
    match advice(error.kind(), is_docker) {
        Some(advice) => format!("{message} ({advice})"),
        None => message,
    }
}

fn advice(kind: ErrorKind, is_docker: bool) -> Option<&'static str> {
    match kind {
        ErrorKind::Unreachable if is_docker => {
            Some("--host or DOCKER_HOST name another; 'whalewatcher demo' needs none")
        }
        ErrorKind::Unreachable => Some("--host names another; 'whalewatcher demo' needs none"),
        ErrorKind::NotThisEngine if is_docker => Some(
            "--host and DOCKER_HOST must name where Docker's API is; containerd is at containerd:///PATH",
        ),
        ErrorKind::NotThisEngine => Some("Docker is at docker:///PATH"),
        ErrorKind::TooOld => Some("upgrade the engine"),
        ErrorKind::TimedOut => Some("is the engine overloaded or stopped?"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_place_once_and_with_advice() {
        let told = |kind, message| {
            let error = EngineError::new(kind, message);
            with_advice("docker.com at unix:///x", "unix:///x", true, &error)
        };
        assert_eq!(told(ErrorKind::Garbled, "no sense"), "docker.com at unix:///x: no sense");
        assert_eq!(told(ErrorKind::PermissionDenied, "no way to unix:///x"), "no way to unix:///x");
        assert_eq!(
            told(ErrorKind::TooOld, "Docker API 1.12 is too old"),
            "docker.com at unix:///x: Docker API 1.12 is too old (upgrade the engine)"
        );
    }
}
