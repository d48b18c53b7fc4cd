//! The server: JSON, streams, targets for Prometheus, and its socket.

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use whalewatcher_testkit::docker::{ContainerSpec, Server};
use whalewatcher_testkit::watched::in_time;

use crate::http::{Pieces, ask, text};
use crate::program::{Fold, Program, command, run};

/// The program while it serves, and its socket in a folder.
pub(crate) struct Serving {
    pub(crate) program: Program,
    pub(crate) folder: tempfile::TempDir,
}

impl Serving {
    pub(crate) async fn start(hosts: &[&str], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let mut arguments = vec!["serve", "--socket", socket.to_str().unwrap()];
        hosts.iter().for_each(|host| arguments.extend(["-H", host]));
        arguments.extend(options);
        let mut program = Program::started(command(&arguments).current_dir(folder.path()));
        let expected = format!("whalewatcher: serving at unix://{}", socket.display());
        let mut line = program.error_line().await;
        // Another thread prints that.
        while line.starts_with("whalewatcher: waiting for etcd at ") {
            line = program.error_line().await;
        }
        assert_eq!(line, expected);
        Self { program, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let answer = get(&self.socket(), path, headers).await;
        check_described(path, &answer);
        answer
    }

    pub(crate) async fn json(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.get(path, &[]).await;
        assert_eq!(answer.headers()["content-type"], "application/json");
        let status = answer.status();
        let body = text(answer).await;
        assert_eq!(body.find('\n'), Some(body.len() - 1), "one line");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until every engine is in sync.
    pub(crate) async fn until_ready(&self) {
        let mut stream = self.events("/v1/events", None).await;
        while self.get("/readyz", &[]).await.status() != StatusCode::OK {
            stream.next().await.expect("the stream goes on");
        }
    }

    pub(crate) async fn events(&self, path: &str, last: Option<&str>) -> Events {
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        Events::of(self.get(path, &headers).await)
    }
}

/// Checks that the description of the server has such an answer.
fn check_described(path: &str, answer: &Response<Incoming>) {
    let document: Value = serde_json::from_str(include_str!("../../src/command/serve/openapi.json")).unwrap();
    let path = path.split('?').next().unwrap();
    let template = match path {
        _ if path.starts_with("/v1/containers/") => "/v1/containers/{id_or_name}",
        _ if path.starts_with("/v1/owner/") => "/v1/owner/{pid}",
        _ => path,
    };
    let Some(described) = document["paths"].get(template) else { return };
    let mut response = &described["get"]["responses"][answer.status().as_str()];
    if let Some(name) = response["$ref"].as_str() {
        response = document.pointer(name.trim_start_matches('#')).unwrap();
    }
    assert!(response.is_object(), "openapi.json does not describe {} of {path}", answer.status());
    if let Some(content) = response["content"].as_object() {
        let kind = answer.headers()["content-type"].to_str().unwrap().split(';').next().unwrap();
        assert!(content.contains_key(kind), "openapi.json does not describe {kind} of {path}");
    }
}

async fn get(socket: &Path, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let headers = [&[("host", "localhost")], headers].concat();
    ask(UnixStream::connect(socket).await.unwrap(), path, &headers).await.unwrap()
}

/// Server-sent events.
pub(crate) struct Events(Pieces);

#[derive(Debug, PartialEq)]
pub(crate) struct Sent {
    id: String,
    name: String,
    data: Value,
}

impl Events {
    pub(crate) fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self(Pieces::of(answer))
    }

    /// Returns the next event; `None` at the proper end of the answer.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        loop {
            let event = self.0.next("\n\n").await?;
            let fields: BTreeMap<_, _> = event.lines().filter_map(|line| line.split_once(": ")).collect();
            // A comment has none.
            if !fields.is_empty() {
                return Some(Sent {
                    id: fields["id"].to_owned(),
                    name: fields["event"].to_owned(),
                    data: serde_json::from_str(fields["data"]).unwrap(),
                });
            }
        }
    }

    /// Returns the next event with this name.
    pub(crate) async fn until(&mut self, name: &str) -> Sent {
        // Comments come all the time.
        let awaited = async {
            loop {
                let sent = self.next().await.expect("the stream goes on");
                if sent.name == name {
                    return sent;
                }
            }
        };
        in_time(awaited).await
    }
}

