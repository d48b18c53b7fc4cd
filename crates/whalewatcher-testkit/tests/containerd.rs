//! The containerd of the test kit, asked by generated clients.
//!
//! That its answers, errors, filters and events are those of containerd is proven by the scenarios
//! `the_test_kit_answers_like_this_engine` and `the_test_kit_reports_a_life_like_this_engine` on real
//! engines, and what hooks do by the tests of `whalewatcher-containerd`, which fail without them. Here is
//! what neither shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic, also in what tests share")]

use prost::{Message, Name};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use whalewatcher_api::containerd::events::{TaskExit, TaskStart};
use whalewatcher_api::containerd::services::containers::v1::ListContainersRequest;
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::events::v1::SubscribeRequest;
use whalewatcher_api::containerd::services::events::v1::events_client::EventsClient;
use whalewatcher_api::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
use whalewatcher_api::containerd::services::tasks::v1::{
    GetRequest, ListTasksRequest, tasks_client::TasksClient,
};
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_api::containerd::types::Envelope;
use whalewatcher_testkit::containerd::{Clock, Error, Fate, Flavour, Server};

fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.endpoint()).unwrap().connect_lazy()
}

fn within<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", namespace.parse().unwrap());
    request
}

/// The tasks of a namespace, as `ID STATUS PID`.
async fn tasks(server: &Server, namespace: &str) -> String {
    let answer = TasksClient::new(channel(server)).list(within(namespace, ListTasksRequest::default())).await;
    let tasks = answer.unwrap().into_inner().tasks.into_iter();
    tasks.map(|task| format!("{} {:?} {}", task.id, task.status(), task.pid)).collect::<Vec<_>>().join(", ")
}

/// A subscription, which is answered with its first event.
fn subscribe(
    server: &Server,
    filter: &str,
) -> impl Future<Output = Result<Streaming<Envelope>, Status>> + Send + use<> {
    let (mut client, filters) = (EventsClient::new(channel(server)), vec![filter.to_owned()]);
    async move { Ok(client.subscribe(SubscribeRequest { filters }).await?.into_inner()) }
}

/// The next events in few words.
async fn reported(events: &mut Streaming<Envelope>, count: usize) -> String {
    let mut words = Vec::new();
    while words.len() < count {
        let envelope = events.message().await.unwrap().expect("the stream goes on");
        let event = envelope.event.unwrap();
        let what = match event.type_url {
            url if url == TaskStart::full_name() => {
                let start = TaskStart::decode(&event.value[..]).unwrap();
                format!(" {} {}", start.container_id, start.pid)
            }
            url if url == TaskExit::full_name() => {
                let exit = TaskExit::decode(&event.value[..]).unwrap();
                format!(" {} {} {} {}", exit.container_id, exit.id, exit.pid, exit.exit_status)
            }
            _ => String::new(),
        };
        words.push(format!("{} {}{what}", envelope.topic, envelope.namespace));
    }
    words.join(", ")
}

#[tokio::test]
async fn a_subscription_is_answered_with_its_first_event_and_misses_none_of_them() {
    let server = Server::builder().start().unwrap();
    let events = tokio::spawn(subscribe(&server, "topic~=\"^/tasks/\""));
    server.until_subscriptions(1).await;
    // Nothing that it selected happened, though it is registered, and everything else is answered.
    server.create("shop/web").unwrap();
    assert_eq!(tasks(&server, "shop").await, "");
    assert!(!events.is_finished());
    server.create_task("shop/web").unwrap();
    let mut events = events.await.unwrap().unwrap();
    assert_eq!(tasks(&server, "shop").await, "web Created 4000");
    assert!(server.truth().is_empty());
    server.start("shop/web").unwrap();
    server.exec("shop/web", "probe", 1).unwrap();
    server.begin_pausing("shop/web").unwrap();
    assert_eq!(tasks(&server, "shop").await, "web Pausing 4000");
    server.pause("shop/web").unwrap();
    server.run_out_of_memory("shop/web").unwrap();
    server.exit("shop/web", 137).unwrap();
    assert_eq!(tasks(&server, "shop").await, "web Stopped 4000");
    server.delete_task("shop/web").unwrap();
    server.start_and_exit("shop/web", 0).unwrap();
    let expected = [
        "/tasks/create shop, /tasks/start shop web 4000",
        "/tasks/exec-added shop, /tasks/exec-started shop, /tasks/exit shop web probe 4001 1",
        "/tasks/paused shop, /tasks/oom shop, /tasks/exit shop web web 4000 137, /tasks/delete shop",
        "/tasks/create shop, /tasks/exit shop web web 4002 0, /tasks/start shop web 4002",
    ];
    assert_eq!(reported(&mut events, 12).await, expected.join(", "));
    drop(events);
    server.until(|stats| stats.subscriptions == 0 && stats.open == 0).await;
}

