//! The CRI runtimes of the test kit, asked by generated clients.
//!
//! What hooks do is proven by the tests of `whalewatcher-cri`, which fail without them. Here is how the
//! runtimes differ.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic, also in what tests share")]

use std::time::Duration;

use prost::Message;
use serde_json::Value;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use whalewatcher_api::containerd::events::{TaskExit, TaskStart};
use whalewatcher_api::containerd::services::events::v1::SubscribeRequest;
use whalewatcher_api::containerd::services::events::v1::events_client::EventsClient;
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_api::cri::v1::{
    ContainerEventResponse, ContainerState, ContainerStatusRequest, ContainerStatusResponse,
    GetEventsRequest, ListContainersRequest, PodSandboxState, PodSandboxStatusRequest,
    PodSandboxStatusResponse, VersionRequest, runtime_service_client::RuntimeServiceClient,
};
use whalewatcher_testkit::cri::{
    Clock, ContainerEventType, ContainerSpec, Error, Fate, Flavour, Info, Method, PodSpec, Server,
};

fn playing(flavour: Flavour) -> Server {
    Server::builder().flavour(flavour).start().unwrap()
}

fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.endpoint()).unwrap().connect_lazy()
}

fn client(server: &Server) -> RuntimeServiceClient<Channel> {
    RuntimeServiceClient::new(channel(server)).max_decoding_message_size(usize::MAX)
}

async fn container(server: &Server, id: &str) -> Result<ContainerStatusResponse, Status> {
    let request = ContainerStatusRequest { container_id: id.into(), verbose: true };
    Ok(client(server).container_status(request).await?.into_inner())
}

async fn sandbox(server: &Server, id: &str) -> Result<PodSandboxStatusResponse, Status> {
    let request = PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: true };
    Ok(client(server).pod_sandbox_status(request).await?.into_inner())
}

/// The state of a container and the additional data of its status.
async fn detailed(server: &Server, id: &str) -> (String, Value) {
    let answer = container(server, id).await.unwrap();
    let info = answer.info.get("info").map(|info| serde_json::from_str(info).unwrap());
    (state(answer.status.unwrap().state), info.unwrap_or_default())
}

fn state(number: i32) -> String {
    let known = ContainerState::try_from(number).map(|state| state.as_str_name().replace("CONTAINER_", ""));
    known.unwrap_or_else(|_| number.to_string())
}

fn readiness(number: i32) -> String {
    let known = PodSandboxState::try_from(number).map(|state| state.as_str_name().replace("SANDBOX_", ""));
    known.unwrap_or_else(|_| number.to_string())
}

/// `ID STATE` of all containers.
async fn containers(server: &Server) -> String {
    let answer = client(server).list_containers(ListContainersRequest::default()).await.unwrap().into_inner();
    let words = answer.containers.iter().map(|known| format!("{} {}", known.id, state(known.state)));
    words.collect::<Vec<_>>().join(", ")
}

/// A subscription, which is answered with its first event.
struct Subscription(
    Option<JoinHandle<Result<Streaming<ContainerEventResponse>, Status>>>,
    Option<Streaming<ContainerEventResponse>>,
);

impl Subscription {
    fn request(server: &Server) -> Self {
        let mut client = client(server);
        let asking = async move { Ok(client.get_container_events(GetEventsRequest {}).await?.into_inner()) };
        Self(Some(tokio::spawn(asking)), None)
    }

    async fn registered(server: &Server) -> Self {
        let subscribed = server.stats().subscribed;
        let subscription = Self::request(server);
        server.until(|stats| stats.subscribed > subscribed).await;
        subscription
    }

    async fn next(&mut self) -> Result<Option<ContainerEventResponse>, Status> {
        if let Some(answer) = self.0.take() {
            self.1 = Some(answer.await.unwrap()?);
        }
        self.1.as_mut().unwrap().message().await
    }

