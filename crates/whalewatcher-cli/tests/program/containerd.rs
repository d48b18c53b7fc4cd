//! containerd by its own API.

use serde_json::json;
use whalewatcher_testkit::containerd::{Code, ContainerSpec, Method, Server, Verdict};
use whalewatcher_testkit::docker;

use crate::program::{Program, run};

fn host(server: &Server) -> String {
    server.endpoint().replace("unix://", "containerd://")
}

fn shop() -> Server {
    let server = Server::builder().uuid("c0ffee").version("v2.1.9", "abc").first_pid(100).start().unwrap();
    server
        .run(ContainerSpec::new("staging/4b1ab74f0123456789").nerdctl_name("web").project("shop", "web"))
        .unwrap();
    server.run("lone").unwrap();
    server
}

#[tokio::test]
async fn names_contain_the_namespace_and_short_ids_do_not() {
    let server = shop();
    let ended = run(&["ps", "--host", &host(&server)]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let expected = "\
NAME           ID            IMAGE           PID  STATE      AGE
shop
  staging/web  4b1ab74f0123  busybox:latest  100  ● running    -
no project
  lone         lone          busybox:latest  101  ● running    -
";
    assert_eq!(ended.stdout, expected);
}

#[tokio::test]
async fn json_contains_all_fields() {
    let server = shop();
    let mut program = Program::start(&["watch", "--format", "json", "--host", &host(&server)]);
    let mut started = [program.json().await, program.json().await];
    started.sort_by_key(|line| line["container"]["id"].to_string());
    let engine = json!({
        "type": "containerd.io", "id": "c0ffee", "version": "v2.1.9 abc", "api": host(&server),
    });
    for (field, value) in engine.as_object().unwrap() {
        assert_eq!(started[1]["engine"][field], *value);
    }
    let labels = json!({
        "nerdctl/name": "web", "nerdctl/namespace": "staging",
        "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
    });
    let mut container = started[1]["container"].clone();
    let created_at = container.as_object_mut().unwrap().remove("created_at").unwrap();
    assert!(created_at.as_str().is_some_and(|time| time.ends_with('Z')), "{created_at}");
    assert_eq!(
        container,
        json!({
            "image": {"name": "docker.io/library/busybox:latest"}, "id": "staging/4b1ab74f0123456789", "name": "staging/web", "pid": 100, "project": "shop",
            "paused": false, "started_at": null, "labels": labels,
        })
    );
    assert_eq!(program.json().await["containers"], 2);
    server.exit("lone", 137).unwrap();
    let exited = program.json().await;
    assert_eq!((&exited["event"], &exited["exit_code"]), (&json!("exited"), &json!(137)));
}

#[tokio::test]
async fn docker_and_containerd_are_watched_together() {
    let (server, docker) = (shop(), docker::Server::builder().start().unwrap());
    docker.run("whale").unwrap();
    let docker_host = docker.endpoint().replace("unix://", "docker://");
    let ended = run(&["ps", "--format", "json", "--host", &host(&server), "--host", &docker_host]).await;
    let containers: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    let mut names: Vec<_> = containers
        .iter()
        .map(|container| format!("{} {}", container["engine"]["type"], container["name"]).replace('"', ""))
        .collect();
    names.sort();
    assert_eq!(names, ["containerd.io lone", "containerd.io staging/web", "docker.com whale"]);
}

#[tokio::test]
async fn a_container_of_docker_is_shown_once_and_moves_to_docker_when_that_answers() {
    let docker = docker::Server::builder().first_pid(100).start().unwrap();
    let id = docker.run("web").unwrap();
    let server = Server::builder().first_pid(100).start().unwrap();
    server.run(ContainerSpec::new(format!("moby/{id}"))).unwrap();
    let docker_host = docker.endpoint().replace("unix://", "docker://");
    let arguments = |command| {
        let hosts = ["--all-namespaces", "--host", &host(&server), "--host", &docker_host].map(str::to_owned);
        [command, "--format", "json"].map(str::to_owned).into_iter().chain(hosts).collect::<Vec<_>>()
    };
    let words = arguments("ps");
    let ended = run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let containers: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    let [web] = &containers[..] else { panic!("{containers:?}") };
    assert_eq!((&web["engine"]["type"], &web["name"]), (&json!("docker.com"), &json!("web")));

    let gate = docker.hold(docker::Kind::List);
    let words = arguments("watch");
    let mut program = Program::start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let [started, _synced] = [program.json().await, program.json().await];
    assert_eq!(started["container"]["id"], format!("moby/{id}"));
    gate.open();
    let moved = program.json().await;
    assert_eq!((&moved["event"], &moved["container"]["id"]), (&json!("moved"), &json!(id)));
    let from = json!({"type": "containerd.io", "api": host(&server), "container": format!("moby/{id}")});
    assert_eq!((&moved["engine"]["type"], &moved["from"]), (&json!("docker.com"), &from));
    assert_eq!(program.json().await["event"], "synced");
    server.exit(&format!("moby/{id}"), 3).unwrap();
    docker.exit("web", 3).unwrap();
    let exited = program.json().await;
    assert_eq!((&exited["event"], &exited["engine"]["type"]), (&json!("exited"), &json!("docker.com")));
    assert_eq!(exited["exit_code"], 3);
}

#[tokio::test]
async fn a_namespace_that_cannot_be_listed_hides_no_other() {
    let server = shop();
    server.on_call(|call| match call.method() {
        Method::TasksList if call.namespace() == Some("staging") => Verdict::error(Code::Unknown, "no luck"),
        _ => Verdict::Pass,
    });
    let mut program = Program::start(&["watch", "--host", &host(&server)]);
    let error = program.error_line().await;
    assert!(error.ends_with("'staging' cannot be listed: containerd fails Tasks.List: no luck"), "{error}");
    while !program.line().await.contains("● started  lone ") {}

    let ended = run(&["ps", "--host", &host(&server)]).await;
    assert!(ended.stdout.contains("lone"), "{}", ended.stdout);
    assert!(ended.error().contains("'staging' cannot be listed"), "{}", ended.error());
}

#[tokio::test]
async fn the_api_field_is_a_valid_host() {
    let server = shop();
    let ps = run(&["ps", "--format", "json", "--host", &host(&server)]).await;
    let all: serde_json::Value = serde_json::from_str(&ps.stdout).unwrap();
    let again = run(&["ps", "--format", "json", "--host", all[0]["engine"]["api"].as_str().unwrap()]).await;
    assert_eq!((again.code, again.stdout), (Some(0), ps.stdout));
}

#[tokio::test]
async fn ignored_namespaces_can_be_chosen() {
    let server = shop();
    server.run(ContainerSpec::new("k8s.io/pod")).unwrap();
    for (arguments, names) in [
        (&[][..], &["lone", "staging/web"][..]),
        (&["--all-namespaces"], &["k8s.io/pod", "lone", "staging/web"]),
        (&["--ignore-namespace", "staging", "--ignore-namespace", "default"], &["k8s.io/pod"]),
    ] {
        let ps = ["ps", "--format", "json", "--host", &host(&server)];
        let ended = run(&[&ps[..], arguments].concat()).await;
        let all: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let mut found: Vec<_> = all.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        found.sort_by_key(ToString::to_string);
        assert_eq!(found, names, "{arguments:?}");
    }
}

#[tokio::test]
async fn an_empty_table_names_the_ignored_namespaces() {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("k8s.io/pod")).unwrap();
    let note = format!(
        "whalewatcher: containerd.io at {}: namespace 'k8s.io' ignored; --all-namespaces shows all",
        server.endpoint()
    );
    for (format, stdout) in [("text", "no container is alive\n"), ("json", "[]\n")] {
        let ended = run(&["ps", "--format", format, "--host", &host(&server)]).await;
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.trim_end()),
            (Some(0), stdout, note.as_str())
        );
    }
    server.run(ContainerSpec::new("moby/c0ffee")).unwrap();
    let mut program = Program::start(&["watch", "--host", &host(&server)]);
    assert_eq!(
        program.error_line().await,
        note.replace("namespace 'k8s.io'", "namespaces 'k8s.io' and 'moby'")
    );
    server.run("lone").unwrap();
    while !program.line().await.contains("lone") {}
    let ended = run(&["ps", "--host", &host(&server)]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn what_is_not_containerd_is_reported_with_advice() {
    let docker = docker::Server::builder().start().unwrap();
    for host in [docker.endpoint().replace("unix://", "containerd://"), "containerd:///no/such".into()] {
        let ended = run(&["ps", "--host", &host]).await;
        let error = ended.error();
        assert!(error.contains("containerd?") || error.contains("containerd running?"), "{error}");
        assert!(!error.contains("DOCKER_HOST"), "{error}");
    }
}
