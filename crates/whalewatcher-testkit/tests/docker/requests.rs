//! Documents, with the parameters of their queries and paths.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::net::UnixStream;
use whalewatcher_testkit::docker::{Clock, ContainerSpec, Kind, Server};

use crate::client::{filters, get, inspect, list, names, raw, send};

#[tokio::test]
async fn a_ping_reports_the_version_and_the_time_of_the_engines_clock() {
    let clock = Clock::stepped("2026-01-31T12:00:00.9Z".parse().unwrap());
    let server = Server::builder().clock(clock).start().unwrap();
    for method in [Method::GET, Method::HEAD] {
        let answer = send(&server, method, "/_ping").await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["api-version"], "1.51");
        assert_eq!(answer.headers()["docker-experimental"], "false");
        assert_eq!(answer.headers()["ostype"], "linux");
        assert_eq!(answer.headers()["server"], "Docker/28.5.2 (linux)");
        assert_eq!(answer.headers()["date"], "Sat, 31 Jan 2026 12:00:00 GMT");
    }
    assert_eq!(get(&server, "/_ping").await.body, "OK");
}

#[tokio::test]
async fn info_reports_the_id_and_the_time_in_nanoseconds() {
    let start: Timestamp = "2026-01-31T12:00:00.123456789Z".parse().unwrap();
    let server = Server::builder().clock(Clock::stepped(start)).id("me").start().unwrap();
    let paused = server.run("paused").unwrap();
    server.pause(&paused).unwrap();
    server.create("created").unwrap();
    let info = get(&server, "/info").await.json();
    assert_eq!(info["ID"], "me");
    assert_eq!(info["SystemTime"], "2026-01-31T12:00:00.123456789Z");
    assert_eq!(info["ServerVersion"], "28.5.2");
    assert_eq!(info["Containers"], 2);
    assert_eq!(info["ContainersPaused"], 1);
    assert_eq!(info["ContainersStopped"], 1);
    assert_eq!(get(&server, "/info").await.json()["ID"], server.id());
}

#[tokio::test]
async fn an_engine_can_report_another_id_each_time() {
    let server = Server::builder().new_id_each_time(true).start().unwrap();
    let (one, other) = (get(&server, "/info").await.json(), get(&server, "/info").await.json());
    assert_ne!(one["ID"], other["ID"]);
}

#[tokio::test]
async fn versions_outside_the_range_are_refused_in_dockers_words() {
    let server = Server::builder().start().unwrap();
    assert_eq!(get(&server, "/v1.24/version").await.json()["MinAPIVersion"], "1.24");
    assert_eq!(get(&server, "/v1.51/version").await.json()["ApiVersion"], "1.51");
    let old = get(&server, "/v1.12/containers/json").await;
    assert_eq!(old.status, 400);
    assert_eq!(
        old.message(),
        "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
         newer version"
    );
    let new = get(&server, "/v1.100/containers/json").await;
    assert_eq!(new.status, 400);
    assert_eq!(new.message(), "client version 1.100 is too new. Maximum supported API version is 1.51");
}

