//! What each method answers, from the runtime's state at one moment.

use std::collections::HashMap;

use tonic::Status;
use whalewatcher_api::cri::v1::{
    ContainerStatusRequest, ContainerStatusResponse, ListContainersRequest, ListContainersResponse,
    ListPodSandboxRequest, ListPodSandboxResponse, PodSandboxStatusRequest, PodSandboxStatusResponse,
    RuntimeCondition, RuntimeStatus, StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};

use super::{
    call::Call,
    engine::Unnamed,
    filters::{selects_container, selects_sandbox},
    flavour::Flavour,
    info,
    messages::{container_status, listed_container, listed_sandbox, nanoseconds, sandbox_status},
    server::Shared,
};

pub(super) fn version(shared: &Shared, _: &Call, _: &VersionRequest) -> Result<VersionResponse, Status> {
    let identity = shared.identity();
    Ok(VersionResponse {
        // The version of the kubelet's API, which never changed.
        version: "0.1.0".into(),
        runtime_name: identity.runtime_name.clone(),
        runtime_version: identity.runtime_version.clone(),
        runtime_api_version: "v1".into(),
    })
}

pub(super) fn status(shared: &Shared, _: &Call, request: &StatusRequest) -> Result<StatusResponse, Status> {
    let condition = |name: &str| RuntimeCondition { r#type: name.into(), status: true, ..Default::default() };
    let conditions = vec![condition("RuntimeReady"), condition("NetworkReady")];
    let config = if shared.engine.lock().flavour.is_crio() { "sandboxImage" } else { "config" };
    let info = request.verbose.then(|| HashMap::from([(config.to_owned(), "{}".to_owned())]));
    Ok(StatusResponse {
        status: Some(RuntimeStatus { conditions }),
        info: info.unwrap_or_default(),
        ..StatusResponse::default()
    })
}

pub(super) fn list_containers(
    shared: &Shared,
    _: &Call,
    request: &ListContainersRequest,
) -> Result<ListContainersResponse, Status> {
    let state = shared.engine.lock();
    let selected = state.reported(false).filter(|record| {
        request.filter.as_ref().is_none_or(|filter| selects_container(&state, filter, record))
    });
    Ok(ListContainersResponse { containers: selected.map(listed_container).collect() })
}

pub(super) fn list_sandboxes(
    shared: &Shared,
    _: &Call,
    request: &ListPodSandboxRequest,
) -> Result<ListPodSandboxResponse, Status> {
    let state = shared.engine.lock();
    let selected = state
        .reported(true)
        .filter(|record| request.filter.as_ref().is_none_or(|filter| selects_sandbox(filter, record)));
    Ok(ListPodSandboxResponse { items: selected.map(listed_sandbox).collect() })
}

pub(super) fn of_container(
    shared: &Shared,
    _: &Call,
    request: &ContainerStatusRequest,
) -> Result<ContainerStatusResponse, Status> {
    let state = shared.engine.lock();
    let id = &request.container_id;
    let record = state.look_up(id, false).map_err(|why| no_container(state.flavour, id, why))?;
    Ok(ContainerStatusResponse {
        status: Some(container_status(record)),
        info: match request.verbose {
            true => info::map(record, state.flavour),
            false => HashMap::new(),
        },
    })
}

pub(super) fn of_sandbox(
    shared: &Shared,
    _: &Call,
    request: &PodSandboxStatusRequest,
) -> Result<PodSandboxStatusResponse, Status> {
    let state = shared.engine.lock();
    let id = &request.pod_sandbox_id;
    let record = state.look_up(id, true).map_err(|why| no_sandbox(state.flavour, id, why))?;
    let mut response = PodSandboxStatusResponse {
        status: Some(sandbox_status(record)),
        info: match request.verbose {
            true => info::map(record, state.flavour),
            false => HashMap::new(),
        },
        ..PodSandboxStatusResponse::default()
    };
    if state.flavour == Flavour::CrioWithEvents {
        response.containers_statuses = state.containers_of(&record.id).map(container_status).collect();
        response.timestamp = nanoseconds(state.containerd.tick());
    }
    Ok(response)
}

fn no_container(flavour: Flavour, id: &str, why: Unnamed) -> Status {
    if flavour.is_crio() {
        let why = match why {
            Unnamed::Empty => "container ID should not be empty".into(),
            why => format!("container with ID starting with {id} not found: {}", reason_of_crio(why)),
        };
        return Status::not_found(format!("could not find container {id:?}: {why}"));
    }
    of_containerd(&format!("an error occurred when try to find container {id:?}"), id, why)
}

fn no_sandbox(flavour: Flavour, id: &str, why: Unnamed) -> Status {
    if flavour.is_crio() {
        let why = match why {
            Unnamed::Empty => "PodSandboxId should not be empty".into(),
            why => format!("PodSandbox with ID starting with {id} not found: {}", reason_of_crio(why)),
        };
        return Status::not_found(format!("could not find pod {id:?}: {why}"));
    }
    of_containerd("an error occurred when try to find sandbox", id, why)
}

fn reason_of_crio(why: Unnamed) -> &'static str {
    match why {
        Unnamed::Ambiguous => "ID is ambiguous",
        Unnamed::Empty | Unnamed::Unknown => "ID does not exist",
    }
}

/// containerd knows of one reason only; the others have no code.
fn of_containerd(what: &str, id: &str, why: Unnamed) -> Status {
    match why {
        Unnamed::Unknown => Status::not_found(format!("{what}: not found")),
        Unnamed::Empty => Status::unknown(format!("{what}: prefix can't be empty")),
        Unnamed::Ambiguous => {
            Status::unknown(format!("{what}: multiple IDs found with provided prefix: {id}"))
        }
    }
}
