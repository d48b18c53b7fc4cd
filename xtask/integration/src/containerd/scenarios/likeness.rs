//! Compares the test kit's containerd, which the tests of the client rely on, with the real one.

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::TryStreamExt as _;
use prost::Message;
use prost_types::Any;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use whalewatcher_drivers::api::containerd::events::{
    ContainerUpdate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskPaused, TaskStart,
};
use whalewatcher_drivers::api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_drivers::api::containerd::services::containers::v1::{
    GetContainerRequest, ListContainersRequest,
};
use whalewatcher_drivers::api::containerd::services::events::v1::events_client::EventsClient;
use whalewatcher_drivers::api::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use whalewatcher_drivers::api::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
use whalewatcher_drivers::api::containerd::services::namespaces::v1::ListNamespacesRequest;
use whalewatcher_drivers::api::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use whalewatcher_drivers::api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_drivers::api::containerd::services::tasks::v1::{GetRequest, ListTasksRequest};
use whalewatcher_drivers::api::containerd::types::Envelope;
use whalewatcher_testkit::containerd::{ContainerSpec, Flavour, Server};
use xtask::engines::Release;

use super::super::fixture::ContainerdFixture;
use crate::fixture::Fixture as _;
use crate::recorder::LIMIT;
use whalewatcher_drivers::containerd::{Driver, Plan, within};

const LIFE: &str = "likeness/life";

/// How large the largest specs are: a few of them are more than containerd sends in one message.
const HUGE: usize = 3 * 1024 * 1024;

fn kit(fixture: &ContainerdFixture) -> Result<Server> {
    let flavour = match fixture.engine().engine().release {
        Release::Bookworm => Flavour::V1_6,
        Release::Trixie => Flavour::V1_7,
        _ => Flavour::V2_1,
    };
    Ok(Server::builder().flavour(flavour).start()?)
}

fn channel(endpoint: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(endpoint.to_owned())?.connect_lazy())
}

fn alike(real: &[String], kit: &[String]) -> Result<()> {
    let missing = |these: &[String], those: &[String]| {
        these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>().join("\n      ")
    };
    ensure!(
        real == kit,
        "the test kit differs:\n    of the engine alone\n      {}\n    of the kit alone\n      {}",
        missing(real, kit),
        missing(kit, real)
    );
    Ok(())
}

pub(super) async fn the_test_kit_answers_like_this_engine(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let kit = kit(fixture)?;
    driver.run(&Plan::of("alike/web").named("web").in_project("shop")).await?;
    kit.run(ContainerSpec::new("alike/web").nerdctl_name("web").label("com.docker.compose.project", "shop"))?;
    driver.run(&Plan::of("alike/paused")).await?;
    driver.pause("alike/paused").await?;
    kit.run("alike/paused")?;
    kit.pause("alike/paused")?;
    driver.run(&Plan::of("alike/over").running("exit 3")).await?;
    driver.ended("alike/over").await?;
    kit.run("alike/over")?;
    kit.exit("alike/over", 3)?;
    driver.create(&Plan::of("alike/created")).await?;
    driver.create_task("alike/created").await?;
    kit.create("alike/created")?;
    kit.create_task("alike/created")?;
    driver.create(&Plan::of("alike/idle")).await?;
    kit.create("alike/idle")?;
    for number in 0..6 {
        driver.create(&Plan::of(format!("huge/h{number}")).sized(HUGE)).await?;
        kit.create(ContainerSpec::new(format!("huge/h{number}")).spec_size(HUGE))?;
    }
    let real = observed(channel(&fixture.endpoint())?).await?;
    let imitated = observed(channel(&kit.endpoint())?).await?;
    fixture.figure(format!("{} answers compared", real.len()));
    alike(&real, &imitated)
}

