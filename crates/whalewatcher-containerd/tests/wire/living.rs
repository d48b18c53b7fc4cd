//! The life of containers, as a subscriber receives it.

use std::sync::Arc;
use std::time::SystemTime;

use whalewatcher_containerd::Client;
use whalewatcher_testkit::containerd::{ContainerSpec, Method, Server};

use crate::watched::{assert_true, in_time, watch, watch_by};

#[tokio::test]
async fn live_containers_of_all_namespaces_are_found() {
    let server = Server::builder().start().unwrap();
    let web = ContainerSpec::new("shop/4b1ab74f").nerdctl_name("web").project("shop", "web");
    let web = server.run(web).unwrap();
    for id in ["lone", "plugins.moby/plugin", "moby/docker", "k8s.io/pod"] {
        server.run(id).unwrap();
    }
    server.pause(&web).unwrap();
    server.run("pausing").unwrap();
    server.begin_pausing("pausing").unwrap();
    let watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["lone", "pausing", "plugins.moby/plugin", "shop/web"]);
    let found = watched.container("shop/web");
    let truth = server.truth().into_iter().find(|alive| alive.key == web).unwrap();
    assert_eq!((&**found.id(), found.pid(), found.paused()), ("shop/4b1ab74f", truth.pid, true));
    assert_eq!((found.project(), found.started_at()), ("shop", None));
    assert!(found.labels().iter().eq(truth.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
    assert!(watched.container("pausing").paused());
    let counters = watched.watching.status().counters;
    assert_eq!((counters.lists, counters.inspections), (1, 0), "the list contains everything");
}

#[tokio::test]
async fn the_namespaces_that_are_ignored_can_be_replaced() {
    let server = Server::builder().start().unwrap();
    for id in ["lone", "moby/docker", "k8s.io/pod"] {
        server.run(id).unwrap();
    }
    let client =
        Client::builder().endpoint(server.endpoint()).ignored_namespaces(["default"]).build().unwrap();
    let mut watched = watch_by(client).live().await;
    assert_eq!(watched.names(), ["k8s.io/pod", "moby/docker"]);
    server.exit("lone", 0).unwrap();
    server.exit("moby/docker", 0).unwrap();
    assert_eq!(watched.reported().await, "exited moby/docker 0");
}

#[tokio::test]
async fn a_life_is_reported_from_its_start_to_its_end() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    server.run(ContainerSpec::new("shop/1").nerdctl_name("web")).unwrap();
    assert_eq!(watched.reported().await, "started shop/web");
    assert_true(&watched, &server);
    server.pause("shop/1").unwrap();
    assert_eq!(watched.reported().await, "paused shop/web");
    server.resume("shop/1").unwrap();
    assert_eq!(watched.reported().await, "unpaused shop/web");
    server.set_label("shop/1", "nerdctl/name", Some("shop")).unwrap();
    assert_eq!(watched.reported().await, "updated shop/shop");
    server.set_label("shop/1", "tier", Some("1")).unwrap();
    assert_eq!(watched.reported().await, "updated shop/shop");
    assert_eq!(watched.container("shop/shop").labels().get("tier"), Some("1"));
    server.exit("shop/1", 137).unwrap();
    assert_eq!(watched.reported().await, "exited shop/shop 137");
    assert_eq!(watched.watching.status().counters.inspections, 3, "one for the start, one for each update");
}

#[tokio::test]
async fn a_start_is_reported_with_the_time_of_its_event() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    server.clock().advance(std::time::Duration::from_secs(3600));
    let before = server.clock().now();
    server.run("web").unwrap();
    assert!(watched.next().await.time >= SystemTime::try_from(before).unwrap(), "by the engine's clock");
}

#[tokio::test]
async fn finished_execs_leave_their_container_alive() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    for nth in 0..50 {
        server.exec("web", &format!("exec-{nth}"), 1).unwrap();
        server.run(format!("c{nth}")).unwrap();
        server.exec(&format!("c{nth}"), "health", 0).unwrap();
        server.exit(&format!("c{nth}"), 0).unwrap();
    }
    server.run_out_of_memory("web").unwrap();
    server.pause("web").unwrap();
    let reported = watched.until_reported("paused web").await;
    assert!(reported.iter().all(|reported| !reported.starts_with("exited web")), "{reported:?}");
    assert_eq!(watched.container("web").pid(), server.truth()[0].pid);
}

#[tokio::test]
async fn an_oom_kill_marks_the_exit_that_follows_and_costs_no_inspection() {
    let server = Server::builder().start().unwrap();
    for id in ["found", "shop/found"] {
        server.run(id).unwrap();
    }
    let mut watched = watch(&server).live().await;
    server.run("started").unwrap();
    assert_eq!(watched.reported().await, "started started");
    let before = watched.watching.status().counters.inspections;
    for id in ["found", "started", "shop/found"] {
        server.run_out_of_memory(id).unwrap();
        server.exit(id, 137).unwrap();
        let exited = watched.next().await;
        let container = exited.container().unwrap();
        assert_eq!((container.name(), container.oom_killed()), (id, true), "{exited}");
    }
    server.delete_task("started").unwrap();
    server.start("started").unwrap();
    assert_eq!(watched.reported().await, "started started");
    assert!(!watched.container("started").oom_killed(), "of the life before");
    server.exit("started", 137).unwrap();
    assert!(!watched.next().await.container().unwrap().oom_killed());
    assert_eq!(watched.watching.status().counters.inspections, before + 1);
}

