//! The list of engines: what was named or found, and whether it can be watched.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use whalewatcher_testkit::docker::Server;

use crate::discovery::Host;
use crate::program::{Ended, run};

fn array(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test]
async fn a_named_engine_has_a_line_with_its_identity_and_health() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let ended = run(&["engines", "--host", &engine.endpoint()]).await;
    let endpoint = engine.endpoint();
    let width = endpoint.len();
    let expected = format!(
        "\
TYPE        VERSION  ID            {:width$}  SOURCE  CONTAINERS  STATUS
docker.com  28.5.2   {}  {endpoint}  events  1           live
",
        "HOST",
        &engine.id()[..12]
    );
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), &*expected, ""));
    let listed = array(&run(&["-H", &endpoint, "engines", "-o", "json"]).await);
    let expected = json!([{
        "type": "docker.com", "id": engine.id(), "version": "28.5.2", "api": endpoint, "prefix": "", "phase": "live",
        "source": "events", "containers": 1, "unresolved": 0, "problems": [],
    }]);
    let mut listed = Value::from(listed);
    listed[0].as_object_mut().unwrap().remove("pid");
    assert_eq!(listed, expected);
    // What is shown of the ID is accepted.
    let id = &engine.id()[..12];
    let selected = run(&["ps", "-o", "name", "-H", &endpoint, "--engine", id]).await;
    assert_eq!((selected.code, selected.stdout.as_str()), (Some(0), "web\n"), "{selected:?}");
}

#[tokio::test]
async fn an_unreachable_engine_has_a_line_with_the_reason() {
    let engine = Server::builder().start().unwrap();
    let hosts = ["engines", "-H", &engine.endpoint(), "-H", "podman:///no/such.sock"];
    let ended = run(&hosts).await;
    let failed = ended.stdout.lines().find(|line| line.starts_with("podman.io")).unwrap();
    assert!(failed.contains("  -  ") && failed.contains("  failed: "), "{ended:?}");
    assert!(failed.contains("/no/such.sock") && failed.contains("podman.socket"), "{ended:?}");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    let ended = run(&[&hosts[..], &["-o", "json"]].concat()).await;
    let listed = array(&ended);
    let podman = listed.iter().find(|one| one["type"] == "podman.io").unwrap();
    assert_eq!((ended.code, &podman["phase"], podman.get("containers")), (Some(1), &json!("failed"), None));
    assert_eq!((&podman["api"], &podman["id"]), (&json!("podman:///no/such.sock"), &json!("")));
    assert!(podman["problems"][0].as_str().unwrap().contains("/no/such.sock"), "{podman}");
}

#[tokio::test]
async fn a_container_that_cannot_be_inspected_is_a_problem_of_a_live_engine() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    engine.on_request(|request| match request.kind() {
        whalewatcher_testkit::docker::Kind::Inspect => {
            whalewatcher_testkit::docker::Verdict::error(500, "no luck")
        }
        _ => whalewatcher_testkit::docker::Verdict::Pass,
    });
    let ended = run(&["engines", "-o", "json", "--host", &engine.endpoint()]).await;
    let listed = array(&ended);
    assert_eq!(
        (ended.code, &listed[0]["phase"], &listed[0]["unresolved"]),
        (Some(1), &json!("live"), &json!(1))
    );
    let problem = listed[0]["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("container ") && problem.contains("cannot be inspected"), "{problem}");
}

#[tokio::test]
async fn what_was_found_and_is_not_watched_has_a_reason_and_a_remedy() {
    let host = Host::new();
    let none = host.run(&["engines"]).await;
    assert!(none.error().contains("no container engine was found") && none.stdout.is_empty(), "{none:?}");
    let _podman = UnixListener::bind(host.path("run/podman/podman.sock")).unwrap();
    let idle = host.run(&["engines"]).await;
    assert_eq!((idle.code, idle.stderr.as_str()), (Some(0), ""), "an engine that does not run is no failure");
    assert!(
        idle.stdout.contains("podman.sock  -") && idle.stdout.contains("unwatched: no engine runs there"),
        "{idle:?}"
    );
    let _docker = host.docker("run/docker.sock", "web");
    let ended = host.run(&["engines", "-o", "json"]).await;
    let listed = array(&ended);
    assert_eq!((listed.len(), ended.stderr.as_str()), (2, ""));
    assert_eq!((&listed[0]["type"], &listed[0]["containers"]), (&json!("docker.com"), &json!(1)));
    assert_eq!((&listed[1]["phase"], listed[1].get("type")), (&json!("unwatched"), None));
    assert!(listed[1]["place"].as_str().unwrap().ends_with("podman.sock"), "{listed:?}");
    assert!(listed[1]["remedy"].as_str().unwrap().contains("--activate"), "{listed:?}");
}
