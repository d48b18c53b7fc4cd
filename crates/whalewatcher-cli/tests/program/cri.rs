//! CRI runtimes.

use serde_json::{Value, json};
use whalewatcher_testkit::cri::{ContainerSpec, Flavour, Method, PodSpec, Server};
use whalewatcher_testkit::{containerd, docker};

use crate::program::{Fold, Program, run};

fn host(server: &Server) -> String {
    server.endpoint().replace("unix://", "cri://")
}

/// Returns `n` as an ID of 64 digits.
fn id(n: u8) -> String {
    format!("{n:064x}").chars().rev().collect()
}

/// A pod of two containers, and one of one container in another namespace.
fn node(flavour: Flavour) -> Server {
    let server = Server::builder().flavour(flavour).first_pid(100).start().unwrap();
    let web = PodSpec::new("web-0").namespace("shop").uid("4e11").id(id(1));
    server.run_pod(web).unwrap();
    server.run(&id(1), ContainerSpec::new("nginx").id(id(2)).annotation("team", "blue")).unwrap();
    server.run(&id(1), ContainerSpec::new("logger").id(id(3))).unwrap();
    server.run_pod(PodSpec::new("dns").namespace("kube-system").uid("d15").id(id(4))).unwrap();
    server.run(&id(4), ContainerSpec::new("coredns").id(id(5))).unwrap();
    server
}

/// Returns the containers of the runtime itself, with the fields that both sides have.
fn truth(server: &Server) -> Fold {
    let all = server.truth().into_iter().map(|alive| {
        let pod = json!({
            "namespace": alive.pod.namespace, "name": alive.pod.name, "uid": alive.pod.uid,
            "sandbox": alive.sandbox.is_none(),
        });
        (
            alive.id,
            json!({"name": alive.name, "pid": alive.pid, "pod": pod, "started_at": alive.since.to_string()}),
        )
    });
    Fold(all.collect())
}

/// Returns the same fields of the lines.
fn in_short(reported: &Fold) -> Fold {
    let short = |container: &Value| {
        ["name", "pid", "pod", "started_at"]
            .map(|key| (key.to_owned(), container[key].clone()))
            .into_iter()
            .collect()
    };
    Fold(reported.0.iter().map(|(id, container)| (id.clone(), short(container))).collect())
}

/// Starts `watch --format json`, and returns it with the sum of its lines up to the first `synced`.
async fn watching(server: &Server) -> (Program, Fold) {
    let mut program = Program::start(&["watch", "--format", "json", "--host", &host(server)]);
    let mut fold = Fold::default();
    loop {
        let line = program.json().await;
        fold.take(&line);
        if line["event"] == "synced" {
            return (program, fold);
        }
    }
}

#[tokio::test]
async fn tables_contain_pods_and_sandboxes() {
    let server = node(Flavour::default());
    let ended = run(&["ps", "--host", &host(&server)]).await;
    let expected = "\
NAME         POD              ID            IMAGE                       PID  STATE      AGE
no project
  (sandbox)  kube-system/dns  400000000000  registry.k8s.io/pause:3.10  103  ● running   -
  coredns    kube-system/dns  500000000000  busybox:latest              104  ● running   -
  (sandbox)  shop/web-0       100000000000  registry.k8s.io/pause:3.10  100  ● running   -
  logger     shop/web-0       300000000000  busybox:latest              102  ● running   -
  nginx      shop/web-0       200000000000  busybox:latest              101  ● running   -
";
    let without_ages = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("● running").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(without_ages(&ended.stdout), without_ages(expected));
}

