//! What went wrong on the way to containerd, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::io;

use tonic::{Code, Status};
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::endpoint::Endpoint;
use crate::wire::Heard;

/// Of what an engine says at most so many characters are passed on.
const EXCERPT: usize = 300;

/// No connection could be made.
pub(crate) fn of_connecting(endpoint: &Endpoint, error: io::Error) -> EngineError {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
    let (kind, message) = match error.kind() {
        NotFound | NotADirectory => {
            (ErrorKind::Unreachable, format!("no such socket: {endpoint}: is containerd running?"))
        }
        ConnectionRefused => {
            (ErrorKind::Unreachable, format!("nobody listens at {endpoint}: is containerd running?"))
        }
        PermissionDenied => (
            ErrorKind::PermissionDenied,
            format!("no permission to use {endpoint}: run as root, or as one who may write to that socket"),
        ),
        _ => (ErrorKind::Unreachable, format!("cannot connect to {endpoint}: {}", Chain(&error))),
    };
    EngineError::new(kind, message).with_source(error)
}

/// The first question was answered as containerd would not.
pub(crate) fn of_greeting(
    endpoint: &Endpoint,
    what: &str,
    status: Status,
    heard: Option<&Heard>,
) -> EngineError {
    let (kind, message) = match heard {
        Some(Heard::Foreign(words)) => {
            let words = words.lines().next().unwrap_or_default();
            (
                ErrorKind::NotThisEngine,
                format!("what answers at {endpoint} does not speak gRPC but says '{}'", Excerpt(words)),
            )
        }
        // containerd may be about to end.
        Some(Heard::Nothing) => (
            ErrorKind::Disconnected,
            format!("whoever listens at {endpoint} hung up without a word: is it containerd?"),
        ),
        _ if status.code() == Code::Unimplemented => (
            ErrorKind::NotThisEngine,
            format!("what answers at {endpoint} is not containerd: it does not know {what}"),
        ),
        _ => return of_status(what, status),
    };
    EngineError::new(kind, message).with_source(status)
}

/// containerd is there, but lacks something that this client cannot do without.
pub(crate) fn too_old(what: &str, version: &str, status: Status) -> EngineError {
    let message =
        format!("containerd {} does not know {what}: 1.6 or later is needed", Excerpt(version.trim()));
    EngineError::new(ErrorKind::TooOld, message).with_source(status)
}

/// A question was not answered, or with a complaint.
pub(crate) fn of_status(what: &str, status: Status) -> EngineError {
    if status.source().is_some() {
        let message = format!("{what}: lost the connection to containerd: {}", Chain(&status));
        return EngineError::new(ErrorKind::Disconnected, message).with_source(status);
    }
    let said = Excerpt(status.message());
    let (kind, message) = match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            (ErrorKind::PermissionDenied, format!("containerd refuses {what}: {said}"))
        }
        // What tonic says of answers that it cannot make sense of.
        Code::OutOfRange | Code::Internal if is_own(status.message()) => {
            (ErrorKind::Garbled, format!("{what}: the answer cannot be understood: {said}"))
        }
        code if status.message().trim().is_empty() => {
            (ErrorKind::Failed, format!("containerd fails {what}: {code}"))
        }
        _ => (ErrorKind::Failed, format!("containerd fails {what}: {said}")),
    };
    EngineError::new(kind, message).with_source(status)
}

/// A message arrived whole, but what is in it is no such thing.
pub(crate) fn garbled(what: &str, why: impl fmt::Display) -> EngineError {
    EngineError::new(
        ErrorKind::Garbled,
        format!("{what} cannot be understood: {}", Excerpt(&why.to_string())),
    )
}

fn is_own(message: &str) -> bool {
    [
        "Error, decoded message length too large",
        "failed to decode Protobuf message",
        "protocol error",
        "Unexpected EOF decoding stream",
    ]
    .iter()
    .any(|own| message.starts_with(own))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| <&'a (dyn Error + 'static)>::clone(error).source())
}

/// An error with all its causes, in one line. What a status says of its cause is left to the cause.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for cause in causes(self.0) {
            if cause.is::<Status>() && cause.source().is_some() {
                continue;
            }
            let more = cause.to_string();
            if text.ends_with(&more) {
                continue;
            }
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&more);
        }
        Excerpt(&text).fmt(f)
    }
}

