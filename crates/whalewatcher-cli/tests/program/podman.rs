//! podman by its own API.

use std::time::Duration;

use serde_json::json;
use whalewatcher_testkit::docker::{ContainerSpec, Flavour, Server};

use crate::program::{Program, run};

fn podman() -> Server {
    let server = Server::builder().flavour(Flavour::Podman).version("4.3.1").api_versions("1.41", "1.24");
    let server = server.host_name("reef").start().unwrap();
    server.run(ContainerSpec::new("web").pod("pool", false)).unwrap();
    server.clock().advance(Duration::from_secs(60));
    server
}

fn host(server: &Server) -> String {
    server.endpoint().replace("unix://", "podman://")
}

#[tokio::test]
async fn json_contains_podman_with_pods() {
    let server = podman();
    let mut program = Program::start(&["watch", "--format", "json", "--host", &host(&server)]);
    let started = program.json().await;
    let engine = &started["engine"];
    let expected = json!({"type": "podman.io", "version": "4.3.1", "api": host(&server)});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(engine[field], *value);
    }
    assert!(engine["id"].as_str().unwrap().starts_with("reef:/"), "{engine}");
    let container = &started["container"];
    assert_eq!(container["labels"]["io.github.thediveo/podman/podname"], "pool");
    assert_eq!(container["pid"], server.truth()[0].pid);
    assert_eq!(server.stats().requests.inspect, 0);
    assert_eq!(program.json().await["event"], "synced");
    server.exit("web", 3).unwrap();
    let exited = program.json().await;
    assert_eq!((&exited["event"], &exited["exit_code"]), (&json!("exited"), &json!(3)));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let docker = Server::builder().start().unwrap();
    let old = Server::builder().flavour(Flavour::OldPodman).version("3.4.4").start().unwrap();
    let missing = "podman:///nowhere/podman.sock".to_owned();
    for (host, advice) in [
        (
            host(&docker),
            "is not podman: name it as an engine with Docker's API (Docker is at docker:///PATH)",
        ),
        (host(&old), "podman 3.4.4 is too old: podman 4 or newer is needed (upgrade the engine)"),
        (missing, "'systemctl enable --now podman.socket' lets root's podman listen"),
    ] {
        let ended = run(&["ps", "--host", &host]).await;
        assert_eq!(ended.code, Some(1), "{host}");
        assert!(ended.stderr.contains(advice), "{host}: {}", ended.stderr);
    }
}