/// Collects the answers, without what may differ between the real engine and the kit.
async fn observed(channel: Channel) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut namespaces = NamespacesClient::new(channel.clone());
    let listed = namespaces.list(ListNamespacesRequest::default()).await?.into_inner().namespaces;
    // Earlier scenarios may have left some.
    let named = |name: &str| listed.iter().filter(|namespace| namespace.name == name).count();
    lines.push(format!("namespaces: {} alike, {} huge", named("alike"), named("huge")));

    let mut containers = ContainersClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    let filtered = |filter: &str| ListContainersRequest {
        filters: Some(filter).filter(|filter| !filter.is_empty()).map(str::to_owned).into_iter().collect(),
    };
    let filters = [
        "",
        "id==web",
        "id!=web",
        "id~=^(web|over)$",
        "id~=/^o/",
        "id~=(",
        "labels.\"nerdctl/name\"==web",
        "labels.\"nerdctl/name\"",
        "labels.\"nerdctl/name\"!=web",
        "runtime.name==io.containerd.runc.v2",
        "absent",
        "id=web",
        "==web",
        "id==\"web",
        "id==web,",
        "id==/web/",
    ];
    for filter in filters {
        let answer = containers.list(within("alike", filtered(filter))?).await;
        lines.push(match answer {
            Ok(answer) => {
                let ids = answer.into_inner().containers.into_iter().map(|container| container.id);
                format!("containers that {filter}: {:?}", ids.collect::<Vec<_>>())
            }
            Err(status) => format!("containers that {filter}: {:?}", status.code()),
        });
    }
    let mut note = |what: String, answer: Result<String, Status>| {
        lines.push(format!("{what}: {}", reported(answer)));
    };
    for namespace in ["", "a/b", "unheard-of", "huge"] {
        let answer = containers.list(in_any(namespace, ListContainersRequest::default())?).await;
        let count = answer.map(|answer| answer.into_inner().containers.len().to_string());
        note(format!("containers of '{namespace}'"), count);
        let request = in_any(namespace, ListContainersRequest::default())?;
        let streamed = match containers.list_stream(request).await {
            Ok(answer) => answer.into_inner().try_collect::<Vec<_>>().await,
            Err(status) => Err(status),
        };
        note(format!("stream of '{namespace}'"), streamed.map(|all| all.len().to_string()));
    }
    for (namespace, id) in [("alike", "web"), ("alike", "absent"), ("unheard-of", "web"), ("", "web")] {
        let answer = containers.get(in_any(namespace, GetContainerRequest { id: id.to_owned() })?).await;
        let answer = answer.map(|answer| {
            let container = answer.into_inner().container.unwrap_or_default();
            let mut labels: Vec<_> = container.labels.into_iter().collect();
            labels.sort();
            let spec = container.spec.unwrap_or_default();
            format!("{} {labels:?} {} {}", container.id, spec.type_url, spec.value.len() > 9_000)
        });
        note(format!("container '{namespace}' '{id}'"), answer);
    }

    let mut tasks = TasksClient::new(channel.clone());
    for namespace in ["alike", "unheard-of", ""] {
        let answer = tasks.list(in_any(namespace, ListTasksRequest::default())?).await;
        let answer = answer.map(|answer| {
            let mut tasks: Vec<_> = answer.into_inner().tasks.iter().map(process).collect();
            tasks.sort();
            tasks.join("; ")
        });
        note(format!("tasks of '{namespace}'"), answer);
    }
    let in_alike = ["web", "over", "idle", "absent"].map(|id| ("alike", id));
    for (namespace, id) in in_alike.into_iter().chain([("unheard-of", "web"), ("", "web")]) {
        let request = GetRequest { container_id: id.to_owned(), exec_id: String::new() };
        let answer = tasks.get(in_any(namespace, request)?).await;
        let answer = answer.map(|answer| process(&answer.into_inner().process.unwrap_or_default()));
        note(format!("task '{namespace}' '{id}'"), answer);
    }

    let mut events = EventsClient::new(channel.clone());
    let topics = ["/likeness/probe", "", "/", "probe", "/a b", "/a//b"].map(|topic| ("alike", topic));
    for (namespace, topic) in topics.into_iter().chain([("", "/likeness/probe")]) {
        let event = Some(Any { type_url: "likeness.Probe".to_owned(), value: b"?".to_vec() });
        let answer =
            events.publish(in_any(namespace, PublishRequest { topic: topic.to_owned(), event })?).await;
        note(format!("publish '{topic}' in '{namespace}'"), answer.map(|_| "done".to_owned()));
    }
    let request = SubscribeRequest { filters: vec!["topic=x".to_owned()] };
    let answer = match events.subscribe(request).await {
        Ok(answer) => answer.into_inner().message().await.map(|_| "an event".to_owned()),
        Err(status) => Err(status),
    };
    note("a wrong subscription".to_owned(), answer.or_else(|status| Ok(format!("{:?}", status.code()))));

    let server = IntrospectionClient::new(channel).server(()).await?.into_inner();
    lines.push(format!("server: {} {} {}", !server.uuid.is_empty(), server.pid > 0, server.pidns > 0));
    Ok(lines)
}

/// In no namespace, if it is empty.
fn in_any<T>(namespace: &str, message: T) -> Result<Request<T>> {
    if namespace.is_empty() { Ok(Request::new(message)) } else { within(namespace, message) }
}

fn reported(answer: Result<String, Status>) -> String {
    answer.unwrap_or_else(|status| {
        // How large it is exactly does not matter.
        let (message, _) = status.message().split_once("larger than max (").unwrap_or((status.message(), ""));
        format!("{:?}: {message}", status.code())
    })
}

fn process(process: &whalewatcher_drivers::api::containerd::v1::types::Process) -> String {
    let exited = process.exited_at.is_some_and(|at| at.seconds > 0);
    format!(
        "{:?} of {:?} {:?} pid {} exited {exited} {}",
        process.id,
        process.container_id,
        process.status(),
        process.pid > 0,
        process.exit_status
    )
}