    /// The next events as `KIND ID SANDBOX CONTAINERS`: kind and subject, the state of the sandbox, and the
    /// containers with theirs.
    async fn reported(&mut self, count: usize) -> Vec<String> {
        let mut reported = Vec::new();
        while reported.len() < count {
            let event = self.next().await.unwrap().expect("the stream goes on");
            let kind = event.container_event_type().as_str_name();
            let kind = kind.replace("CONTAINER_", "").replace("_EVENT", "");
            let sandbox = event.pod_sandbox_status.as_ref();
            let sandbox = sandbox.map_or("-".into(), |status| readiness(status.state));
            let mut words = vec![kind, event.container_id.clone(), sandbox];
            let statuses = event.containers_statuses.iter();
            words.extend(statuses.map(|status| format!("{}:{}", status.id, state(status.state))));
            reported.push(words.join(" "));
        }
        reported
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(answer) = &self.0 {
            answer.abort();
        }
    }
}

/// A pod named `web` in a sandbox of this ID.
fn pod(id: &str) -> PodSpec {
    PodSpec::new("web").id(id)
}

/// A container named `nginx` of this ID.
fn named(id: &str) -> ContainerSpec {
    ContainerSpec::new("nginx").id(id)
}

#[tokio::test]
async fn a_pod_lives_and_ends_with_the_events_of_its_runtime() {
    for (flavour, created, deleted) in [
        (Flavour::Containerd2_1, vec!["CREATED p READY"], vec!["DELETED p NOTREADY"]),
        (Flavour::Containerd1_7, vec!["CREATED p READY"], vec!["DELETED p -"]),
        (Flavour::CrioWithEvents, vec![], vec![]),
    ] {
        let server = playing(flavour);
        let mut events = Subscription::registered(&server).await;
        client(&server).version(VersionRequest::default()).await.unwrap();
        assert!(!events.0.as_ref().unwrap().is_finished(), "headers come with the first event");
        server.run_pod(pod("p")).unwrap();
        server.run("p", named("a")).unwrap();
        server.create("p", named("b")).unwrap();
        server.exit("a", 3).unwrap();
        server.remove("a").unwrap();
        server.start("b").unwrap();
        server.remove("p").unwrap();
        server.run_pod(pod("q")).unwrap();
        let lives = [
            "STARTED p READY",
            "CREATED a READY a:CREATED",
            "STARTED a READY a:RUNNING",
            "CREATED b READY a:RUNNING b:CREATED",
            "STOPPED a READY a:EXITED b:CREATED",
            "DELETED a READY b:CREATED",
            "STARTED b READY b:RUNNING",
            "STOPPED b READY b:EXITED",
            "STOPPED p NOTREADY b:EXITED",
            "DELETED b NOTREADY",
        ];
        let expected = [created, lives.to_vec(), deleted].concat();
        assert_eq!(events.reported(expected.len()).await, expected, "{flavour:?}");
        assert!(events.reported(1).await[0].ends_with(" q READY"));
    }
}

#[tokio::test]
async fn containerd_1_7_sends_each_event_to_one_subscriber_and_others_to_all() {
    let server = playing(Flavour::Containerd1_7);
    for number in 0..501 {
        server.run_pod(pod(&format!("p{number:03}"))).unwrap();
    }
    let mut kubelet = Subscription::registered(&server).await;
    let kept = kubelet.reported(1000).await;
    assert_eq!((kept[0].as_str(), kept[999].as_str()), ("CREATED p000 READY", "STARTED p499 READY"));
    let mut thief = Subscription::registered(&server).await;
    for id in ["a", "b"] {
        server.run("p000", named(id)).unwrap();
    }
    assert_eq!(kubelet.reported(2).await.map_first(), ["CREATED a", "CREATED b"]);
    assert_eq!(thief.reported(2).await.map_first(), ["STARTED a", "STARTED b"]);
    for flavour in [Flavour::Containerd2_1, Flavour::CrioWithEvents] {
        let server = playing(flavour);
        let mut first = Subscription::registered(&server).await;
        let mut second = Subscription::registered(&server).await;
        server.run_pod(pod("p")).unwrap();
        server.run("p", named("a")).unwrap();
        assert_eq!(first.reported(3).await, second.reported(3).await, "{flavour:?}");
    }
}

