//! The handshake, and its errors.

use std::time::Duration;

use prost::Message;
use tokio::net::UnixListener;
use whalewatcher_api::containerd::services::version::v1::VersionResponse;
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_containerd::Client;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{Backoff, EngineError, ErrorKind, Settings, watch_with};
use whalewatcher_testkit::containerd::{Code, Flavour, Method, Server, Verdict};

use crate::watched::in_time;

async fn refusal(endpoint: String) -> EngineError {
    in_time(Client::new(endpoint).unwrap().connect(&Settings::default())).await.unwrap_err()
}

/// Starts a server with this verdict for a method.
fn treating(method: Method, verdict: Verdict) -> Server {
    let treat = move |call: &whalewatcher_testkit::containerd::Call| {
        if call.method() == method { verdict.clone() } else { Verdict::Pass }
    };
    Server::builder().on_call(treat).start().unwrap()
}

#[tokio::test]
async fn an_engine_is_known_by_its_uuid_version_and_pid() {
    let server = Server::builder().uuid("c0ffee").version("v2.1.9", "abc").pid(4711).start().unwrap();
    let connection =
        in_time(Client::new(server.endpoint()).unwrap().connect(&Settings::default())).await.unwrap();
    let identity = connection.identity();
    assert_eq!((identity.engine_type.as_str(), identity.id.as_str()), ("containerd.io", "c0ffee"));
    assert_eq!((identity.version.as_str(), identity.pid), ("v2.1.9 abc", Some(4711)));
    assert_eq!(identity.endpoint, server.endpoint());
    let shown = format!("{connection:?}");
    assert!(shown.contains("c0ffee") && shown.contains("k8s.io"), "the engine and what is ignored: {shown}");
}

#[tokio::test]
async fn an_engine_without_pid_or_own_socket_has_none() {
    let server = Server::builder().flavour(Flavour::V1_6).start().unwrap();
    let connection =
        in_time(Client::new(server.endpoint()).unwrap().connect(&Settings::default())).await.unwrap();
    assert_eq!(connection.identity().pid, None, "this is a test, and not called containerd");
    let unpublished = Server::builder().version("v1.7", "").pid(1 << 40).start().unwrap();
    let connection =
        in_time(Client::new(unpublished.endpoint()).unwrap().connect(&Settings::default())).await.unwrap();
    assert_eq!(connection.identity().version, "v1.7");
    assert_eq!(connection.identity().pid, None, "no process has such a number");
}

#[tokio::test]
async fn the_engines_type_is_as_the_application_calls_it() {
    let server = Server::builder().start().unwrap();
    let client = Client::builder().endpoint(server.endpoint()).engine_type("k3s.io").build().unwrap();
    let connection = in_time(client.connect(&Settings::default())).await.unwrap();
    assert_eq!(connection.identity().engine_type, "k3s.io");
}

#[tokio::test]
async fn a_missing_server_is_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let error = refusal(socket.display().to_string()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(
        error.to_string(),
        format!("no such socket: unix://{}; is containerd running?", socket.display())
    );
    drop(UnixListener::bind(&socket).unwrap());
    let error = refusal(socket.display().to_string()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().starts_with("nothing listens at unix://"), "{error}");
}