#[tokio::test]
async fn networks_and_ports_of_nerdctl_follow_its_labels() {
    let server = Server::builder().start().unwrap();
    let ports = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"}]"#;
    let web =
        ContainerSpec::new("web").label("nerdctl/networks", r#"["shop"]"#).label("nerdctl/ports", ports);
    server.run(web).unwrap();
    let mut watched = watch(&server).live().await;
    let found = watched.container("web");
    assert_eq!((found.networks()[0].name(), found.networks()[0].ipv4()), ("shop", None));
    assert_eq!(found.ports()[0].to_string(), "0.0.0.0:8080->80/tcp");
    server.set_label("web", "nerdctl/networks", Some("malformed")).unwrap();
    assert_eq!(watched.reported().await, "updated web");
    assert_eq!((watched.container("web").networks(), watched.container("web").ports().len()), (&[][..], 1));
    assert_eq!(watched.watching.status().unresolved.total(), 0);
}

#[tokio::test]
async fn what_is_not_alive_is_not_announced() {
    let server = Server::builder().start().unwrap();
    let make = |when: &str| {
        server.create(format!("{when}-without-task")).unwrap();
        server.create(format!("{when}-never-started")).unwrap();
        server.create_task(&format!("{when}-never-started")).unwrap();
        server.create(format!("{when}-over-before-its-start")).unwrap();
        server.start_and_exit(&format!("{when}-over-before-its-start"), 1).unwrap();
    };
    make("found");
    server.run("found-stopped").unwrap();
    server.exit("found-stopped", 0).unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(watched.names(), [""; 0]);
    make("reported");
    server.run("last").unwrap();
    assert_eq!(watched.reported().await, "started last");
    server.delete_task("found-stopped").unwrap();
    server.remove("found-without-task").unwrap();
    server.remove("last").unwrap();
    assert_eq!(watched.reported().await, "exited last 137");
    assert_true(&watched, &server);
}

#[tokio::test]
async fn a_new_container_under_an_old_id_is_an_exit_and_a_start() {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("shop/1").nerdctl_name("old")).unwrap();
    let mut watched = watch(&server).live().await;
    let old = watched.container("shop/old").pid();
    server.remove("shop/1").unwrap();
    server.run(ContainerSpec::new("shop/1").nerdctl_name("new")).unwrap();
    assert_eq!(watched.reported_all(2).await, ["exited shop/old 137", "started shop/new"]);
    assert_ne!(watched.container("shop/new").pid(), old);
    // The same without an event for its end.
    server.lose_next("/tasks/exit");
    server.remove("shop/1").unwrap();
    server.run(ContainerSpec::new("shop/1").nerdctl_name("newer")).unwrap();
    assert_eq!(watched.reported_all(2).await, ["exited shop/new", "started shop/newer"]);
    assert_true(&watched, &server);
}

#[tokio::test]
async fn containers_of_one_id_in_several_namespaces_are_several() {
    let server = Server::builder().start().unwrap();
    for id in ["1", "a/1", "b/1"] {
        server.run(id).unwrap();
    }
    let mut watched = watch(&server).live().await;
    server.exit("a/1", 0).unwrap();
    assert_eq!(watched.reported().await, "exited a/1 0");
    assert_eq!(watched.names(), ["1", "b/1"]);
}

#[tokio::test]
async fn a_rucksack_is_packed_for_what_is_listed_and_for_what_starts() {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("shop/listed").image("busybox")).unwrap();
    let client = Client::builder().endpoint(server.endpoint()).rucksack(|details| {
        let spec = details.container.spec.as_ref().map_or(0, |spec| spec.value.len());
        Some(Arc::new((
            details.namespace.to_owned(),
            details.container.image.clone(),
            details.task.pid,
            spec,
        )))
    });
    let mut watched = watch_by(client.build().unwrap()).live().await;
    server.run(ContainerSpec::new("shop/started").image("busybox")).unwrap();
    assert_eq!(watched.reported().await, "started shop/started");
    for name in ["shop/listed", "shop/started"] {
        let container = watched.container(name);
        let (namespace, image, pid, spec) = container.rucksack::<(String, String, u32, usize)>().unwrap();
        assert_eq!((namespace.as_str(), image.as_str(), *pid), ("shop", "busybox", container.pid()));
        assert!(*spec > 9_000, "with its whole specification: {spec}");
    }

    // A life that ends before it is inspected, as long as its task exists.
    let gate = server.hold(Method::TasksGet);
    server.run(ContainerSpec::new("shop/brief").image("busybox")).unwrap();
    in_time(gate.until_waiting(1)).await;
    server.exit("shop/brief", 7).unwrap();
    gate.open();
    for expected in ["started", "exited"] {
        let event = watched.next().await;
        let (_, image, pid, _) =
            event.container().unwrap().rucksack::<(String, String, u32, usize)>().unwrap();
        assert_eq!((event.kind.name(), image.as_str(), *pid), (expected, "busybox", 0));
    }
}

#[tokio::test]
async fn a_task_without_its_container_is_not_alive() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    // By force: no event reports the end of the task.
    server.lose_next("/tasks/exit");
    server.remove("web").unwrap();
    assert_eq!(watched.reported().await, "exited web");
}

#[tokio::test]
async fn names_and_labels_can_be_anything() {
    let server = Server::builder().start().unwrap();
    let huge = "x".repeat(5_000_000);
    let odd = ContainerSpec::new("odd").nerdctl_name("a\u{1b}[2J\n").label("huge", huge.as_str());
    server.run(odd).unwrap();
    let watched = watch(&server).live().await;
    let container = watched.container("a\u{1b}[2J\n");
    assert_eq!(
        container.to_string(),
        format!(r"container 'a\u{{1b}}[2J\n'/odd with PID {}", container.pid())
    );
    assert_eq!(container.labels().get("huge").map(str::len), Some(5_000_000));
}