#[tokio::test]
async fn events_are_lost_repeated_postponed_and_held_back() {
    let server = Server::builder().start().unwrap();
    server.on_event(|event| match (event.topic.as_str(), event.container.as_deref()) {
        ("/tasks/start", Some("late")) => Fate::Postpone,
        ("/tasks/start", Some("twice")) => Fate::Duplicate,
        ("/tasks/start", Some("lost")) => Fate::Vanish,
        _ => Fate::Deliver,
    });
    server.lose_next("/tasks/exit");
    let gate = server.hold_subscriptions();
    let events = tokio::spawn(subscribe(&server, "topic~=\"^/tasks/(start|exit)\""));
    gate.until_waiting(1).await;
    server.run("early").unwrap();
    gate.open();
    server.until_subscriptions(1).await;
    for name in ["late", "twice", "lost"] {
        server.run(name).unwrap();
    }
    server.exit("lost", 1).unwrap();
    let mut events = events.await.unwrap().unwrap();
    let starts =
        "/tasks/start default late 4001, /tasks/start default twice 4002, /tasks/start default twice 4002";
    assert_eq!(reported(&mut events, 3).await, starts);
    let gate = server.stall_streams();
    server.exit("twice", 2).unwrap();
    server.exit("late", 3).unwrap();
    gate.until_waiting(1).await;
    assert!(tasks(&server, "default").await.contains("twice Stopped"));
    gate.open();
    let exits = "/tasks/exit default twice twice 4002 2, /tasks/exit default late late 4001 3";
    assert_eq!(reported(&mut events, 2).await, exits);
    server.stop_listening().await;
    assert!(events.message().await.is_err() && !server.socket().exists());
    server.listen_again().unwrap();
    assert!(tasks(&server, "default").await.contains("early Running 4000"), "it outlives the engine");
    assert_eq!(server.stats().subscriptions, 0);
}

#[tokio::test]
async fn the_engine_has_an_identity_and_a_clock_and_no_other_services() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock).uuid("abc").pid(17).start().unwrap();
    let events = tokio::spawn(subscribe(&server, ""));
    server.until_subscriptions(1).await;
    server.create("web").unwrap();
    let event = events.await.unwrap().unwrap().message().await.unwrap().unwrap();
    assert_eq!(event.timestamp.unwrap().seconds, 1_000_000);
    let identity = IntrospectionClient::new(channel(&server)).server(()).await.unwrap().into_inner();
    assert_eq!((identity.uuid.as_str(), identity.pid, identity.pidns > 0), ("abc", 17, true));
    server.set_version("2.2.0", "r2");
    let version = VersionClient::new(channel(&server)).version(()).await.unwrap().into_inner();
    assert_eq!((version.version.as_str(), version.revision.as_str()), ("2.2.0", "r2"));
    let exec = GetRequest { container_id: "web".into(), exec_id: "probe".into() };
    let missing = TasksClient::new(channel(&server)).get(within("default", exec)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let old = Server::builder().flavour(Flavour::V1_6).start().unwrap();
    let identity = IntrospectionClient::new(channel(&old)).server(()).await.unwrap().into_inner();
    assert_eq!((identity.uuid, identity.pid, identity.pidns), (old.uuid(), 0, 0));
}

#[tokio::test]
async fn two_thousand_containers_as_large_as_dockers_are_too_large_for_one_message() {
    let server = Server::builder().start().unwrap();
    for number in 0..2000 {
        server.create(format!("many/c{number:04}")).unwrap();
    }
    let list = within("many", ListContainersRequest::default());
    let mut client = ContainersClient::new(channel(&server)).max_decoding_message_size(usize::MAX);
    let refused = client.list(list).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("larger than max"), "{refused}");
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(Server::builder().start(), Err(Error::NoRuntime)));
    let _context = runtime.enter();
    assert!(matches!(Server::builder().socket("/nowhere/at.all").start(), Err(Error::Listen { .. })));
    let server = Server::builder().start().unwrap();
    assert_eq!(server.start("web").unwrap_err().to_string(), "no such container: web");
    server.create("web").unwrap();
    assert_eq!(server.exit("web", 0).unwrap_err().to_string(), "web has no task");
    server.start("web").unwrap();
    assert_eq!(server.start("web").unwrap_err().to_string(), "web has a task already");
    assert_eq!(server.resume("web").unwrap_err().to_string(), "web is not paused");
    assert_eq!(server.delete_task("web").unwrap_err().to_string(), "web is alive");
    assert_eq!(server.delete_namespace("default").unwrap_err().to_string(), "default is not empty");
}
