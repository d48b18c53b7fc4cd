//! Errors of calls, made of gRPC statuses, with a remedy where there is one.

use std::error::Error;

use tonic::{Code, Status};
use whalewatcher_core::{EngineError, ErrorKind};

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::excerpt::{Chain, Excerpt, causes};
use crate::grpc::body::TooLarge;
use crate::grpc::greeting::Greeting;

impl Engine {
    /// Describes why the first call on a connection, `what`, failed. `greeting` is
    /// [what the server sent first](crate::grpc::Transport::greeting).
    #[must_use]
    pub fn handshake_error(
        &self,
        endpoint: &Endpoint,
        what: &str,
        status: Status,
        greeting: Option<&Greeting>,
    ) -> EngineError {
        let kind = self.kind;
        let (kind, message) = match greeting {
            Some(Greeting::Foreign(words)) => {
                let words = words.lines().next().unwrap_or_default();
                (
                    ErrorKind::NotThisEngine,
                    format!("the server at {endpoint} does not speak gRPC; it sent '{}'", Excerpt(words)),
                )
            }
            // The engine may be about to end.
            Some(Greeting::Closed) => (
                ErrorKind::Disconnected,
                format!("{endpoint} closed the connection immediately: is this {kind}?"),
            ),
            _ if status.code() == Code::Unimplemented => {
                let hint = if self.hint.is_empty() { String::new() } else { format!("; {}", self.hint) };
                (
                    ErrorKind::NotThisEngine,
                    format!("the server at {endpoint} is not {kind}: it does not implement {what}{hint}"),
                )
            }
            _ => return self.status_error(what, status),
        };
        EngineError::new(kind, message).with_source(status)
    }

    /// Describes why a call, `what`, failed.
    #[must_use]
    pub fn status_error(&self, what: &str, status: Status) -> EngineError {
        let name = self.name;
        let excess = causes(&status).find_map(|cause| cause.downcast_ref::<TooLarge>()).copied();
        if let Some(excess) = excess {
            let remedy = if excess.is_configurable() {
                "; the client can be configured to use more memory"
            } else {
                ""
            };
            let message = format!("{what}: {excess}{remedy}");
            return EngineError::new(ErrorKind::Malformed, message).with_source(status);
        }
        if status.source().is_some() {
            let message = format!("{what}: lost the connection to {name}: {}", Chain(&status));
            return EngineError::new(ErrorKind::Disconnected, message).with_source(status);
        }
        let said = Excerpt(status.message());
        let (kind, message) = match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => {
                (ErrorKind::PermissionDenied, format!("{name} refuses {what}: {said}"))
            }
            Code::Internal if is_own(status.message()) => {
                (ErrorKind::Malformed, format!("{what}: the answer cannot be understood: {said}"))
            }
            code if status.message().trim().is_empty() => {
                (ErrorKind::Failed, format!("{name} fails {what}: {code}"))
            }
            _ => (ErrorKind::Failed, format!("{name} fails {what}: {said}")),
        };
        EngineError::new(kind, message).with_source(status)
    }
}