/// The first two words of each.
trait MapFirst {
    fn map_first(self) -> Vec<String>;
}

impl MapFirst for Vec<String> {
    fn map_first(self) -> Vec<String> {
        self.iter().map(|words| words.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }
}

#[tokio::test]
async fn events_without_a_subscriber_are_kept_by_each_runtime_in_its_way() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    server.run_pod(pod("old")).unwrap();
    clock.advance(Duration::from_secs(200));
    server.run_pod(pod("p")).unwrap();
    clock.advance(Duration::from_secs(101));
    // containerd 2 keeps them for five minutes, for the first subscriber only, and again once there is none.
    let mut first = Subscription::registered(&server).await;
    assert_eq!(first.reported(2).await, ["CREATED p READY", "STARTED p READY"]);
    let mut second = Subscription::registered(&server).await;
    server.run("p", named("a")).unwrap();
    assert_eq!(second.reported(1).await, ["CREATED a READY a:CREATED"]);
    drop((first, second));
    server.until(|stats| stats.subscriptions == 0).await;
    server.exit("a", 0).unwrap();
    let mut third = Subscription::registered(&server).await;
    assert_eq!(third.reported(1).await, ["STOPPED a READY a:EXITED"]);
    server.stop_listening().await;
    server.run_pod(pod("unseen")).unwrap();
    server.listen_again().unwrap();
    let mut fourth = Subscription::registered(&server).await;
    server.remove("a").unwrap();
    assert_eq!(fourth.reported(1).await, ["DELETED a READY"], "those kept are lost with the runtime");

    // CRI-O keeps those before its first subscription.
    let server = playing(Flavour::CrioWithEvents);
    server.run_pod(pod("p")).unwrap();
    let mut first = Subscription::registered(&server).await;
    assert_eq!(first.reported(1).await, ["STARTED p READY"]);
    drop(first);
    server.until(|stats| stats.subscriptions == 0).await;
    server.run("p", named("missed")).unwrap();
    let mut second = Subscription::registered(&server).await;
    server.exit("missed", 0).unwrap();
    assert_eq!(second.reported(1).await, ["STOPPED missed READY missed:EXITED"]);

