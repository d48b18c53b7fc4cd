//! podman's actions and timing in Docker's API.

use http_body_util::BodyExt;
use hyper::Method;
use whalewatcher_testkit::docker::{ContainerSpec, Flavour, Kind, Server};

use crate::client::{Events, get, list, names, now, send};

#[tokio::test]
async fn headers_are_sent_only_with_the_first_event() {
    let server = Server::builder().flavour(Flavour::Podman).start().unwrap();
    let asked = server.arrival(|request| request.kind() == Kind::Events);
    let response = tokio::spawn({
        let server = server.clone();
        async move { send(&server, Method::GET, "/events").await.unwrap() }
    });
    asked.await;
    server.until_listeners(1).await;
    // Long enough for headers to arrive if there were any.
    get(&server, "/_ping").await;
    assert!(!response.is_finished());
    server.create("web").unwrap();
    let mut body = response.await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8(first.to_vec()).unwrap().contains("\"Action\":\"create\""));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_event_is_deregistered() {
    let server = Server::builder().flavour(Flavour::Podman).start().unwrap();
    let client = tokio::spawn({
        let server = server.clone();
        async move { send(&server, Method::GET, "/events").await.map(drop) }
    });
    server.until_listeners(1).await;
    client.abort();
    server.until(|stats| stats.listeners == 0 && stats.open == 0).await;
}

#[tokio::test]
async fn exits_and_restarts_have_podmans_actions_and_order() {
    for (flavour, end) in [(Flavour::Podman, "die"), (Flavour::OldPodman, "died")] {
        let server = Server::builder().flavour(flavour).start().unwrap();
        let since = now(&server);
        server.run(ContainerSpec::new("web").auto_remove(true)).unwrap();
        server.restart("web").unwrap();
        server.exit("web", 0).unwrap();
        let past = Events::request(&server, &format!("since={since}&until={}", now(&server))).await;
        let reported = past.all().await.join(",").replace(" web", "");
        assert_eq!(
            reported,
            format!("create,init,start,restart,{end},cleanup,init,start,{end},cleanup,remove")
        );
    }
}

#[tokio::test]
async fn a_state_that_docker_does_not_know_is_listed() {
    let server = Server::builder().flavour(Flavour::Podman).version("4.3.1").start().unwrap();
    server.run("web").unwrap();
    server.set_status("web", "stopping").unwrap();
    assert_eq!(list(&server, "all=1").await[0]["State"], "stopping");
    assert!(names(&server, "").await.is_empty());
    let version = get(&server, "/version").await.json();
    assert_eq!(version["Components"][0]["Name"], "Podman Engine");
    let answer = send(&server, Method::GET, "/_ping").await.unwrap();
    assert_eq!(answer.headers()["libpod-api-version"], "4.3.1");
}