pub(super) async fn the_test_kit_reports_a_life_like_this_engine(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let kit = kit(fixture)?;
    let real = Subscribed::begin(channel(&fixture.endpoint())?).await?;
    let imitated = Subscribed::begin(channel(&kit.endpoint())?).await?;
    kit.run(LIFE)?;
    kit.exec(LIFE, "probe", 1)?;
    kit.set_label(LIFE, "tier", Some("front"))?;
    kit.pause(LIFE)?;
    kit.resume(LIFE)?;
    kit.exit(LIFE, 137)?;
    kit.delete_task(LIFE)?;
    kit.remove(LIFE)?;
    let mut imitated = imitated.until("/containers/delete").await?;
    lives(&driver).await?;
    let real = real.until("/containers/delete").await?;
    // A shim reports the deletion of its last task and ends: seen with containerd 2.1.9, that event can be
    // late or lost.
    let is_deletion = |line: &String| line.starts_with("/tasks/delete ");
    if !real.iter().any(is_deletion) {
        fixture.figure("the deletion of the task was not reported in time".to_owned());
        imitated.retain(|line| !is_deletion(line));
    }
    alike(&real, &imitated)
}

async fn lives(driver: &Driver) -> Result<()> {
    driver.run(&Plan::of(LIFE)).await?;
    driver.exec(LIFE, "probe", "exit 1").await?;
    driver.label(LIFE, "tier", "front").await?;
    driver.pause(LIFE).await?;
    driver.resume(LIFE).await?;
    driver.kill(LIFE, 9).await?;
    driver.ended(LIFE).await?;
    driver.delete_task(LIFE).await?;
    driver.remove(LIFE).await
}

/// A subscription that is proven to be one.
struct Subscribed(Streaming<Envelope>);

impl Subscribed {
    async fn begin(channel: Channel) -> Result<Subscribed> {
        let mut events = EventsClient::new(channel.clone());
        let request = SubscribeRequest { filters: vec!["namespace==likeness".to_owned()] };
        let mut publisher = EventsClient::new(channel);
        let probing = async {
            loop {
                let event = Some(Any { type_url: "likeness.Probe".to_owned(), value: b"?".to_vec() });
                let request = PublishRequest { topic: "/likeness/probe".to_owned(), event };
                publisher.publish(within("likeness", request)?).await?;
                // Only an event shows that the subscription stands.
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let stream = tokio::select! {
            answer = events.subscribe(request) => answer?.into_inner(),
            failed = probing => return failed,
        };
        Ok(Subscribed(stream))
    }

    /// All events up to one with this topic, in words that do not depend on the engine.
    async fn until(mut self, last: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let event =
                timeout(LIMIT, self.0.message()).await.with_context(|| format!("after {lines:?}"))??;
            let Some(event) = event else { bail!("the events ended after {lines:?}") };
            if event.topic == "/likeness/probe" {
                continue;
            }
            lines.push(in_words(&event)?);
            if event.topic == last {
                // containerd and its shims emit events concurrently.
                lines.sort();
                return Ok(lines);
            }
        }
    }
}

fn in_words(envelope: &Envelope) -> Result<String> {
    let event = envelope.event.clone().unwrap_or_default();
    let value = &event.value[..];
    let what = match envelope.topic.as_str() {
        "/tasks/start" => {
            let start = TaskStart::decode(value)?;
            format!("{} {}", start.container_id, start.pid > 0)
        }
        "/tasks/exit" => {
            let exit = TaskExit::decode(value)?;
            let at = exit.exited_at.is_some_and(|at| at.seconds > 0);
            format!("{} {} {} {} {at}", exit.container_id, exit.id, exit.pid > 0, exit.exit_status)
        }
        "/tasks/delete" => {
            let gone = TaskDelete::decode(value)?;
            let at = gone.exited_at.is_some_and(|at| at.seconds > 0);
            format!("{} '{}' {} {} {at}", gone.container_id, gone.id, gone.pid > 0, gone.exit_status)
        }
        "/tasks/exec-added" => {
            let added = TaskExecAdded::decode(value)?;
            format!("{} {}", added.container_id, added.exec_id)
        }
        "/tasks/exec-started" => {
            let started = TaskExecStarted::decode(value)?;
            format!("{} {} {}", started.container_id, started.exec_id, started.pid > 0)
        }
        "/tasks/paused" | "/tasks/resumed" => TaskPaused::decode(value)?.container_id,
        "/containers/update" => {
            let update = ContainerUpdate::decode(value)?;
            format!("{} {:?}", update.id, update.labels)
        }
        _ => String::new(),
    };
    let time = envelope.timestamp.is_some_and(|time| time.seconds > 0);
    Ok(format!("{} in {} {} {time}: {what}", envelope.topic, envelope.namespace, event.type_url))
}