#[tokio::test]
async fn json_contains_all_fields() {
    let server = node(Flavour::default());
    let ended = run(&["ps", "--format", "json", "--host", &host(&server)]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let nginx = all.iter().find(|one| one["name"] == "nginx").unwrap();
    let started_at =
        server.truth().into_iter().find(|alive| alive.name == "nginx").unwrap().since.to_string();
    let engine = json!({
        "type": "k8s.io/cri-api", "id": nginx["engine"]["id"], "version": "containerd v2.1.9 [API v1]",
        "api": host(&server),
    });
    let created_at = nginx["created_at"].clone();
    assert!(created_at.as_str().is_some_and(|time| *time <= *started_at), "{created_at}");
    let image = nginx["image"]["id"].clone();
    assert!(image.as_str().is_some_and(|id| id.starts_with("sha256:")), "{image}");
    assert_eq!(
        *nginx,
        json!({
            "created_at": created_at, "restart_count": 0,
            "image": {"name": "docker.io/library/busybox:latest", "id": image},
            "networks": [{"name": "", "ipv4": "10.244.0.7", "ipv6": "fd00:244::7"}],
            "id": id(2), "name": "nginx", "pid": 101, "project": "", "paused": false, "started_at": started_at,
            "pod": {"namespace": "shop", "name": "web-0", "uid": "4e11", "sandbox": false},
            "labels": {
                "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop",
                "io.kubernetes.pod.uid": "4e11", "io.kubernetes.container.name": "nginx",
                "io.kubernetes.annotation/team": "blue",
            },
            "engine": engine,
        })
    );
    assert!(!nginx["engine"]["id"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn the_lines_add_up_to_the_containers_with_every_source_of_changes() {
    for flavour in [
        Flavour::Containerd1_6,
        Flavour::Containerd1_7,
        Flavour::Containerd2_1,
        Flavour::Crio,
        Flavour::CrioWithEvents,
    ] {
        let server = node(flavour);
        let (mut program, mut fold) = watching(&server).await;
        assert_eq!(in_short(&fold), truth(&server), "{flavour:?}");
        server.exit(&id(3), 137).unwrap();
        let exited = program.json().await;
        assert_eq!(
            (&exited["event"], &exited["container"]["name"], &exited["container"]["pod"]["name"]),
            (&json!("exited"), &json!("logger"), &json!("web-0")),
            "{flavour:?}"
        );
        fold.take(&exited);
        server.run_pod(PodSpec::new("job").uid("a0b").id(id(6))).unwrap();
        server.run(&id(6), ContainerSpec::new("step").id(id(7))).unwrap();
        server.remove(&id(4)).unwrap();
        while in_short(&fold) != truth(&server) {
            fold.take(&program.json().await);
        }
    }
}

#[tokio::test]
async fn polling_is_reported_and_the_kubelet_loses_no_events() {
    let crio = node(Flavour::Crio);
    let mut program = Program::start(&["watch", "--host", &host(&crio)]);
    let error = program.error_line().await;
    let why = "the CRI runtime ended its stream of events";
    let reported = format!("whalewatcher: k8s.io/cri-api at {}: {why}", crio.endpoint());
    assert!(error.starts_with(&reported) && error.ends_with("; polling every 1 s"), "{error}");

    let containerd = node(Flavour::Containerd1_7);
    let mut program = Program::start(&["watch", "-v", "--host", &host(&containerd)]);
    let by_hints =
        format!("source of changes location=k8s.io/cri-api at {} source=hints", containerd.endpoint());
    while !program.error_line().await.ends_with(&by_hints) {}
    let (mut program, _) = watching(&containerd).await;
    containerd.exit(&id(2), 1).unwrap();
    assert_eq!(program.json().await["container"]["name"], "nginx");
    assert_eq!(containerd.stats().requests.of(Method::GetContainerEvents), 0);
}

#[tokio::test]
async fn rows_contain_the_pod() {
    let server = node(Flavour::default());
    let mut program = Program::start(&["watch", "--host", &host(&server)]);
    for _ in 0..7 {
        program.line().await;
    }
    server.exit(&id(2), 1).unwrap();
    assert_eq!(program.line().await, "");
    let exited = program.line().await;
    assert!(
        exited.contains("○ exited   nginx                shop/web-0      101 200000000000 exit 1"),
        "{exited}"
    );
    server.stop(&id(4)).unwrap();
    let mut reported = [program.line().await, program.line().await];
    reported.sort_by_key(|line| line.contains("(sandbox)"));
    assert!(reported[0].contains("○ exited   coredns              kube-system/dns 104 "), "{reported:?}");
    assert!(
        reported[1].contains("○ exited   (sandbox)            kube-system/dns 103 400000000000"),
        "{reported:?}"
    );
}

#[tokio::test]
async fn both_apis_of_a_socket_are_watched() {
    let server = node(Flavour::default());
    let both = [&host(&server), &server.endpoint().replace("unix://", "containerd://")];
    let ended = run(&["ps", "--format", "json", "--host", both[0], "--host", both[1]]).await;
    let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    // containerd's own leaves out the namespace k8s.io.
    assert_eq!((ended.code, all.len()), (Some(0), 5), "{ended:?}");
    let mut program = Program::start(&["watch", "--host", both[0], "--host", both[1]]);
    let mut headlines = Vec::new();
    while headlines.len() < 2 {
        let line = program.line().await;
        headlines.extend(line.starts_with('[').then_some(line));
    }
    headlines.sort_by_key(|line| line.contains("containerd.io"));
    assert!(headlines[0].contains("] k8s.io/cri-api containerd v2.1.9"), "{headlines:?}");
    assert!(headlines[1].contains("] containerd.io "), "{headlines:?}");
}

#[tokio::test]
async fn ps_fails_without_a_runtime_and_watch_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("c.sock");
    let host = format!("cri://{}", socket.display());
    let ended = run(&["ps", "--host", &host]).await;
    let error = ended.error();
    let begin = format!("whalewatcher: no such socket: unix://{}; is ", socket.display());
    assert!(error.starts_with(&begin) && error.contains("--host"), "{error}");
    assert!(!error.contains("DOCKER_HOST"), "{error}");

    let mut program = Program::start(&["watch", "--host", &host]);
    let waiting = program.error_line().await;
    assert!(waiting.starts_with("whalewatcher: waiting for the engine: no such socket: "), "{waiting}");
    let server = Server::builder().socket(&socket).start().unwrap();
    assert_eq!(program.line().await, "no container is alive");
    server.run_pod("web").unwrap();
    assert_eq!(program.line().await, "");
    assert!(program.line().await.contains("● started  (sandbox) "));
}

#[tokio::test]
async fn what_is_not_a_cri_runtime_is_reported_with_advice() {
    // Docker's own containerd has CRI switched off.
    let containerd = containerd::Server::builder().start().unwrap();
    for subcommand in ["ps", "watch"] {
        let ended = run(&[subcommand, "--host", &containerd.endpoint().replace("unix://", "cri://")]).await;
        let error = ended.error();
        assert!(error.contains(&containerd.endpoint()), "{error}");
        assert!(error.contains("containerd is at containerd:///PATH"), "{error}");
    }
    let docker = docker::Server::builder().start().unwrap();
    let ended = run(&["ps", "--host", &docker.endpoint().replace("unix://", "cri://")]).await;
    assert!(ended.error().ends_with("is this a CRI runtime?"), "{ended:?}");
}
