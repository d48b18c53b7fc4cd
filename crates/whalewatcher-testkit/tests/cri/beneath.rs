//! containerd's own API on the same socket: what it reports about sandboxes and containers, and when.

use prost::Message;
use tonic::{Code, Request, Streaming};
use whalewatcher_api::containerd::events::{TaskExit, TaskStart};
use whalewatcher_api::containerd::services::containers::v1::{
    GetContainerRequest, containers_client::ContainersClient,
};
use whalewatcher_api::containerd::services::events::v1::{
    PublishRequest, SubscribeRequest, events_client::EventsClient,
};
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_api::containerd::types::Envelope;
use whalewatcher_testkit::{
    containerd,
    cri::{Flavour, Server},
};

use crate::client::{
    Subscription, channel, container_in_words, named, pod, sandbox, sandbox_in_words, sandboxes, version,
};

const OF_TASKS: &str = "topic~=\"^/tasks/(start|exit)$\",namespace==k8s.io";
const PROBE: &str = "topic==\"/test/probe\"";

fn within<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", namespace.parse().unwrap());
    request
}

/// Subscribed, which the event shows that it published itself.
async fn subscribed(server: &Server) -> Streaming<Envelope> {
    let before = server.containerd().stats().subscribed;
    let mut client = EventsClient::new(channel(server));
    let filters = vec![OF_TASKS.to_owned(), PROBE.to_owned()];
    let stream = tokio::spawn(async move { client.subscribe(SubscribeRequest { filters }).await });
    server.containerd().until(|stats| stats.subscribed > before).await;
    let probe = PublishRequest { topic: "/test/probe".into(), event: Some(prost_types::Any::default()) };
    EventsClient::new(channel(server)).publish(within("test", probe)).await.unwrap();
    let mut stream = stream.await.unwrap().unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().topic, "/test/probe");
    stream
}

/// The next event: `start CONTAINER PID` or `exit CONTAINER PROCESS CODE`.
async fn reported(events: &mut Streaming<Envelope>) -> String {
    let envelope = events.message().await.unwrap().unwrap();
    assert_eq!(envelope.namespace, "k8s.io");
    let value = envelope.event.unwrap().value;
    if envelope.topic == "/tasks/start" {
        let start = TaskStart::decode(&value[..]).unwrap();
        return format!("start {} {}", start.container_id, start.pid);
    }
    let exit = TaskExit::decode(&value[..]).unwrap();
    format!("exit {} {} {}", exit.container_id, exit.id, exit.exit_status)
}

#[tokio::test]
async fn containerd_reports_of_starts_and_ends_before_the_cri_says_so() {
    let server = Server::builder().flavour(Flavour::Containerd1_7).start().unwrap();
    let mut tasks = subscribed(&server).await;
    let mut events = Subscription::registered(&server).await;

    server.begin_pod(pod("p")).unwrap();
    assert_eq!(reported(&mut tasks).await, "start p 4000");
    assert!(sandboxes(&server, None).await.is_empty());
    assert_eq!(sandbox(&server, "p").await.unwrap_err().code(), Code::NotFound);
    server.finish_start("p").unwrap();
    assert_eq!(sandbox_in_words(&server, "p").await, "READY 4000");
    assert_eq!(events.reported(2).await, ["CREATED p READY", "STARTED p READY"]);

    server.create("p", named("a")).unwrap();
    assert_eq!(server.begin_start("a").unwrap(), 4001);
    assert_eq!(reported(&mut tasks).await, "start a 4001");
    assert_eq!(container_in_words(&server, "a").await, "CREATED 0");
    assert_eq!(server.truth().len(), 1);
    server.finish_start("a").unwrap();
    assert_eq!(container_in_words(&server, "a").await, "RUNNING 4001");
    assert_eq!(events.reported(2).await, ["CREATED a READY a:CREATED", "STARTED a READY a:RUNNING"]);

    server.begin_exit("a", 5).unwrap();
    assert_eq!(reported(&mut tasks).await, "exit a a 5");
    assert_eq!(container_in_words(&server, "a").await, "RUNNING 4001");
    server.finish_exit("a").unwrap();
    assert_eq!(container_in_words(&server, "a").await, "EXITED 0");
    assert_eq!(events.reported(1).await, ["STOPPED a READY a:EXITED"]);
}

