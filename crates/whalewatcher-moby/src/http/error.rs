//! Errors of requests to an engine: what failed, and what to do.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use hyper_util::client::legacy;
use whalewatcher_adapter::{Chain, Excerpt, find_cause};
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::config::endpoint::{Address, Endpoint};
use crate::config::tls::{self, Tls};

/// The error for a connection that could not be made.
pub(crate) fn of_connecting(endpoint: &Endpoint, error: io::Error) -> EngineError {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
    let unix = match endpoint.address() {
        Address::Unix(path) => Some(path),
        Address::Tcp { .. } | Address::Ssh(_) => None,
    };
    if let Some(known) = error.get_ref().and_then(|error| error.downcast_ref::<EngineError>()) {
        return EngineError::new(known.kind(), known.to_string()).with_source(error);
    }
    if let (ConnectionRefused, Some(what)) = (error.kind(), unix.and_then(|path| no_socket(path))) {
        let message = format!("{endpoint} is {what}, not a socket: check what was mounted or created there");
        return EngineError::new(ErrorKind::Unreachable, message).with_source(error);
    }
    let (kind, message) = match (error.kind(), unix) {
        (NotFound | NotADirectory, Some(_)) => {
            (ErrorKind::Unreachable, format!("no such socket: {endpoint}; is the engine running?"))
        }
        (ConnectionRefused, _) => {
            (ErrorKind::Unreachable, format!("nothing listens at {endpoint}; is the engine running?"))
        }
        (PermissionDenied, Some(path)) => {
            let access = fs::metadata(path).ok().map(|file| Access::of(&file));
            (ErrorKind::PermissionDenied, no_permission(endpoint, access))
        }
        _ => {
            (ErrorKind::Unreachable, format!("cannot connect to {endpoint}: {}", Excerpt(&error.to_string())))
        }
    };
    EngineError::new(kind, message).with_source(error)
}

/// What is at the path in place of a socket. Docker creates a directory for a mounted path that does not exist.
fn no_socket(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    if kind.is_dir() {
        return Some("a directory");
    }
    (!kind.is_socket()).then_some("a file")
}

/// The users that may connect to a socket, by the permissions of its file.
#[derive(Debug)]
enum Access {
    Group(String),
    User(String),
}

impl Access {
    fn of(file: &fs::Metadata) -> Self {
        // Connecting requires the permission to write.
        let by_group = file.mode() & 0o020 != 0 && file.gid() != 0;
        if by_group {
            Self::Group(name("/etc/group", file.gid()))
        } else {
            Self::User(name("/etc/passwd", file.uid()))
        }
    }
}

/// Returns the name of a group or user; the number where it has none.
fn name(database: &str, number: u32) -> String {
    let names = fs::read_to_string(Path::new(database)).unwrap_or_default();
    find_name(&names, number).map_or_else(|| number.to_string(), str::to_owned)
}

fn find_name(database: &str, number: u32) -> Option<&str> {
    database.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

fn no_permission(endpoint: &Endpoint, access: Option<Access>) -> String {
    match access {
        Some(Access::Group(group)) => format!(
            "no permission to use {endpoint}, which members of group '{0}' may use: add yourself with \
             'sudo usermod -aG {0} $USER' and log in again, or run as root",
            Printable(&group)
        ),
        Some(Access::User(user)) if user != "root" => {
            format!("no permission to use {endpoint}: run as user '{}' or as root", Printable(&user))
        }
        _ => format!("no permission to use {endpoint}: run as root"),
    }
}

/// The error for a request without an answer.
pub(crate) fn of_request(endpoint: &Endpoint, tls: Option<&Tls>, error: legacy::Error) -> EngineError {
    if let Some(known) = find_cause::<EngineError>(&error) {
        return EngineError::new(known.kind(), known.to_string()).with_source(error);
    }
    // An engine refuses a client's certificate after the client has begun to use the connection.
    if let Some(error) = tls.and_then(|tls| tls::explain(tls, endpoint, &error)) {
        return error;
    }
    let is_no_http = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse() || is_unsolicited(error))
    };
    if causes(&error).any(is_no_http) {
        let advice = if endpoint.is_plain_tcp() { EXPECTS_TLS } else { "" };
        let message = format!("what answers at {endpoint} does not speak HTTP: {}{advice}", Chain(&error));
        return EngineError::new(ErrorKind::NotThisEngine, message).with_source(error);
    }
    let message = format!("lost the connection to {endpoint}: {}", Chain(&error));
    EngineError::new(ErrorKind::Disconnected, message).with_source(error)
}

