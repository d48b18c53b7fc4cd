//! Advice about engines that cannot be watched, where the error itself contains none.

use whalewatcher_core::{EngineError, ErrorKind, Watcher};
use whalewatcher_discover::Finding;
use whalewatcher_moby::Contexts;

use crate::clusters::host_of;

/// Returns the type and the endpoint of an engine as one text; of one that another host publishes, the name
/// of that in place of the endpoint.
pub(crate) fn location(watcher: &dyn Watcher) -> String {
    match host_of(watcher) {
        Some(host) => format!("{} on {}", watcher.engine_type(), host.name),
        None => format!("{} at {}", watcher.engine_type(), watcher.endpoint()),
    }
}

/// Returns the text for a host without engines, with what was seen there.
pub(crate) fn no_engine(missing: &[String]) -> String {
    let seen = match missing {
        [] => String::new(),
        _ => format!(" ({})", missing.join("; ")),
    };
    format!(
        "no container engine was found{seen}: start one, or name one with --host; 'whalewatcher demo' needs none"
    )
}

/// Returns an error's text with the engine's location and with advice.
pub(crate) fn explain(watcher: &dyn Watcher, error: &EngineError) -> String {
    if host_of(watcher).is_some() {
        return format!("{}: {error}", location(watcher));
    }
    let message = with_advice(&location(watcher), watcher.endpoint(), Kind::of(watcher.engine_type()), error);
    with_variable(watcher.endpoint(), message)
}

/// Returns the text of a finding.
pub(crate) fn explain_finding(finding: &Finding) -> String {
    with_variable(&finding.place, finding.to_string())
}

/// Returns the message with the variable of the environment that names this endpoint, if one does.
pub(crate) fn with_variable(endpoint: &str, message: String) -> String {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = |name: &&&str| text(name).is_some_and(|value| is_same(&value, endpoint));
    let is_of_context = || {
        let context = Contexts::from_env().and_then(|contexts| contexts.current());
        context.is_ok_and(|context| context.endpoint() == endpoint)
    };
    let variable = match ["DOCKER_HOST", "CONTAINER_HOST"].iter().find(names) {
        Some(variable) => *variable,
        None if text("DOCKER_HOST").is_none() && text("DOCKER_CONTEXT").is_some() && is_of_context() => {
            "DOCKER_CONTEXT"
        }
        None => return message,
    };
    format!("{variable}: {message}")
}

/// Returns whether a variable with this value names the endpoint.
fn is_same(value: &str, endpoint: &str) -> bool {
    value == endpoint || value.starts_with('/') && endpoint.strip_prefix("unix://") == Some(value)
}

/// The kind of engine that was expected.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Docker,
    Containerd,
    Cri,
    Podman,
}

impl Kind {
    fn of(engine_type: &str) -> Self {
        match engine_type {
            "containerd.io" => Self::Containerd,
            "k8s.io/cri-api" => Self::Cri,
            "podman.io" => Self::Podman,
            _ => Self::Docker,
        }
    }
}

fn with_advice(location: &str, endpoint: &str, expected: Kind, error: &EngineError) -> String {
    let mut message = error.to_string();
    if !message.contains(endpoint) {
        message = format!("{location}: {message}");
    }
    // What is wrong with TLS or ssh, and what to do, is in the error.
    let says_more = ["TLS", "certificate", "ssh://"].iter().any(|word| message.contains(word));
    match advice(error.kind(), expected).filter(|_| !says_more) {
        Some(advice) => format!("{message} ({advice})"),
        None => message,
    }
}

fn advice(kind: ErrorKind, expected: Kind) -> Option<&'static str> {
    Some(match (kind, expected) {
        (ErrorKind::Unreachable, Kind::Docker) => {
            "--host or DOCKER_HOST name another; 'whalewatcher demo' needs none"
        }
        (ErrorKind::Unreachable, Kind::Podman) => {
            "'systemctl enable --now podman.socket' lets root's podman listen, with --user that of a user"
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
        (ErrorKind::NotThisEngine, Kind::Podman) => "Docker is at docker:///PATH",
        (ErrorKind::TooOld, _) => "upgrade the engine",
        (ErrorKind::TimedOut, _) => "is the engine overloaded or stopped?",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_contains_its_location_once_and_advice() {
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