#[tokio::test]
async fn a_subscriber_of_containerd_takes_nothing_from_the_cri() {
    let server = Server::builder().flavour(Flavour::Containerd1_7).start().unwrap();
    let mut kubelet = Subscription::registered(&server).await;
    let mut tasks = subscribed(&server).await;
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    assert_eq!(
        kubelet.reported(4).await,
        ["CREATED p READY", "STARTED p READY", "CREATED a READY a:CREATED", "STARTED a READY a:RUNNING"]
    );
    assert_eq!([reported(&mut tasks).await, reported(&mut tasks).await], ["start p 4000", "start a 4001"]);
    assert_eq!(server.stats().subscribed, 1);
}

#[tokio::test]
async fn a_finished_exec_is_reported_by_containerd_only_and_has_an_id_of_its_own() {
    let server = Server::builder().flavour(Flavour::Containerd1_7).start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    let mut events = Subscription::registered(&server).await;
    events.reported(4).await;
    let mut tasks = subscribed(&server).await;
    server.exec("a", "probe-1", 1).unwrap();
    assert_eq!(reported(&mut tasks).await, "exit a probe-1 1");
    assert_eq!(container_in_words(&server, "a").await, "RUNNING 4001");
    server.exit("a", 0).unwrap();
    assert_eq!(events.reported(1).await, ["STOPPED a READY a:EXITED"]);
}

#[tokio::test]
async fn of_what_lives_shortly_containerd_reports_the_end_first() {
    let server = Server::builder().flavour(Flavour::Containerd1_7).start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.create("p", named("a")).unwrap();
    let mut events = Subscription::registered(&server).await;
    events.reported(3).await;
    let mut tasks = subscribed(&server).await;
    server.start_and_exit("a", 2).unwrap();
    assert_eq!([reported(&mut tasks).await, reported(&mut tasks).await], ["exit a a 2", "start a 4001"]);
    assert_eq!(events.reported(2).await, ["STARTED a READY a:RUNNING", "STOPPED a READY a:EXITED"]);
}

#[tokio::test]
async fn a_pid_can_come_again() {
    let server = Server::builder().first_pid(100).start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    server.exit("a", 0).unwrap();
    server.continue_with_pid(101);
    server.run("p", named("b")).unwrap();
    assert_eq!(container_in_words(&server, "b").await, "RUNNING 101");
}

#[tokio::test]
async fn containerd_says_whether_it_is_a_sandbox_or_a_container() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    let mut client = ContainersClient::new(channel(&server));
    for (id, kind) in [("p", "sandbox"), ("a", "container")] {
        let answer = client.get(within("k8s.io", GetContainerRequest { id: id.into() })).await.unwrap();
        let labels = answer.into_inner().container.unwrap().labels;
        assert_eq!(labels["io.cri-containerd.kind"], kind);
        assert_eq!(labels["io.kubernetes.pod.name"], "web");
    }
}

#[tokio::test]
async fn containerds_own_api_has_hooks_and_counts_of_its_own() {
    let server = Server::builder().flavour(Flavour::Containerd1_7).start().unwrap();
    let mut client = VersionClient::new(channel(&server));
    assert!(client.version(()).await.unwrap().into_inner().version.starts_with("1.7."));
    assert_eq!((server.stats().requests.total(), server.containerd().stats().requests.version), (0, 1));
    server.containerd().on_call(|call| match call.method() {
        containerd::Method::Version => containerd::Verdict::error(Code::Unavailable, "out of luck"),
        _ => containerd::Verdict::Pass,
    });
    assert_eq!(client.version(()).await.unwrap_err().code(), Code::Unavailable);
    version(&server).await.unwrap();
}

#[tokio::test]
async fn crio_has_no_containerd() {
    let server = Server::builder().flavour(Flavour::Crio).start().unwrap();
    let refused = VersionClient::new(channel(&server)).version(()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.message(), "unknown service containerd.services.version.v1.Version");
}