#[tokio::test]
async fn a_list_has_running_containers_and_with_all_every_one() {
    let server = Server::builder().start().unwrap();
    for name in ["running", "paused", "exited"] {
        server.run(name).unwrap();
    }
    server.create("created").unwrap();
    server.pause("paused").unwrap();
    server.exit("exited", 3).unwrap();
    assert_eq!(names(&server, "").await, ["paused", "running"]);
    assert_eq!(names(&server, "all=1").await, ["created", "exited", "paused", "running"]);
    assert_eq!(names(&server, "limit=2").await, ["created", "exited"]);
    assert_eq!(names(&server, &filters(r#"{"status":["exited","paused"]}"#)).await, ["exited", "paused"]);
    assert_eq!(names(&server, &filters(r#"{"status":{"created":true}}"#)).await, ["created"]);
    assert_eq!(names(&server, &filters(r#"{"name":["^/paus"]}"#)).await, ["paused"]);
    assert_eq!(names(&server, &filters(r#"{"exited":["3"],"status":["exited"]}"#)).await, ["exited"]);
    assert_eq!(get(&server, &format!("/containers/json?{}", filters(r#"{"no":["x"]}"#))).await.status, 400);
    let wrong = get(&server, &format!("/containers/json?{}", filters(r#"{"status":["alive"]}"#))).await;
    assert_eq!((wrong.status, wrong.message().as_str()), (400, "invalid filter 'status=alive'"));
}

#[tokio::test]
async fn a_list_entry_has_dockers_fields() {
    let clock = Clock::stepped("2026-01-31T12:00:00Z".parse().unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let id = server.run(ContainerSpec::new("web").image("nginx").project("shop", "web")).unwrap();
    server.pause(&id).unwrap();
    clock.advance(std::time::Duration::from_millis(3100));
    let entry = &list(&server, &filters(r#"{"label":["com.docker.compose.project=shop"]}"#)).await[0];
    assert_eq!(entry["Id"], *id);
    assert_eq!(entry["Names"], json!(["/web"]));
    assert_eq!(entry["Image"], "nginx");
    assert_eq!(entry["Command"], "sleep infinity");
    assert_eq!(entry["Created"], 1_769_860_800);
    assert_eq!(entry["State"], "paused");
    assert_eq!(entry["Status"], "Up 3 seconds (Paused)");
    assert_eq!(entry["Labels"]["com.docker.compose.service"], "web");
    assert_eq!(entry["HostConfig"]["NetworkMode"], "none");
    assert_eq!(entry["Ports"], json!([]));
    assert_eq!(entry["Mounts"], json!([]));
    assert!(names(&server, &filters(r#"{"label":["com.docker.compose.project=other"]}"#)).await.is_empty());
}

#[tokio::test]
async fn a_container_is_found_by_id_by_name_and_by_the_beginning_of_its_id() {
    let server = Server::builder().seed(1).start().unwrap();
    let id = server.create("web").unwrap();
    for key in [&id, "web", &id[..12]] {
        assert_eq!(inspect(&server, key).await["Id"], *id, "{key}");
    }
    let missing = get(&server, "/containers/nothing/json").await;
    assert_eq!((missing.status, missing.message().as_str()), (404, "No such container: nothing"));
    for number in 0..40 {
        server.create(format!("other-{number}")).unwrap();
    }
    // Of 41 IDs, two begin with the same digit.
    let mut begins = [0; 16];
    for entry in list(&server, "all=1").await {
        begins[usize::from_str_radix(&entry["Id"].as_str().unwrap()[..1], 16).unwrap()] += 1;
    }
    let shared = begins.iter().position(|count| *count > 1).unwrap();
    assert_eq!(get(&server, &format!("/containers/{shared:x}/json")).await.status, 400);
}

#[tokio::test]
async fn an_inspection_has_the_shape_and_the_size_of_dockers() {
    let server = Server::builder().first_pid(4711).start().unwrap();
    let spec = ContainerSpec::new("web").label("k", "v").privileged(true).command(["sh", "-c", "true"]);
    server.create(spec).unwrap();
    let created = inspect(&server, "web").await;
    assert_eq!(created["State"]["Status"], "created");
    assert_eq!(created["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(created["State"]["Pid"], 0);
    server.start("web").unwrap();
    let answer = get(&server, "/v1.41/containers/web/json").await;
    assert!((3_000..6_000).contains(&answer.body.len()), "{} bytes", answer.body.len());
    let web = answer.json();
    assert_eq!(web["Name"], "/web");
    assert_eq!(web["Path"], "sh");
    assert_eq!(web["Args"], json!(["-c", "true"]));
    assert_eq!(web["State"]["Status"], "running");
    assert_eq!(web["State"]["Running"], true);
    assert_eq!(web["State"]["Pid"], 4711);
    assert_eq!(web["HostConfig"]["Privileged"], true);
    assert_eq!(web["Config"]["Labels"], json!({ "k": "v" }));
    let truth = server.truth();
    let started: Timestamp = web["State"]["StartedAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(truth[0].started_at, started);
    assert!(Timestamp::now().duration_since(started) < SignedDuration::from_mins(1));
}

#[tokio::test]
async fn an_inspection_has_the_fields_that_packers_need() {
    let server = Server::builder().start().unwrap();
    let spec = ContainerSpec::new("web")
        .env("MODE", "fast")
        .port(80, 8080)
        .port(9000, None)
        .mount("/srv/data", "/data", true)
        .mount("/etc/web", "/etc/web", false)
        .network("shop_back", Ipv4Addr::new(172, 18, 0, 2));
    server.create(spec).unwrap();
    let created = inspect(&server, "web").await;
    assert_eq!(created["NetworkSettings"]["Ports"], json!({}));
    assert_eq!(created["NetworkSettings"]["Networks"]["shop_back"]["IPAddress"], "");
    server.start("web").unwrap();
    let web = inspect(&server, "web").await;
    assert_eq!(web["Config"]["Env"][0], "MODE=fast");
    assert_eq!(web["Config"]["ExposedPorts"], json!({"80/tcp": {}, "9000/tcp": {}}));
    assert_eq!(web["HostConfig"]["PortBindings"], json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}));
    assert_eq!(
        web["NetworkSettings"]["Ports"],
        json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "9000/tcp": null})
    );
    assert_eq!(web["HostConfig"]["Binds"], json!(["/srv/data:/data", "/etc/web:/etc/web:ro"]));
    let mounts: Vec<_> = web["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            (mount["Source"].as_str().unwrap(), mount["Destination"].as_str().unwrap(), mount["RW"] == true)
        })
        .collect();
    assert_eq!(mounts, [("/srv/data", "/data", true), ("/etc/web", "/etc/web", false)]);
    let networks = web["NetworkSettings"]["Networks"].as_object().unwrap();
    assert_eq!(networks.keys().collect::<Vec<_>>(), ["none", "shop_back"]);
    assert_eq!(networks["shop_back"]["IPAddress"], "172.18.0.2");
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let server = Server::builder().start().unwrap();
    let answer = get(&server, "/images/json").await;
    assert_eq!((answer.status, answer.message().as_str()), (404, "page not found"));
    assert_eq!(send(&server, Method::POST, "/containers/json").await.unwrap().status(), 404);
    assert_eq!(server.stats().requests.other, 2);
    assert!(raw(&server, "no HTTP\r\n\r\n").await.starts_with(b"HTTP/1.1 400"));
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::builder().start().unwrap();
    let stream = UnixStream::connect(server.socket()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::builder().uri("/info").header("host", "docker");
        sender.ready().await.unwrap();
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!((server.stats().accepted, server.stats().requests.info), (1, 3));
}

#[tokio::test]
async fn requests_are_counted_by_kind_and_can_be_awaited() {
    let server = Server::builder().start().unwrap();
    let id = server.create("web").unwrap();
    let arrival = server.arrival(|request| request.kind() == Kind::Inspect);
    get(&server, "/_ping").await;
    get(&server, &format!("/v1.50/containers/{id}/json?size=0")).await;
    let request = arrival.await;
    assert_eq!(request.container(), Some(id.as_str()));
    assert_eq!(request.api_version(), Some("1.50"));
    assert_eq!(request.query("size"), Some("0"));
    get(&server, "/info").await;
    get(&server, "/version").await;
    get(&server, "/containers/json").await;
    let requests = server.stats().requests;
    assert_eq!(
        [requests.ping, requests.inspect, requests.info, requests.version, requests.list],
        [1, 1, 1, 1, 1]
    );
    assert_eq!(requests.total(), 5);
    assert_eq!(server.stats().accepted, 5);
    server.until(|stats| stats.open == 0).await;
}
