//! The handshake, and its errors.

use std::time::Duration;

use tokio::net::UnixListener;
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_api::cri::v1::{VersionRequest, VersionResponse};
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{Backoff, EngineError, ErrorKind, Settings, watch_with};
use whalewatcher_cri::Client;
use whalewatcher_testkit::containerd;
use whalewatcher_testkit::cri::{Call, Code, Flavour, Method, Server, Verdict};

use crate::watched::{in_time, server};

async fn refusal(endpoint: String) -> EngineError {
    in_time(Client::new(endpoint).unwrap().connect(&Settings::default())).await.unwrap_err()
}

/// Starts a server with this verdict for a method.
fn treating(method: Method, verdict: Verdict) -> Server {
    let treat = move |call: &Call| if call.method() == method { verdict.clone() } else { Verdict::Pass };
    Server::builder().on_call(treat).start().unwrap()
}

#[tokio::test]
async fn a_runtime_is_known_by_its_name_and_version_and_by_its_hosts_name() {
    for (flavour, version) in
        [(Flavour::Containerd2_1, "containerd v2.1.9 [API v1]"), (Flavour::Crio, "cri-o 1.33.4 [API v1]")]
    {
        let server = server(flavour);
        let connection =
            in_time(Client::new(server.endpoint()).unwrap().connect(&Settings::default())).await.unwrap();
        let identity = connection.identity();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!((identity.engine_type.as_str(), identity.id.as_str()), ("k8s.io/cri-api", host.trim()));
        assert_eq!(identity.version, version);
        assert_eq!(identity.endpoint, server.endpoint());
        assert_eq!(identity.pid, None, "this is a test, and called neither containerd nor crio");
        assert!(format!("{connection:?}").contains(version));
    }
}

#[tokio::test]
async fn the_engines_type_is_as_the_application_calls_it() {
    let server = server(Flavour::Crio);
    let client = Client::builder().endpoint(server.endpoint()).engine_type("cri-o.io").build().unwrap();
    let connection = in_time(client.connect(&Settings::default())).await.unwrap();
    assert_eq!(connection.identity().engine_type, "cri-o.io");
}

#[tokio::test]
async fn a_missing_server_is_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let error = refusal(socket.display().to_string()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let reported = format!("no such socket: unix://{}; is a CRI runtime running?", socket.display());
    assert_eq!(error.to_string(), reported);
    drop(UnixListener::bind(&socket).unwrap());
    let error = refusal(socket.display().to_string()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().starts_with("nothing listens at unix://"), "{error}");
}

#[tokio::test]
async fn a_containerd_without_cri_is_reported_with_a_hint() {
    let containerd = containerd::Server::builder().start().unwrap();
    let error = refusal(containerd.endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(
        error.to_string().contains("is not a CRI runtime: it does not implement RuntimeService.Version"),
        "{error}"
    );
    assert!(error.to_string().contains("its CRI plugin switched off"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_reason() {
    for (code, kind) in [
        (Code::PermissionDenied, ErrorKind::PermissionDenied),
        (Code::Unauthenticated, ErrorKind::PermissionDenied),
        (Code::Unknown, ErrorKind::Failed),
        (Code::Unavailable, ErrorKind::Failed),
    ] {
        let error = refusal(treating(Method::Version, Verdict::error(code, "out of\nluck")).endpoint()).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().ends_with(r"out of\nluck"), "{error}");
        assert!(error.to_string().starts_with("the CRI runtime "), "{error}");
    }
}

#[tokio::test]
async fn a_malformed_answer_is_reported_as_such() {
    let error =
        refusal(treating(Method::Version, Verdict::Garbage(vec![0x0a, 0xff].into())).endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    let huge = VersionResponse { runtime_name: "x".repeat(5 << 20), ..VersionResponse::default() };
    let huge = Verdict::Garbage(prost::Message::encode_to_vec(&huge).into());
    let error = refusal(treating(Method::Version, huge).endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    assert!(error.to_string().ends_with("more than the limit of 4194304"), "{error}");
}

#[tokio::test]
async fn a_lost_connection_has_its_cause() {
    let error = refusal(treating(Method::Version, Verdict::Close).endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
    assert!(error.to_string().contains("lost the connection to the CRI runtime: "), "{error}");
}

#[tokio::test]
async fn a_runtime_that_hangs_is_given_up_after_the_time_limit() {
    for method in [Method::Version, Method::ListContainers, Method::ListPodSandbox] {
        let server = treating(method, Verdict::Hang);
        let limit = Duration::from_millis(400);
        let settings = Settings::default()
            .with_limits(limit, limit, limit)
            .with_backoff(Backoff::default().with_attempts(1));
        let watching = watch_with(Client::new(server.endpoint()).unwrap(), settings);
        let error = in_time(watching.ready()).await.unwrap_err().to_string();
        assert!(error.contains("no answer within 0.4 s"), "{method:?}: {error}");
        drop(watching);
        in_time(server.until(|stats| stats.open == 0)).await;
    }
}

#[tokio::test]
async fn hooks_come_before_the_watch_and_before_each_attempt() {
    let server = server(Flavour::Containerd2_1);
    let fails =
        |message: &'static str| move || async move { Err(EngineError::new(ErrorKind::Failed, message)) };
    let settings = Settings::default().with_backoff(Backoff::default().with_attempts(1));
    let builder = || Client::builder().endpoint(server.endpoint());
    for (client, message) in [
        (builder().before_watch(fails("not today")), "not today"),
        (builder().before_attempt(fails("not now")), "not now"),
    ] {
        let error = in_time(watch_with(client.build().unwrap(), settings.clone()).ready()).await.unwrap_err();
        assert!(error.to_string().ends_with(message), "{error}");
    }
    assert_eq!(server.stats().accepted, 0);
}

#[tokio::test]
async fn the_applications_own_channel_leads_to_the_same_runtime() {
    let server = server(Flavour::Crio);
    let mut own = RuntimeServiceClient::new(Client::new(server.endpoint()).unwrap().channel().unwrap());
    let answer = in_time(own.version(VersionRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer.runtime_name, "cri-o");
}