/// What to do about an engine that expects TLS.
pub(crate) const EXPECTS_TLS: &str =
    ": if it expects TLS, use https://, or set certificates (DOCKER_CERT_PATH)";

/// Whether the peer sent data before any request, as mail servers and databases do. hyper has no predicate
/// for that: it is an error without a cause that is no other kind.
fn is_unsolicited(error: &hyper::Error) -> bool {
    let other = error.is_user()
        || error.is_canceled()
        || error.is_closed()
        || error.is_incomplete_message()
        || error.is_body_write_aborted()
        || error.is_timeout();
    !other && error.source().is_none()
}

/// The error for an answer that did not come to its end.
pub(crate) fn of_body(what: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> EngineError {
    let error = error.into();
    if is_closed(&*error) {
        let message = format!("{what}: the engine closed the connection");
        return EngineError::new(ErrorKind::Disconnected, message).with_source(error);
    }
    let message = format!("{what}: the connection ended within the answer: {}", Chain(&*error));
    EngineError::new(ErrorKind::Disconnected, message).with_source(error)
}

/// Whether an error reports only that the peer closed the connection.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let hyper = cause.downcast_ref::<hyper::Error>();
        matches!(io, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
            || hyper.is_some_and(hyper::Error::is_incomplete_message)
    })
}

/// Returns an error and its sources.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The error for an answer that exceeds its limit.
pub(crate) fn too_large(what: &str, limit: usize) -> EngineError {
    let message = format!("{what}: the answer has more than {limit} bytes");
    EngineError::new(ErrorKind::Malformed, message)
}

/// The error for an answer that exceeds what is left of the budget.
pub(crate) fn over_budget(what: &str, limit: usize) -> EngineError {
    let message = format!(
        "{what}: the answer takes more than is left of {limit} bytes for all answers: Builder::memory_limit sets \
         another limit"
    );
    EngineError::new(ErrorKind::Malformed, message)
}

/// The error for an answer that cannot be decoded.
pub(crate) fn malformed(what: &str, why: impl fmt::Display) -> EngineError {
    let message = format!("{what}: the answer cannot be understood: {}", Excerpt(&why.to_string()));
    EngineError::new(ErrorKind::Malformed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::parse("/run/d.sock", false).unwrap()
    }

    #[test]
    fn errors_of_the_operating_system_have_a_remedy() {
        for (error, kind, text) in [
            (
                io::ErrorKind::NotFound,
                ErrorKind::Unreachable,
                "no such socket: unix:///run/d.sock; is the engine",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                ErrorKind::Unreachable,
                "nothing listens at unix:///run/d.sock",
            ),
            (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied, "no permission to use"),
            (io::ErrorKind::WouldBlock, ErrorKind::Unreachable, "cannot connect to unix:///run/d.sock"),
        ] {
            let reported = of_connecting(&endpoint(), error.into());
            assert_eq!(reported.kind(), kind);
            assert!(reported.to_string().starts_with(text), "{reported}");
        }
    }

    #[test]
    fn a_refused_permission_names_the_group_or_user_that_has_it() {
        let group = no_permission(&endpoint(), Some(Access::Group("docker".into())));
        assert!(group.contains("members of group 'docker' may use: add yourself with"), "{group}");
        let user = no_permission(&endpoint(), Some(Access::User("whale".into())));
        assert!(user.ends_with("run as user 'whale' or as root"), "{user}");
        assert!(no_permission(&endpoint(), None).ends_with("run as root"));
    }

    #[test]
    fn names_are_found_by_number() {
        let groups = "root:x:0:\n# a comment\n\ndocker:x:998:me,you\nbroken:x\n";
        assert_eq!(find_name(groups, 998), Some("docker"));
        assert_eq!(find_name(groups, 0), Some("root"));
        assert_eq!(find_name(groups, 5), None);
    }
}
