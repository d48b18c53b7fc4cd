//! What went wrong on the way to an engine, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use hyper_util::client::legacy;
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::config::endpoint::{Address, Endpoint};

/// Of what an engine says at most so many characters are passed on.
const EXCERPT: usize = 300;

/// No connection could be made.
pub(crate) fn of_connecting(endpoint: &Endpoint, error: io::Error) -> EngineError {
    use io::ErrorKind::{ConnectionRefused, InvalidData, NotADirectory, NotFound, PermissionDenied};
    let unix = match endpoint.address() {
        Address::Unix(path) => Some(path),
        Address::Tcp { .. } => None,
    };
    if let Some(known) = error.get_ref().and_then(|error| error.downcast_ref::<EngineError>()) {
        return EngineError::new(known.kind(), known.to_string()).with_source(error);
    }
    if let (ConnectionRefused, Some(what)) = (error.kind(), unix.and_then(|path| no_socket(path))) {
        let message = format!("{endpoint} is {what}, not a socket: check what was mounted or made there");
        return EngineError::new(ErrorKind::Unreachable, message).with_source(error);
    }
    let (kind, message) = match (error.kind(), unix) {
        (NotFound | NotADirectory, Some(_)) => {
            (ErrorKind::Unreachable, format!("no such socket: {endpoint}: is the engine running?"))
        }
        (ConnectionRefused, _) => {
            (ErrorKind::Unreachable, format!("nobody listens at {endpoint}: is the engine running?"))
        }
        (PermissionDenied, Some(path)) => {
            let who = fs::metadata(path).ok().map(|file| Access::of(&file));
            (ErrorKind::PermissionDenied, no_permission(endpoint, who))
        }
        // That is how rustls says that the certificate is not trusted, or that there is no TLS at the other end.
        (InvalidData, None) => {
            let why = error.to_string();
            let message =
                format!("cannot agree on TLS with {endpoint}: {}: check the certificates", Excerpt(&why));
            (ErrorKind::NotThisEngine, message)
        }
        _ => {
            (ErrorKind::Unreachable, format!("cannot connect to {endpoint}: {}", Excerpt(&error.to_string())))
        }
    };
    EngineError::new(kind, message).with_source(error)
}

/// What is in the place of a socket, if it is something else: Docker makes a directory of what is mounted but missing.
fn no_socket(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    if kind.is_dir() {
        return Some("a directory");
    }
    (!kind.is_socket()).then_some("a file")
}

/// Whom the file of a socket lets in.
#[derive(Debug)]
enum Access {
    Group(String),
    User(String),
}

impl Access {
    fn of(file: &fs::Metadata) -> Self {
        // Connecting takes the right to write.
        let by_group = file.mode() & 0o020 != 0 && file.gid() != 0;
        if by_group {
            Self::Group(name("/etc/group", file.gid()))
        } else {
            Self::User(name("/etc/passwd", file.uid()))
        }
    }
}

/// The name of a group or user; the number where it has none.
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

fn no_permission(endpoint: &Endpoint, who: Option<Access>) -> String {
    match who {
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

/// A request got no answer.
pub(crate) fn of_request(endpoint: &Endpoint, error: legacy::Error) -> EngineError {
    let cause = error.source();
    if let Some(known) = cause.and_then(<dyn Error>::downcast_ref::<EngineError>) {
        return EngineError::new(known.kind(), known.to_string()).with_source(error);
    }
    let is_no_http = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse() || is_unasked(error))
    };
    if causes(&error).any(is_no_http) {
        let message = format!("what answers at {endpoint} does not speak HTTP: {}", Chain(&error));
        return EngineError::new(ErrorKind::NotThisEngine, message).with_source(error);
    }
    let message = format!("lost the connection to {endpoint}: {}", Chain(&error));
    EngineError::new(ErrorKind::Disconnected, message).with_source(error)
}

/// Whether somebody spoke unasked, as servers of mail and of databases do. hyper has no word for that: it is what has no cause
/// and is nothing else.
fn is_unasked(error: &hyper::Error) -> bool {
    let other = error.is_user()
        || error.is_canceled()
        || error.is_closed()
        || error.is_incomplete_message()
        || error.is_body_write_aborted()
        || error.is_timeout();
    !other && error.source().is_none()
}

/// An answer did not come to its end.
pub(crate) fn of_body(what: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> EngineError {
    let error = error.into();
    if ended(&*error) {
        let message = format!("{what}: the engine closed the connection");
        return EngineError::new(ErrorKind::Disconnected, message).with_source(error);
    }
    let message = format!("{what}: the connection ended within the answer: {}", Chain(&*error));
    EngineError::new(ErrorKind::Disconnected, message).with_source(error)
}

/// Whether an error says no more than that the other end is gone.
fn ended(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let hyper = cause.downcast_ref::<hyper::Error>();
        matches!(io, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
            || hyper.is_some_and(hyper::Error::is_incomplete_message)
    })
}

/// An error and what caused it, from one to the next.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// An answer is larger than allowed.
pub(crate) fn too_large(what: &str, limit: usize) -> EngineError {
    let message = format!("{what}: the answer has more than {limit} bytes");
    EngineError::new(ErrorKind::Malformed, message)
}

/// An answer does not fit into what all of them may take together.
pub(crate) fn no_memory(what: &str, limit: usize) -> EngineError {
    let message = format!(
        "{what}: the answer takes more than is left of {limit} bytes for all answers: Builder::memory_limit sets \
         another limit"
    );
    EngineError::new(ErrorKind::Malformed, message)
}

/// An answer is not what it should be.
pub(crate) fn malformed(what: &str, why: impl fmt::Display) -> EngineError {
    let message = format!("{what}: the answer cannot be understood: {}", Excerpt(&why.to_string()));
    EngineError::new(ErrorKind::Malformed, message)
}

/// An error with all its causes, in one line.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        Excerpt(&text).fmt(f)
    }
}

/// Somebody else's words, made fit for one line.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim().trim_end_matches('.');
        match text.char_indices().nth(EXCERPT) {
            Some((end, _)) => write!(f, "{}…", Printable(&text[..end])),
            None => Printable(text).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::parse("/run/d.sock", false).unwrap()
    }

    #[test]
    fn the_operating_systems_errors_are_reported_with_a_remedy() {
        for (error, kind, text) in [
            (
                io::ErrorKind::NotFound,
                ErrorKind::Unreachable,
                "no such socket: unix:///run/d.sock: is the engine",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                ErrorKind::Unreachable,
                "nobody listens at unix:///run/d.sock",
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
    fn a_refusal_names_who_may_use_the_socket() {
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

    #[test]
    fn an_excerpt_is_one_line_of_bounded_length() {
        assert_eq!(Excerpt(" no\nluck\u{1b}. \n").to_string(), r"no\nluck\u{1b}");
        assert_eq!(Excerpt(&"ü".repeat(400)).to_string(), format!("{}…", "ü".repeat(300)));
    }
}
