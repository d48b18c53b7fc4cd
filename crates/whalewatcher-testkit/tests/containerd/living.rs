//! The changes that calls of a test make, and their events.

use whalewatcher_testkit::containerd::{ContainerSpec, Error, Fate, Server};

use crate::client::{Subscription, container, task, tasks};

#[tokio::test]
async fn a_container_lives_and_ends_with_containerds_events() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server, &[]).await;
    let web = server.run(ContainerSpec::new("shop/web")).unwrap();
    assert_eq!(web, "shop/web");
    server.pause(&web).unwrap();
    server.resume(&web).unwrap();
    server.run_out_of_memory(&web).unwrap();
    server.exit(&web, 3).unwrap();
    server.remove(&web).unwrap();
    assert_eq!(
        events.reported(9).await,
        [
            "/containers/create shop",
            "/tasks/create shop",
            "/tasks/start shop web 4000",
            "/tasks/paused shop",
            "/tasks/resumed shop",
            "/tasks/oom shop",
            "/tasks/exit shop web web 4000 3",
            "/tasks/delete shop",
            "/containers/delete shop",
        ]
    );
    assert!(server.truth().is_empty());
}

#[tokio::test]
async fn a_finished_exec_has_an_exit_of_its_own_and_leaves_the_container_alive() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut events = Subscription::registered(&server, &[]).await;
    server.exec(&web, "probe-1", 1).unwrap();
    assert_eq!(
        events.reported(3).await,
        [
            "/tasks/exec-added default",
            "/tasks/exec-started default",
            "/tasks/exit default web probe-1 4001 1"
        ]
    );
    assert_eq!(task(&server, "default", "web").await.unwrap().pid, 4000);
    assert_eq!(server.truth()[0].pid, 4000);
}

#[tokio::test]
async fn a_task_is_alive_only_between_its_start_and_its_end() {
    let server = Server::builder().start().unwrap();
    let web = server.create("web").unwrap();
    assert!(tasks(&server, "default").await.is_empty());
    let pid = server.create_task(&web).unwrap();
    assert_eq!(tasks(&server, "default").await["web"], format!("Created {pid}"));
    assert!(server.truth().is_empty());
    assert_eq!(server.start(&web).unwrap(), pid);
    assert_eq!(tasks(&server, "default").await["web"], format!("Running {pid}"));
    server.begin_pausing(&web).unwrap();
    assert_eq!(tasks(&server, "default").await["web"], format!("Pausing {pid}"));
    assert!(server.truth()[0].paused);
    server.pause(&web).unwrap();
    assert_eq!(tasks(&server, "default").await["web"], format!("Paused {pid}"));
    server.exit(&web, 137).unwrap();
    // Stopped, but not deleted.
    assert_eq!(tasks(&server, "default").await["web"], format!("Stopped {pid}"));
    assert!(server.truth().is_empty());
    let stopped = task(&server, "default", "web").await.unwrap();
    assert_eq!((stopped.exit_status, stopped.container_id.as_str()), (137, ""));
    server.delete_task(&web).unwrap();
    assert!(tasks(&server, "default").await.is_empty());
    // A task of the same container is another life.
    assert_eq!(server.start(&web).unwrap(), pid + 1);
}

#[tokio::test]
async fn an_id_can_be_reused_by_another_container() {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("job").label("run", "1")).unwrap();
    let first = container(&server, "default", "job").await.unwrap();
    server.remove("job").unwrap();
    assert_eq!(
        container(&server, "default", "job").await.unwrap_err().message(),
        "container \"job\" in namespace \"default\": not found"
    );
    server.run(ContainerSpec::new("job").label("run", "2")).unwrap();
    let second = container(&server, "default", "job").await.unwrap();
    assert_eq!((first.labels["run"].as_str(), second.labels["run"].as_str()), ("1", "2"));
    assert_ne!(first.created_at, second.created_at);
    assert_eq!(server.truth()[0].pid, 4001);
}

