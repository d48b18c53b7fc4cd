//! Which API is used, and what is refused.

use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_podman::{Client, ErrorKind, PODMAN_POD_NAME_LABEL, Settings};
use whalewatcher_testkit::docker::{ContainerSpec, Flavour, Kind, Request, Server, Verdict};

use crate::watched::{podman, run_before, watch};

async fn refusal(server: &Server) -> whalewatcher_podman::EngineError {
    let client = Client::new(server.endpoint()).unwrap();
    client.connect(&Settings::default()).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn an_old_podman_is_refused_by_its_own_version() {
    for api in ["1.40", "1.41"] {
        let server = podman().flavour(Flavour::OldPodman).version("3.4.4").api_versions(api, "1.24");
        let error = refusal(&server.start().unwrap()).await;
        assert_eq!(error.kind(), ErrorKind::TooOld);
        assert_eq!(error.to_string(), "podman 3.4.4 is too old: podman 4 or newer is needed");
    }
}

#[tokio::test]
async fn docker_is_not_podman() {
    let error = refusal(&Server::builder().start().unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(error.to_string().ends_with("is not podman: name it as an engine with Docker's API"), "{error}");
}

#[tokio::test]
async fn a_socket_may_have_another_path_than_its_name() {
    let server = podman().start().unwrap();
    let path = server.socket().to_str().unwrap().to_owned();
    let client = Client::builder().endpoint("unix:///proc/1/root/podman.sock").socket(path).build().unwrap();
    let identity = client.connect(&Settings::default()).await.unwrap().identity();
    assert_eq!(identity.endpoint, "unix:///proc/1/root/podman.sock");
}

#[tokio::test]
async fn podman_keeps_its_identity_which_is_that_of_the_docker_adapter_too() {
    let server = podman().start().unwrap();
    let client = Client::new(server.endpoint()).unwrap();
    let first = client.connect(&Settings::default()).await.unwrap().identity();
    assert_eq!(first, client.connect(&Settings::default()).await.unwrap().identity());
    assert_eq!((first.engine_type.as_str(), client.engine_type()), ("podman.io", "podman.io"));
    assert!(first.id.starts_with("reef:/") && first.version == "4.3.1", "{first:?}");
    let moby = whalewatcher_moby::Client::new(server.endpoint()).unwrap();
    assert_eq!(moby.connect(&Settings::default()).await.unwrap().identity(), first);
}

#[tokio::test]
async fn dockers_api_is_used_where_podmans_own_is_refused() {
    for status in [403, 404] {
        let server = podman().start().unwrap();
        run_before(&server, ContainerSpec::new("web").pod("pool", false));
        server.on_request(move |request: &Request| match request.is_libpod() {
            true => Verdict::error(status, "not through this proxy"),
            false => Verdict::Pass,
        });
        let mut watched = watch(&server).live().await;
        let fallback = watched.watching.status().fallback.clone().unwrap().to_string();
        assert!(fallback.starts_with("watching through Docker's API, without pods: "), "{fallback}");
        assert!(fallback.contains("not through this proxy"), "{fallback}");
        assert_eq!(server.stats().requests.inspect, 1);
        assert!(!watched.container("web").labels().contains(PODMAN_POD_NAME_LABEL));
        server.exit("web", 4).unwrap();
        assert_eq!(watched.reported().await, "exited web 4");
    }
}

#[tokio::test]
async fn an_error_of_podmans_own_api_is_no_reason_for_the_other() {
    let server = podman().start().unwrap();
    let id = server.on_request(|request| match request.kind() {
        Kind::List => Verdict::error(500, "the database is locked"),
        _ => Verdict::Pass,
    });
    let mut watched = watch(&server);
    let reported = watched.reported().await;
    assert!(
        reported.starts_with("disconnected ") && reported.contains("the database is locked"),
        "{reported}"
    );
    server.remove_hook(id);
    watched.until_reported("synced").await;
    assert!(watched.watching.status().fallback.is_none());
}

#[tokio::test]
async fn a_quiet_podman_is_live_before_it_sends_headers() {
    let server = podman().start().unwrap();
    let gate = server.hold(Kind::Events);
    let old = run_before(&server, "old");
    let mut watched = watch(&server).live().await;
    server.run("new").unwrap();
    server.exit(&old, 3).unwrap();
    gate.open();
    assert_eq!(watched.reported_all(2).await, ["exited old 3", "started new"]);
}

#[tokio::test]
async fn without_its_event_stream_podman_is_polled() {
    let server = podman().start().unwrap();
    let web = run_before(&server, "web");
    server.on(Kind::Events, Verdict::error(403, "no events"));
    let mut watched = watch(&server).live().await;
    let status = watched.watching.status();
    assert_eq!(status.source.unwrap().to_string(), "polling every 1 s");
    server.restart(&web).unwrap();
    let reported = watched.until_reported("started web").await;
    assert_eq!(reported, ["exited web", "started web"]);
}