/// Whether this is tonic's own message about an answer that it cannot decode. tonic (0.14) gives it no code
/// of its own, so only the text distinguishes it from an error of the engine.
fn is_own(message: &str) -> bool {
    ["failed to decode Protobuf message", "protocol error", "Unexpected EOF decoding stream"]
        .iter()
        .any(|own| message.starts_with(own))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::io;
    use std::task::{Context, Poll};

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Bytes;
    use tonic::body::Body;
    use tower_service::Service;
    use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;

    use super::*;
    use crate::engine::tests::{CONTAINERD, RUNTIME};
    use crate::grpc::transport::origin;

    fn endpoint() -> Endpoint {
        Endpoint::parse(&CONTAINERD, "/run/c.sock").unwrap()
    }

    #[test]
    fn the_engines_message_is_passed_on_in_one_line() {
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
        ] {
            let reported = CONTAINERD.status_error("Tasks.List", status);
            assert_eq!(reported.kind(), kind, "{reported}");
            assert!(reported.to_string().starts_with(text), "{reported}");
        }
    }

    /// Answers each request with these bytes.
    #[derive(Clone)]
    struct Answers(&'static [u8]);

    impl Service<Request<Body>> for Answers {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            ready(Ok(Response::new(Full::new(Bytes::from_static(self.0)))))
        }
    }

    /// The texts are those of tonic and prost: this test fails when they change.
    #[tokio::test]
    async fn answers_that_tonic_cannot_decode_are_malformed() {
        for (answer, text) in [
            (&[0, 0, 0, 0, 2, 0x0a, 0xff][..], "failed to decode Protobuf message"),
            (&[0, 0, 0, 0, 2, 0x0f, 0x00], "failed to decode Protobuf message"),
            (&[1, 0, 0, 0, 0], "protocol error: received message with compressed-flag"),
            (&[7, 0, 0, 0, 0], "protocol error: received message with invalid compression flag"),
            (&[0, 0, 0, 0, 9, 1], "Unexpected EOF decoding stream"),
        ] {
            let mut client = VersionClient::with_origin(Answers(answer), origin());
            let reported = CONTAINERD.status_error("A.B", client.version(()).await.unwrap_err());
            assert_eq!(reported.kind(), ErrorKind::Malformed, "{reported}");
            let expected = format!("A.B: the answer cannot be understood: {text}");
            assert!(reported.to_string().starts_with(&expected), "{reported}");
        }
    }

    #[test]
    fn a_broken_connection_shows_its_cause() {
        let broken = io::Error::new(io::ErrorKind::BrokenPipe, "the pipe\nis broken");
        let reported = CONTAINERD.status_error("Tasks.List", Status::from_error(Box::new(broken)));
        assert_eq!(reported.kind(), ErrorKind::Disconnected);
        assert_eq!(
            reported.to_string(),
            r"Tasks.List: lost the connection to containerd: the pipe\nis broken"
        );
    }

    #[test]
    fn another_server_is_reported_as_such() {
        let greeted = |status, greeting: Option<Greeting>| {
            CONTAINERD.handshake_error(&endpoint(), "Version.Version", status, greeting.as_ref())
        };
        let reported = greeted(Status::unimplemented("unknown service"), Some(Greeting::Http2));
        assert_eq!(reported.kind(), ErrorKind::NotThisEngine);
        assert!(
            reported.to_string().starts_with("the server at unix:///run/c.sock is not containerd"),
            "{reported}"
        );
        let reported = greeted(Status::permission_denied("no"), Some(Greeting::Http2));
        assert_eq!(reported.kind(), ErrorKind::PermissionDenied);
        let reported =
            greeted(Status::unknown("closed"), Some(Greeting::Foreign("HTTP/1.1 400 \u{1b}\r\nX: y".into())));
        assert_eq!(reported.kind(), ErrorKind::NotThisEngine);
        assert!(
            reported.to_string().ends_with(r"does not speak gRPC; it sent 'HTTP/1.1 400 \u{1b}'"),
            "{reported}"
        );
        let reported = greeted(Status::unknown("closed"), Some(Greeting::Closed));
        assert_eq!(reported.kind(), ErrorKind::Disconnected);
        let reported = greeted(Status::unimplemented("unknown service"), None);
        assert!(reported.to_string().ends_with("it does not implement Version.Version"), "{reported}");
    }

    #[test]
    fn errors_use_the_engines_own_name() {
        let endpoint = endpoint();
        let reported = RUNTIME.status_error("A.B", Status::unknown("no")).to_string();
        assert_eq!(reported, "the runtime fails A.B: no");
        let reported =
            RUNTIME.handshake_error(&endpoint, "A.B", Status::unimplemented("no"), Some(&Greeting::Http2));
        assert_eq!(
            reported.to_string(),
            "the server at unix:///run/c.sock is not a runtime: it does not implement A.B; perhaps it is switched off"
        );
        let reported =
            RUNTIME.handshake_error(&endpoint, "A.B", Status::unknown("no"), Some(&Greeting::Closed));
        assert!(
            reported.to_string().ends_with("closed the connection immediately: is this a runtime?"),
            "{reported}"
        );
    }
}