    assert!(Subscription::request(&playing(Flavour::Crio)).next().await.unwrap().is_none());
    for flavour in [Flavour::Containerd1_6, Flavour::CriDockerd] {
        let refused = Subscription::request(&playing(flavour)).next().await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn crio_finds_the_containers_of_an_event_by_a_label() {
    let server = playing(Flavour::CrioWithEvents);
    let mut events = Subscription::registered(&server).await;
    server.run_pod(pod("p").without_kubelet()).unwrap();
    server.create("p", named("a")).unwrap();
    server.run_pod(pod("q")).unwrap();
    server.create("q", named("b")).unwrap();
    let expected = ["STARTED p READY", "CREATED a READY", "STARTED q READY", "CREATED b READY b:CREATED"];
    assert_eq!(events.reported(4).await, expected);
}

#[tokio::test]
async fn containerd_reports_starts_and_ends_before_the_cri_says_so() {
    let server = playing(Flavour::Containerd1_7);
    let mut tasks = EventsClient::new(channel(&server));
    let filters = vec!["topic~=\"^/tasks/(start|exit)$\",namespace==k8s.io".to_owned()];
    let tasks = tokio::spawn(async move { tasks.subscribe(SubscribeRequest { filters }).await });
    server.containerd().until_subscriptions(1).await;
    server.begin_pod(pod("p")).unwrap();
    let mut tasks = tasks.await.unwrap().unwrap().into_inner();
    let mut reported = async || {
        let envelope = tasks.message().await.unwrap().unwrap();
        let value = envelope.event.unwrap().value;
        if envelope.topic == "/tasks/start" {
            return format!("start {}", TaskStart::decode(&value[..]).unwrap().container_id);
        }
        let exit = TaskExit::decode(&value[..]).unwrap();
        format!("exit {} {} {}", exit.container_id, exit.id, exit.exit_status)
    };
    assert_eq!(reported().await, "start p");
    assert_eq!(sandbox(&server, "p").await.unwrap_err().code(), Code::NotFound);
    server.finish_start("p").unwrap();
    assert_eq!(readiness(sandbox(&server, "p").await.unwrap().status.unwrap().state), "READY");

    server.create("p", named("a")).unwrap();
    server.begin_start("a").unwrap();
    assert_eq!(reported().await, "start a");
    assert_eq!((containers(&server).await.as_str(), server.truth().len()), ("a CREATED", 1));
    server.finish_start("a").unwrap();
    server.exec("a", "probe", 1).unwrap();
    assert_eq!(reported().await, "exit a probe 1");
    server.begin_exit("a", 5).unwrap();
    assert_eq!(reported().await, "exit a a 5");
    assert_eq!(containers(&server).await, "a RUNNING");
    server.finish_exit("a").unwrap();
    assert_eq!(containers(&server).await, "a EXITED");
    server.create("p", named("b")).unwrap();
    server.start_and_exit("b", 2).unwrap();
    assert_eq!([reported().await, reported().await], ["exit b b 2", "start b"]);

    let version = VersionClient::new(channel(&server)).version(()).await.unwrap().into_inner().version;
    assert!(version.starts_with("1.7."), "{version}");
    let refused = VersionClient::new(channel(&playing(Flavour::Crio))).version(()).await.unwrap_err();
    assert_eq!(refused.message(), "unknown service containerd.services.version.v1.Version");
}

#[tokio::test]
async fn pids_are_in_the_json_of_each_runtime() {
    for (flavour, keys) in [
        (Flavour::Containerd2_1, ["config", "pid", "sandboxID"]),
        (Flavour::Crio, ["pid", "privileged", "runtimeSpec"]),
    ] {
        let server = playing(flavour);
        server.run_pod(pod("p")).unwrap();
        server.run("p", named("a")).unwrap();
        let (is, info) = detailed(&server, "a").await;
        assert!(is == "RUNNING" && keys.iter().all(|key| info.get(key).is_some()), "{flavour:?}: {info}");
        assert_eq!(info["pid"], server.truth()[0].pid);
        server.set_info("a", Info::WithoutPid).unwrap();
        assert!(detailed(&server, "a").await.1.get("pid").is_none());
        server.set_info("a", Info::Pid(-1)).unwrap();
        assert_eq!(detailed(&server, "a").await.1["pid"], -1);
        server.set_info("a", Info::Missing).unwrap();
        server.set_raw_state("a", Some(77)).unwrap();
        assert_eq!(detailed(&server, "a").await, ("77".into(), Value::Null));
        let brief = ContainerStatusRequest { container_id: "a".into(), verbose: false };
        assert!(client(&server).container_status(brief).await.unwrap().into_inner().info.is_empty());
    }
    let crio = playing(Flavour::Crio);
    crio.run_pod(pod("p").without_infra_container()).unwrap();
    let answer = sandbox(&crio, "p").await.unwrap();
    assert_eq!(readiness(answer.status.unwrap().state), "READY");
    assert!(!answer.info["info"].contains("\"pid\":") && crio.truth().is_empty());
    let dockerd = playing(Flavour::CriDockerd);
    dockerd.run_pod(pod("p")).unwrap();
    assert!(sandbox(&dockerd, "p").await.unwrap().info.is_empty());
}

#[tokio::test]
async fn statuses_carry_times_codes_and_what_their_makers_said() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let step = || clock.advance(Duration::from_secs(10));
    let seconds = |nanoseconds: i64| nanoseconds / 1_000_000_000;
    server
        .run_pod(pod("p").namespace("shop").uid("u-1").label("app", "web").annotation("team", "blue"))
        .unwrap();
    step();
    server.create("p", named("a").attempt(4).label("tier", "front")).unwrap();
    step();
    server.start("a").unwrap();
    step();
    server.run_out_of_memory("a").unwrap();
    server.exit("a", 137).unwrap();
    let ended = container(&server, "a").await.unwrap().status.unwrap();
    let times = [ended.created_at, ended.started_at, ended.finished_at].map(seconds);
    assert_eq!(times, [1_000_010, 1_000_020, 1_000_030]);
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
    let metadata = ended.metadata.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.attempt), ("nginx", 4));
    assert_eq!((&*ended.labels["tier"], &*ended.labels["io.kubernetes.pod.uid"]), ("front", "u-1"));
    assert!(ended.annotations.is_empty(), "its own, not those of its pod");
    let status = sandbox(&server, "p").await.unwrap().status.unwrap();
    assert_eq!((&*status.annotations["team"], seconds(status.created_at)), ("blue", 1_000_000));
    assert_eq!(status.metadata.unwrap().namespace, "shop");
    server.run_pod(pod("bare").without_kubelet()).unwrap();
    assert!(sandbox(&server, "bare").await.unwrap().status.unwrap().labels.is_empty());
    // An ID may be cut short as long as it is clear which one it is; a sandbox is no container.
    assert_eq!(sandbox(&server, "ba").await.unwrap().status.unwrap().id, "bare");
    let missing = container(&server, "p").await.unwrap_err();
    assert_eq!(missing.message(), "an error occurred when try to find container \"p\": not found");
}