#[tokio::test]
async fn another_grpc_server_or_an_old_containerd_is_refused() {
    let server = treating(Method::Version, Verdict::error(Code::Unimplemented, "unknown service"));
    let error = refusal(server.endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(error.to_string().contains("is not containerd"), "{error}");

    let server = treating(Method::Server, Verdict::error(Code::Unimplemented, "unknown method"));
    server.set_version("v1.2.0", "abc");
    let error = refusal(server.endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::TooOld);
    assert!(error.to_string().starts_with("containerd v1.2.0 does not know Introspection.Server"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_reason() {
    for (code, kind) in [
        (Code::PermissionDenied, ErrorKind::PermissionDenied),
        (Code::Unauthenticated, ErrorKind::PermissionDenied),
        (Code::Internal, ErrorKind::Failed),
        (Code::Unavailable, ErrorKind::Failed),
    ] {
        for method in [Method::Version, Method::Server] {
            let error = refusal(treating(method, Verdict::error(code, "out of\nluck")).endpoint()).await;
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().ends_with(r"out of\nluck"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_malformed_answer_is_reported_as_such() {
    for method in [Method::Version, Method::Server] {
        let error = refusal(treating(method, Verdict::Garbage(vec![0x0a, 0xff].into())).endpoint()).await;
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    }
    let huge = VersionResponse { version: "x".repeat(5 << 20), revision: String::new() };
    let error =
        refusal(treating(Method::Version, Verdict::Garbage(huge.encode_to_vec().into())).endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    assert!(error.to_string().ends_with("more than the limit of 4194304"), "{error}");
}

#[tokio::test]
async fn a_lost_connection_has_its_cause() {
    for method in [Method::Version, Method::Server] {
        let error = refusal(treating(method, Verdict::Close).endpoint()).await;
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert!(error.to_string().contains("lost the connection to containerd: "), "{error}");
        assert!(!error.to_string().ends_with("transport error"), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_hangs_is_given_up_after_the_time_limit() {
    for method in [Method::Version, Method::Server, Method::Subscribe, Method::NamespacesList] {
        let server = treating(method, Verdict::Hang);
        let limit = Duration::from_millis(100);
        let settings = Settings::default()
            .with_limits(limit, limit, limit)
            .with_backoff(Backoff::default().with_attempts(1));
        let watching = watch_with(Client::new(server.endpoint()).unwrap(), settings);
        let error = in_time(watching.ready()).await.unwrap_err().to_string();
        assert!(error.contains("no answer within 0.1 s"), "{method:?}: {error}");
        drop(watching);
        in_time(server.until(|stats| stats.open == 0)).await;
    }
}

#[tokio::test]
async fn hooks_come_before_the_watch_and_before_each_attempt() {
    let server = Server::builder().start().unwrap();
    let fails =
        |message: &'static str| move || async move { Err(EngineError::new(ErrorKind::Failed, message)) };
    let settings = Settings::default().with_backoff(Backoff::default().with_attempts(1));
    let client =
        Client::builder().endpoint(server.endpoint()).before_watch(fails("not today")).build().unwrap();
    let error = in_time(watch_with(client, settings.clone()).ready()).await.unwrap_err();
    assert!(error.to_string().ends_with("not today"), "{error}");
    let client =
        Client::builder().endpoint(server.endpoint()).before_attempt(fails("not now")).build().unwrap();
    let error = in_time(watch_with(client, settings).ready()).await.unwrap_err();
    assert!(error.to_string().ends_with("not now"), "{error}");
    assert_eq!(server.stats().accepted, 0);
}

#[tokio::test]
async fn the_applications_own_channel_leads_to_the_same_engine() {
    let server = Server::builder().version("v2.1.9", "abc").start().unwrap();
    let mut own = VersionClient::new(Client::new(server.endpoint()).unwrap().channel().unwrap());
    assert_eq!(server.stats().accepted, 0, "it connects when it is used");
    let answer = in_time(own.version(())).await.unwrap().into_inner();
    assert_eq!(answer.version, "v2.1.9");
}

#[cfg(feature = "containerd-client")]
#[tokio::test]
async fn the_applications_own_client_talks_to_the_same_engine() {
    use whalewatcher_containerd::containerd_client::{self, services::v1::ListImagesRequest};

    let server = Server::builder().version("v2.1.9", "abc").start().unwrap();
    let own: containerd_client::Client = Client::new(server.endpoint()).unwrap().client().unwrap();
    let answer = in_time(own.version().version(())).await.unwrap().into_inner();
    assert_eq!(answer.version, "v2.1.9");
    let missing = in_time(own.images().list(ListImagesRequest::default())).await.unwrap_err();
    assert_eq!(missing.code(), Code::Unimplemented, "the test kit has no images");
}