#[tokio::test]
async fn answers_are_those_of_ps_and_name_what_is_wrong() {
    let engine = Server::builder().start().unwrap();
    engine.run(ContainerSpec::new("web").project("shop", "web")).unwrap();
    let lone = engine.run("lone").unwrap();
    let host = engine.endpoint();
    let serving = Serving::start(&[&host], &[]).await;
    serving.until_ready().await;
    let ps = run(&["ps", "-o", "json", "-H", &host]).await;
    let (status, all) = serving.json("/v1/containers").await;
    assert_eq!((status, by_id(all)), (StatusCode::OK, by_id(ps_json(&ps.stdout))));
    let ps = run(&["ps", "-o", "json", "-H", &host, "--project", "shop", "w*"]).await;
    assert_eq!(serving.json("/v1/containers?project=shop&name=w%2A").await.1, ps_json(&ps.stdout));
    for key in ["web", &lone] {
        let (status, found) = serving.json(&format!("/v1/containers/{key}")).await;
        assert!(status == StatusCode::OK && (found["name"] == key || found["id"] == key), "{found}");
    }
    assert_eq!(serving.json("/v1/projects").await.1, json!([{ "name": "shop", "containers": 1 }]));
    assert_eq!(serving.json("/v1/pods").await.1, json!([]));
    let engines = serving.json("/v1/engines").await.1;
    assert_eq!((&engines[0]["phase"], &engines[0]["containers"]), (&json!("live"), &json!(2)));
    for (path, status, reason) in [
        ("/v1/containers/nothing", StatusCode::NOT_FOUND, "no live container is known by 'nothing'"),
        ("/v1/containers?names=x", StatusCode::BAD_REQUEST, "'names' is not known: there are name"),
        ("/v1/events?filter=size%3D1", StatusCode::BAD_REQUEST, "filter size=1: "),
        ("/v1/nothing", StatusCode::NOT_FOUND, "there is nothing here"),
        ("/v1/owner/x", StatusCode::BAD_REQUEST, "'x' is no PID"),
        ("/v1/owner/4194305", StatusCode::NOT_FOUND, "there is no process 4194305"),
        ("/v1/owner/1", StatusCode::NOT_FOUND, "process 1 is in no container that is known"),
    ] {
        let (found, answer) = serving.json(path).await;
        assert_eq!(found, status, "{path}");
        assert!(answer["error"].as_str().unwrap().starts_with(reason), "{path}: {answer}");
    }
}

/// In another order than that of `ps`, which is for people.
fn by_id(mut all: Value) -> Value {
    all.as_array_mut().unwrap().sort_by_key(|one| one["id"].to_string());
    all
}

fn ps_json(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap()
}