#[tokio::test]
async fn events_are_lost_doubled_postponed_and_made_up() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    let mut events = Subscription::registered(&server).await;
    events.reported(2).await;
    server.on_event(|event| match (event.container_event_type(), event.container_id.as_str()) {
        (ContainerEventType::ContainerCreatedEvent, _) => Fate::Vanish,
        (ContainerEventType::ContainerStartedEvent, "late") => Fate::Postpone,
        (ContainerEventType::ContainerStartedEvent, "twice") => Fate::Duplicate,
        _ => Fate::Deliver,
    });
    for id in ["late", "twice"] {
        server.run("p", named(id)).unwrap();
    }
    server.report(ContainerEventType::ContainerStoppedEvent, "late").unwrap();
    let expected = ["STARTED twice", "STARTED twice", "STARTED late", "STOPPED late"];
    assert_eq!(events.reported(4).await.map_first(), expected);
}

#[tokio::test]
async fn a_runtime_counts_calls_and_can_become_another() {
    let server = playing(Flavour::Containerd1_7);
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    container(&server, "a").await.unwrap();
    container(&server, "missing").await.unwrap_err();
    let requests = server.stats().requests;
    assert_eq!((requests.of(Method::ContainerStatus), requests.of_id(Method::ContainerStatus, "a")), (2, 1));
    server.become_flavour(Flavour::Crio);
    let version = client(&server).version(VersionRequest::default()).await.unwrap().into_inner();
    assert_eq!((version.runtime_name.as_str(), containers(&server).await.as_str()), ("cri-o", "a RUNNING"));
    for number in 0..30 {
        let large = named(&format!("c{number}")).annotation("large", "x".repeat(600_000));
        server.create("p", large).unwrap();
    }
    // CRI-O's limit is higher than containerd's.
    assert!(containers(&server).await.contains("c29"));
    server.become_flavour(Flavour::Containerd2_1);
    let refused = client(&server).list_containers(ListContainersRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(Server::builder().start(), Err(Error::NoRuntime)));
    let _context = runtime.enter();
    let server = Server::builder().start().unwrap();
    let why = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert_eq!(why(server.exit("a", 0)), "no such container: a");
    server.run_pod(pod("p")).unwrap();
    assert_eq!(why(server.run_pod(pod("p")).map(drop)), "p exists already");
    server.create("p", named("a")).unwrap();
    assert_eq!(why(server.create("a", named("b")).map(drop)), "a is no sandbox");
    assert_eq!(why(server.exit("a", 0)), "a is not running");
    server.begin_start("a").unwrap();
    assert_eq!(why(server.begin_start("a").map(drop)), "a is changing already");
    server.stop("p").unwrap();
    assert_eq!(why(server.start("a").map(drop)), "a was started before");
    assert_eq!(why(server.create("p", named("b")).map(drop)), "p is not ready");
}
