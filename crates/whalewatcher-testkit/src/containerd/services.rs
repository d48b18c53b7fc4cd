//! What each method answers, from the engine's state at one moment.

use prost_types::Any;
use tonic::Status;
use whalewatcher_api::containerd::services::containers::v1 as api;
use whalewatcher_api::containerd::services::containers::v1::{
    GetContainerRequest, GetContainerResponse, ListContainerMessage, ListContainersRequest,
    ListContainersResponse,
};
use whalewatcher_api::containerd::services::events::v1::PublishRequest;
use whalewatcher_api::containerd::services::introspection::v1::ServerResponse;
use whalewatcher_api::containerd::services::namespaces::v1::{
    ListNamespacesRequest, ListNamespacesResponse, Namespace,
};
use whalewatcher_api::containerd::services::tasks::v1::{
    GetRequest, GetResponse, ListTasksRequest, ListTasksResponse,
};
use whalewatcher_api::containerd::services::version::v1::VersionResponse;
use whalewatcher_api::containerd::v1::types::{Process, Status as ProcessStatus};

use super::{
    call::Call,
    container::{Container, Key, Status as TaskStatus, Task},
    engine::State,
    events::timestamp,
    filters::Filters,
    oci,
    server::Shared,
};

/// The longest identifier that containerd takes.
const LONGEST_IDENTIFIER: usize = 76;

pub(super) fn list_namespaces(
    shared: &Shared,
    _: &Call,
    _: &ListNamespacesRequest,
) -> Result<ListNamespacesResponse, Status> {
    let engine = shared.engine.lock();
    let named = |name: &str| Namespace { name: name.into(), ..Namespace::default() };
    Ok(ListNamespacesResponse { namespaces: engine.namespaces().map(named).collect() })
}

pub(super) fn get_container(
    shared: &Shared,
    call: &Call,
    request: &GetContainerRequest,
) -> Result<GetContainerResponse, Status> {
    let engine = shared.engine.lock();
    let container = found(&engine, namespace(call)?, &request.id)?;
    Ok(GetContainerResponse { container: Some(message(container)) })
}

pub(super) fn list_containers(
    shared: &Shared,
    call: &Call,
    request: &ListContainersRequest,
) -> Result<ListContainersResponse, Status> {
    containers(shared, call, request).map(|containers| ListContainersResponse { containers })
}

pub(super) fn stream_containers(
    shared: &Shared,
    call: &Call,
    request: &ListContainersRequest,
) -> Result<Vec<ListContainerMessage>, Status> {
    let messages = containers(shared, call, request)?.into_iter();
    Ok(messages.map(|container| ListContainerMessage { container: Some(container) }).collect())
}

fn containers(
    shared: &Shared,
    call: &Call,
    request: &ListContainersRequest,
) -> Result<Vec<api::Container>, Status> {
    let namespace = namespace(call)?;
    let filters = Filters::parse(&request.filters)
        .map_err(|wrong| Status::invalid_argument(format!("{wrong}: invalid argument")))?;
    let engine = shared.engine.lock();
    Ok(engine.in_namespace(namespace).filter(|container| filters.matches(*container)).map(message).collect())
}

pub(super) fn get_task(shared: &Shared, call: &Call, request: &GetRequest) -> Result<GetResponse, Status> {
    let engine = shared.engine.lock();
    let container = found(&engine, namespace(call)?, &request.container_id)?;
    let missing = || Status::not_found(format!("task {} not found", request.container_id));
    let task = container.task.ok_or_else(missing)?;
    if !request.exec_id.is_empty() {
        return Err(Status::not_found(format!("process {}: not found", request.exec_id)));
    }
    Ok(GetResponse { process: Some(process(&container.key, task)) })
}

pub(super) fn list_tasks(
    shared: &Shared,
    call: &Call,
    _: &ListTasksRequest,
) -> Result<ListTasksResponse, Status> {
    let namespace = namespace(call)?;
    let engine = shared.engine.lock();
    let tasks = engine.in_namespace(namespace);
    let tasks = tasks.filter_map(|container| Some(process(&container.key, container.task?)));
    Ok(ListTasksResponse { tasks: tasks.collect() })
}