#[tokio::test]
async fn a_name_that_two_containers_have_is_refused() {
    let engines = [Server::builder().start().unwrap(), Server::builder().start().unwrap()];
    let ids = [engines[0].run("web").unwrap(), engines[1].run("web").unwrap()];
    let hosts = [engines[0].endpoint(), engines[1].endpoint()];
    let serving = Serving::start(&[&hosts[0], &hosts[1]], &[]).await;
    serving.until_ready().await;
    let (status, answer) = serving.json("/v1/containers/web").await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(answer["error"].as_str().unwrap().starts_with("2 live containers are known by 'web'"));
    assert_eq!(serving.json(&format!("/v1/containers/{}", ids[1])).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_is_sent_again_only_after_a_change() {
    let engine = Server::builder().start().unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let tag = serving.get("/v1/containers", &[]).await.headers()["etag"].to_str().unwrap().to_owned();
    let again = async |path| serving.get(path, &[("if-none-match", &*tag)]).await;
    assert_eq!(again("/v1/containers").await.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again("/v1/sd/prometheus").await.status(), StatusCode::NOT_MODIFIED);
    let mut stream = serving.events("/v1/events", None).await;
    engine.run("web").unwrap();
    stream.until("started").await;
    assert_eq!(again("/v1/containers").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_is_resumed_exactly() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let mut stream = serving.events("/v1/events", None).await;
    let snapshot = stream.next().await.unwrap();
    assert_eq!(
        (&*snapshot.name, &snapshot.data["containers"]),
        ("snapshot", &serving.json("/v1/containers").await.1)
    );
    for _ in 0..3 {
        engine.restart("web").unwrap();
    }
    engine.run("db").unwrap();
    let mut all = Vec::new();
    while !all.last().is_some_and(|sent: &Sent| sent.data["container"]["name"] == "db") {
        all.push(stream.next().await.unwrap());
    }
    // From each event on, and from the snapshot.
    let ids: Vec<_> = std::iter::once(&snapshot.id).chain(all.iter().map(|sent| &sent.id)).cloned().collect();
    for (received, id) in ids.iter().enumerate().take(all.len()) {
        let mut resumed = serving.events("/v1/events", Some(id)).await;
        for expected in &all[received..] {
            assert_eq!(resumed.next().await.as_ref(), Some(expected), "after {id}");
        }
    }
    // What this server has not sent.
    for other in ["0-0", "x", &format!("{}9", ids[0])] {
        let begun = serving.events("/v1/events", Some(other)).await.next().await.unwrap();
        assert_eq!(begun.name, "snapshot", "{other}");
    }
}

#[tokio::test]
async fn lines_add_up_to_what_the_engine_has() {
    let engine = Server::builder().start().unwrap();
    engine.run("first").unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let answer = serving.get("/v1/events", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    for nth in 0..20 {
        let name = format!("web-{nth}");
        engine.run(&*name).unwrap();
        match nth % 3 {
            0 => engine.pause(&name).unwrap(),
            1 => engine.exit(&name, nth).unwrap(),
            _ => engine.rename(&name, &format!("other-{nth}")).unwrap(),
        }
    }
    let (mut fold, mut lines) = (Fold::default(), Pieces::of(answer));
    // Inspections are answered in any order, so the container that came last is not reported last.
    let truth = Fold::truth(&engine);
    let added_up = async {
        while fold != truth {
            // A comment is an empty line.
            let line = lines.next("\n").await.expect("the stream goes on");
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["event"] == "snapshot" {
                for container in line["containers"].as_array().unwrap() {
                    let mut container = container.clone();
                    container.as_object_mut().unwrap().remove("engine");
                    fold.take(&json!({ "event": "started", "container": container }));
                }
            } else if !line.is_null() {
                fold.take(&line);
            }
        }
    };
    in_time(added_up).await;
}

#[tokio::test]
async fn readiness_names_the_engine_that_cannot_be_reached() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let mut stream = serving.events("/v1/events", None).await;
    engine.stop_listening().await;
    stream.until("disconnected").await;
    let (status, waiting) = serving.json("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(waiting[0]["engine"].as_str().unwrap().contains(&engine.endpoint()), "{waiting}");
    assert!(!waiting[0]["reason"].as_str().unwrap().is_empty(), "{waiting}");
    assert_eq!(serving.get("/healthz", &[]).await.status(), StatusCode::OK);
    // What was known is served.
    assert_eq!(serving.json("/v1/containers").await.1[0]["name"], "web");
    engine.listen_again().unwrap();
    stream.until("synced").await;
    assert_eq!(serving.json("/readyz").await, (StatusCode::OK, json!([])));
}

#[tokio::test]
async fn targets_follow_the_containers_in_a_file_too() {
    let engine = Server::builder().start().unwrap();
    let spec = ContainerSpec::new("web").network("shop", Ipv4Addr::new(10, 1, 0, 7)).label("a.b/c", "d");
    let id = engine.run(spec.port(8080, 80).port(9090, None)).unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &["--sd-file", "targets.json"]).await;
    serving.until_ready().await;
    let targets = serving.json("/v1/sd/prometheus").await.1;
    let ports: Vec<_> = targets.as_array().unwrap().iter().map(|one| one["targets"][0].clone()).collect();
    assert!(ports.contains(&json!("10.1.0.7:8080")) && ports.contains(&json!("10.1.0.7:9090")), "{targets}");
    let labels = &targets[0]["labels"];
    for (name, value) in [
        ("__meta_docker_container_id", &*id),
        ("__meta_docker_container_name", "/web"),
        ("__meta_docker_container_label_a_b_c", "d"),
        ("__meta_docker_network_name", "shop"),
        ("__meta_docker_network_ip", "10.1.0.7"),
        ("__meta_docker_port_private", "8080"),
        ("__meta_docker_port_public", "80"),
        ("__meta_whalewatcher_engine_type", "docker.com"),
    ] {
        assert_eq!(labels[name], value, "{name} in {labels}");
    }
    let file = serving.folder.path().join("targets.json");
    let mut stream = serving.events("/v1/events", None).await;
    engine.run(ContainerSpec::new("db").network("shop", Ipv4Addr::new(10, 1, 0, 8))).unwrap();
    stream.until("started").await;
    let expected = serving.json("/v1/sd/prometheus").await.1;
    assert!(expected.to_string().contains("10.1.0.8:80"), "{expected}");
    let replaced = spawn_blocking(move || {
        let folder = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&folder, file.parent().unwrap(), WatchFlags::MOVED_TO).unwrap();
        let mut notices = [MaybeUninit::uninit(); 1024];
        let mut changes = inotify::Reader::new(folder, &mut notices);
        while serde_json::from_slice::<Value>(&fs::read(&file).unwrap_or_default()).ok()
            != Some(expected.clone())
        {
            changes.next().unwrap();
        }
    });
    in_time(replaced).await.unwrap();
}

#[tokio::test]
async fn the_socket_is_for_its_group_and_is_gone_at_the_end() {
    let engine = Server::builder().start().unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let socket = serving.socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let second = run(&["serve", "--socket", socket.to_str().unwrap(), "-H", &engine.endpoint()]).await;
    assert!(second.error().ends_with("another server listens there"), "{second:?}");
    let mut stream = serving.events("/v1/events", None).await;
    stream.until("snapshot").await;
    serving.program.signal(Signal::TERM);
    while stream.next().await.is_some() {}
    let ended = serving.program.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(!socket.exists());
    // One that was killed leaves its socket, which is replaced.
    drop(UnixListener::bind(&socket).unwrap());
    let again = Program::start(&["serve", "--socket", socket.to_str().unwrap(), "-H", &engine.endpoint()]);
    let mut again = again;
    assert!(again.error_line().await.contains("serving at"));
    assert_eq!(get(&socket, "/healthz", &[]).await.status(), StatusCode::OK);
    again.signal(Signal::KILL);
    again.ended().await;
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "").unwrap();
    let refused = run(&["serve", "--socket", socket.to_str().unwrap(), "-H", &engine.endpoint()]).await;
    assert!(refused.error().ends_with("there is a file that is no socket"), "{refused:?}");
}