#[tokio::test]
async fn the_exit_of_a_short_lived_task_can_come_before_its_start() {
    let server = Server::builder().start().unwrap();
    let filters = ["topic==\"/tasks/start\"", "topic==\"/tasks/exit\""];
    let mut events = Subscription::registered(&server, &filters).await;
    let job = server.create("job").unwrap();
    server.start_and_exit(&job, 0).unwrap();
    assert_eq!(
        events.reported(2).await,
        ["/tasks/exit default job job 4000 0", "/tasks/start default job 4000"]
    );
    assert!(server.truth().is_empty());
    assert_eq!(tasks(&server, "default").await["job"], "Stopped 4000");
}

#[tokio::test]
async fn changed_labels_and_names_are_reported_with_all_labels() {
    let server = Server::builder().start().unwrap();
    let web = server.run(ContainerSpec::new("shop/1234").nerdctl_name("web")).unwrap();
    assert_eq!(server.truth()[0].name, "shop/web");
    let mut events = Subscription::registered(&server, &["topic~=\"^/containers/\""]).await;
    server.set_label(&web, "nerdctl/name", Some("front")).unwrap();
    server.set_label(&web, "nerdctl/namespace", None).unwrap();
    assert_eq!(
        events.reported(2).await,
        [
            r#"/containers/update shop 1234 {"nerdctl/name": "front", "nerdctl/namespace": "shop"}"#,
            r#"/containers/update shop 1234 {"nerdctl/name": "front"}"#,
        ]
    );
    assert_eq!(server.truth()[0].name, "shop/front");
    assert_eq!(container(&server, "shop", "1234").await.unwrap().labels.len(), 1);
}

#[tokio::test]
async fn events_can_be_lost_doubled_and_postponed() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server, &["topic~=\"^/tasks/(start|exit)\""]).await;
    server.on_event(|event| match (event.topic.as_str(), event.container.as_deref()) {
        ("/tasks/start", Some("late")) => Fate::Postpone,
        ("/tasks/start", Some("twice")) => Fate::Duplicate,
        ("/tasks/start", Some("lost")) => Fate::Vanish,
        _ => Fate::Deliver,
    });
    for name in ["late", "twice", "lost"] {
        server.run(name).unwrap();
    }
    server.lose_next("/tasks/exit");
    server.exit("lost", 1).unwrap();
    server.exit("twice", 2).unwrap();
    assert_eq!(
        events.reported(4).await,
        [
            "/tasks/start default late 4000",
            "/tasks/start default twice 4001",
            "/tasks/start default twice 4001",
            "/tasks/exit default twice twice 4001 2",
        ]
    );
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(Server::builder().start(), Err(Error::NoRuntime)));
    let _context = runtime.enter();
    let server = Server::builder().start().unwrap();
    assert!(matches!(server.start("web"), Err(Error::NoSuchContainer(_))));
    server.create("web").unwrap();
    assert!(matches!(server.create("web"), Err(Error::AlreadyExists(_))));
    assert!(matches!(server.exit("web", 0), Err(Error::NoTask(_))));
    server.create_task("web").unwrap();
    assert!(matches!(server.create_task("web"), Err(Error::HasTask(_))));
    assert!(matches!(server.pause("web"), Err(Error::NotRunning(_))));
    server.start("web").unwrap();
    assert!(matches!(server.start("web"), Err(Error::HasTask(_))));
    assert!(matches!(server.resume("web"), Err(Error::NotPaused(_))));
    assert!(matches!(server.delete_task("web"), Err(Error::Alive(_))));
    server.pause("web").unwrap();
    assert!(matches!(server.pause("web"), Err(Error::Paused(_))));
    assert!(matches!(server.exec("web", "probe", 0), Err(Error::Paused(_))));
    assert!(matches!(server.delete_namespace("default"), Err(Error::NotEmpty(_))));
    server.exit("web", 0).unwrap();
    assert!(matches!(server.exit("web", 0), Err(Error::NotRunning(_))));
    assert!(matches!(Server::builder().socket("/nowhere/at.all").start(), Err(Error::Listen { .. })));
}