pub(super) fn publish(shared: &Shared, call: &Call, request: &PublishRequest) -> Result<(), Status> {
    let namespace = namespace(call).map_err(|status| {
        Status::new(status.code(), format!("failed publishing event: {}", status.message()))
    })?;
    if let Err(wrong) = valid_topic(&request.topic) {
        let message = format!("envelope topic {:?}: {wrong}: invalid argument", request.topic);
        return Err(Status::invalid_argument(message));
    }
    shared.engine.lock().publish(namespace, request);
    Ok(())
}

pub(super) fn server(shared: &Shared, _: &Call, (): &()) -> Result<ServerResponse, Status> {
    let identity = shared.identity();
    let known = identity.flavour.reports_pid();
    Ok(ServerResponse {
        uuid: identity.uuid.clone(),
        pid: if known { identity.pid } else { 0 },
        pidns: if known { identity.pid_namespace } else { 0 },
        deprecations: Vec::new(),
    })
}

pub(super) fn version(shared: &Shared, _: &Call, (): &()) -> Result<VersionResponse, Status> {
    let identity = shared.identity();
    Ok(VersionResponse { version: identity.version.clone(), revision: identity.revision.clone() })
}

/// The namespace that a call has to name in its metadata.
fn namespace(call: &Call) -> Result<&str, Status> {
    let Some(namespace) = call.namespace().filter(|namespace| !namespace.is_empty()) else {
        return Err(Status::failed_precondition("namespace is required: failed precondition"));
    };
    match valid_identifier(namespace) {
        Ok(()) => Ok(namespace),
        Err(wrong) => {
            Err(Status::invalid_argument(format!("namespace validation: {wrong}: invalid argument")))
        }
    }
}

fn valid_topic(topic: &str) -> Result<(), String> {
    if topic.is_empty() {
        return Err("must not be empty".into());
    }
    let rest = topic.strip_prefix('/').ok_or("must start with '/'")?;
    if rest.is_empty() {
        return Err("must have at least one component".into());
    }
    rest.split('/').try_for_each(|component| {
        valid_identifier(component)
            .map_err(|wrong| format!("failed validation on component {component:?}: {wrong}"))
    })
}

/// Letters and digits, with single dots, dashes and underscores between them.
fn valid_identifier(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("identifier must not be empty".into());
    }
    if text.len() > LONGEST_IDENTIFIER {
        return Err(format!(
            "identifier {text:?} greater than maximum length ({LONGEST_IDENTIFIER} characters)"
        ));
    }
    let mut words = text.split(['.', '_', '-']);
    if words.all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric())) {
        return Ok(());
    }
    Err(format!("identifier {text:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"))
}

fn found<'a>(engine: &'a State, namespace: &str, id: &str) -> Result<&'a Container, Status> {
    let key = Key { namespace: namespace.into(), id: id.into() };
    let missing = |_| Status::not_found(format!("container {id:?} in namespace {namespace:?}: not found"));
    engine.find(&key).map_err(missing)
}

fn message(container: &Container) -> api::Container {
    api::Container {
        id: container.key.id.to_string(),
        labels: container.labels.clone().into_iter().collect(),
        image: container.image.clone(),
        runtime: Some(api::container::Runtime { name: container.runtime.clone(), options: None }),
        spec: Some(Any { type_url: oci::TYPE_URL.into(), value: container.spec.to_vec() }),
        snapshotter: "overlayfs".into(),
        snapshot_key: container.key.id.to_string(),
        created_at: Some(timestamp(container.created)),
        updated_at: Some(timestamp(container.updated)),
        ..api::Container::default()
    }
}

/// containerd fills in `id`, and leaves `container_id` empty.
fn process(key: &Key, task: Task) -> Process {
    let status = match task.status {
        TaskStatus::Created => ProcessStatus::Created,
        TaskStatus::Running => ProcessStatus::Running,
        TaskStatus::Pausing => ProcessStatus::Pausing,
        TaskStatus::Paused => ProcessStatus::Paused,
        TaskStatus::Stopped => ProcessStatus::Stopped,
    };
    // Before the end it is the zero of Go's clock.
    let never = prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 };
    Process {
        id: key.id.to_string(),
        pid: task.pid,
        status: status.into(),
        exit_status: task.exited.map_or(0, |(_, code)| code),
        exited_at: Some(task.exited.map_or(never, |(at, _)| timestamp(at))),
        ..Process::default()
    }
}