/// Somebody else's words, made fit for one line.
struct Excerpt<'a>(&'a str);

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
        Endpoint::parse("/run/c.sock").unwrap()
    }

    #[test]
    fn the_operating_systems_errors_are_told_with_a_remedy() {
        for (error, kind, text) in [
            (
                io::ErrorKind::NotFound,
                ErrorKind::Unreachable,
                "no such socket: unix:///run/c.sock: is containerd",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                ErrorKind::Unreachable,
                "nobody listens at unix:///run/c.sock",
            ),
            (
                io::ErrorKind::PermissionDenied,
                ErrorKind::PermissionDenied,
                "no permission to use unix:///run/c",
            ),
            (io::ErrorKind::WouldBlock, ErrorKind::Unreachable, "cannot connect to unix:///run/c.sock"),
        ] {
            let told = of_connecting(&endpoint(), error.into());
            assert_eq!(told.kind(), kind);
            assert!(told.to_string().starts_with(text), "{told}");
        }
    }

    #[test]
    fn what_containerd_says_is_passed_on_in_one_line() {
        for (status, kind, text) in [
            (
                Status::unknown("out of\nluck."),
                ErrorKind::Failed,
                r"containerd fails Tasks.List: out of\nluck",
            ),
            (
                Status::unavailable(""),
                ErrorKind::Failed,
                "containerd fails Tasks.List: The service is currently",
            ),
            (
                Status::permission_denied("no"),
                ErrorKind::PermissionDenied,
                "containerd refuses Tasks.List: no",
            ),
            (Status::unauthenticated("no"), ErrorKind::PermissionDenied, "containerd refuses Tasks.List: no"),
            (Status::internal("a bug"), ErrorKind::Failed, "containerd fails Tasks.List: a bug"),
            (Status::out_of_range("x"), ErrorKind::Failed, "containerd fails Tasks.List: x"),
            (
                Status::internal("failed to decode Protobuf message: invalid varint"),
                ErrorKind::Garbled,
                "Tasks.List: the answer cannot be understood: failed to decode",
            ),
            (
                Status::out_of_range("Error, decoded message length too large: found 5 bytes"),
                ErrorKind::Garbled,
                "Tasks.List: the answer cannot be understood: Error, decoded message length too large",
            ),
        ] {
            let told = of_status("Tasks.List", status);
            assert_eq!(told.kind(), kind, "{told}");
            assert!(told.to_string().starts_with(text), "{told}");
        }
    }

    #[test]
    fn a_broken_transport_shows_what_broke() {
        let broken = io::Error::new(io::ErrorKind::BrokenPipe, "the pipe\nis broken");
        let told = of_status("Tasks.List", Status::from_error(Box::new(broken)));
        assert_eq!(told.kind(), ErrorKind::Disconnected);
        assert_eq!(told.to_string(), r"Tasks.List: lost the connection to containerd: the pipe\nis broken");
    }

    #[test]
    fn another_grpc_server_and_an_old_containerd_are_called_so() {
        let greeted = |status, heard: Option<Heard>| {
            of_greeting(&endpoint(), "Version.Version", status, heard.as_ref())
        };
        let told = greeted(Status::unimplemented("unknown service"), Some(Heard::Http2));
        assert_eq!(told.kind(), ErrorKind::NotThisEngine);
        assert!(
            told.to_string().starts_with("what answers at unix:///run/c.sock is not containerd"),
            "{told}"
        );
        let told = greeted(Status::permission_denied("no"), Some(Heard::Http2));
        assert_eq!(told.kind(), ErrorKind::PermissionDenied);
        let told =
            greeted(Status::unknown("closed"), Some(Heard::Foreign("HTTP/1.1 400 \u{1b}\r\nX: y".into())));
        assert_eq!(told.kind(), ErrorKind::NotThisEngine);
        assert!(told.to_string().ends_with(r"does not speak gRPC but says 'HTTP/1.1 400 \u{1b}'"), "{told}");
        let told = greeted(Status::unknown("closed"), Some(Heard::Nothing));
        assert_eq!(told.kind(), ErrorKind::Disconnected);
        let told = too_old("Introspection.Server", "v1.2.3 ", Status::unimplemented("x"));
        assert_eq!(told.kind(), ErrorKind::TooOld);
        assert!(
            told.to_string().starts_with("containerd v1.2.3 does not know Introspection.Server"),
            "{told}"
        );
    }

    #[test]
    fn an_excerpt_is_one_line_of_bounded_length() {
        assert_eq!(Excerpt(" no\nluck\u{1b}. \n").to_string(), r"no\nluck\u{1b}");
        assert_eq!(Excerpt(&"ü".repeat(400)).to_string(), format!("{}…", "ü".repeat(300)));
    }
}
