//! Inspects one container or sandbox.
//!
//! containerd's own events can be ahead of its CRI plugin. For a moment after a start event, the status may
//! say that the container was not started, or may not exist. Within bounds, that is requested again.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Response, Status};
use whalewatcher_adapter::grpc::{Channel, Hold};
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_api::cri::v1::{
    ContainerStatusRequest, ContainerStatusResponse, PodSandboxStatusRequest, PodSandboxStatusResponse,
};
use whalewatcher_core::{Container, ContainerId, EngineError, ErrorKind, Image, adapter};

use crate::cache::Cache;
use crate::decode::container::{
    Details, Kind, Pod, State, of_sandbox_status, of_status, reports_pod, sandbox_state, state,
};
use crate::decode::info::Info;
use crate::engine::ENGINE;
use crate::rpc::sandbox_inspection::{SandboxInspection, wait_for_network};
use crate::rpc::session::Session;

const CONTAINER: &str = "RuntimeService.ContainerStatus";
const SANDBOX: &str = "RuntimeService.PodSandboxStatus";

/// The delays before a status that is behind is requested again.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(500);

/// The share of the time limit during which one inspection waits, so that it does not block others: 1 s of 10
/// s by default.
const PART: u32 = 10;

/// The grace period after its start during which a container that belongs to CRI may be reported as not
/// started, or not at all.
const GRACE: Duration = Duration::from_secs(10);

/// The grace period where it is unknown whether the container belongs to CRI, and where it is over already.
const GRACE_IF_UNOWNED: Duration = Duration::from_secs(1);

/// The answer of the runtime.
#[derive(Debug)]
enum Lookup {
    /// It does not know the container.
    NotFound,
    Found(Kind, State, Box<Found>),
}

#[derive(Debug)]
struct Found {
    /// The container with its rucksack and a PID of 0.
    container: Container,
    /// The same with its PID, if it is alive.
    alive: Option<Container>,
    /// Whether it has no process, though it is reported as alive.
    is_processless: bool,
    sandbox: Option<ContainerId>,
}

/// What follows from an answer.
#[derive(Debug)]
enum Verdict {
    Answer(Option<Container>),
    /// To be requested again soon.
    Wait,
    /// To be requested again later.
    NoPid,
    /// There is no room for it.
    TooMuch(EngineError),
}

/// Inspects a container or sandbox. One that is over has a PID of 0.
pub(crate) async fn inspect(session: &Session, id: &ContainerId) -> Result<Option<Container>, EngineError> {
    let asked = Instant::now();
    let _underway = SandboxInspection::begin(session, id);
    loop {
        let seen = look_up(session, id).await?;
        if let Lookup::Found(Kind::Container, State::Alive, reported) = &seen
            && let Some(sandbox) = &reported.sandbox
        {
            wait_for_network(session, sandbox, session.inspect_limit() / PART).await;
        }
        let verdict = decide(&mut session.cache(), id, seen);
        match verdict {
            Verdict::Answer(answer) => return Ok(answer),
            Verdict::Wait if asked.elapsed() < session.inspect_limit() / PART => {
                let since = session.cache().get(id).and_then(|entry| entry.started);
                let since = since.map(|started| started.elapsed()).unwrap_or_default();
                sleep((since / 2).clamp(SHORTEST_DELAY, LONGEST_DELAY)).await;
            }
            Verdict::Wait => {
                let message = format!("{id} was started, but the CRI runtime does not report it as started");
                return Err(EngineError::new(ErrorKind::Failed, message));
            }
            Verdict::TooMuch(error) => return Err(error),
            Verdict::NoPid => {
                let remedy = session.runtime().remedy_for_missing_pids();
                let message = format!("the CRI runtime reports no PID of {id}, though it runs{remedy}");
                return Err(EngineError::new(ErrorKind::Failed, message));
            }
        }
    }
}

/// Decides what follows from an answer, and records it.
fn decide(cache: &mut Cache, id: &ContainerId, seen: Lookup) -> Verdict {
    let is_over = cache.get(id).is_some_and(|entry| entry.is_over);
    let since = cache.get(id).and_then(|entry| entry.started).map(|started| started.elapsed());
    let Lookup::Found(kind, state, reported) = seen else {
        if since.is_some_and(|since| since < grace_period(cache, id)) {
            return Verdict::Wait;
        }
        cache.forget(id);
        return Verdict::Answer(None);
    };
    let reported = *reported;
    let sandbox = reported.sandbox.filter(|_| kind == Kind::Container);
    cache.record_status(id, kind, sandbox.clone());
    match (state, reported.alive) {
        (_, alive) if is_over => {
            // For a while the status may still report it as not started, or as alive.
            cache.forget(id);
            Verdict::Answer(Some(alive.unwrap_or(reported.container)))
        }
        (State::Alive, Some(container)) => {
            let container = match sandbox {
                Some(sandbox) => container.with_networks(cache.networks.take(&sandbox, id)),
                None => container,
            };
            match cache.record_alive(&container) {
                Ok(()) => Verdict::Answer(Some(container)),
                Err(error) => Verdict::TooMuch(error),
            }
        }
        (State::Alive, None) if reported.is_processless => {
            cache.record_processless(id);
            Verdict::Answer(None)
        }
        (State::Alive, None) => Verdict::NoPid,
        (State::Created, _) if since.is_some_and(|since| since < GRACE) => Verdict::Wait,
        (State::Created | State::NotAlive, _) => {
            // If an event reported its start, an event will report its end.
            if since.is_none() {
                cache.forget(id);
            }
            Verdict::Answer(Some(reported.container))
        }
    }
}

/// Returns the grace period of a container that the runtime does not know.
fn grace_period(cache: &Cache, id: &ContainerId) -> Duration {
    let is_owned = cache.get(id).is_some_and(|entry| entry.is_owned);
    let is_over = cache.get(id).is_some_and(|entry| entry.is_over);
    if is_owned && !is_over { GRACE } else { GRACE_IF_UNOWNED }
}

async fn look_up(session: &Session, id: &ContainerId) -> Result<Lookup, EngineError> {
    let kind = session.cache().get(id).and_then(|entry| entry.kind);
    if kind != Some(Kind::Sandbox)
        && let seen @ Lookup::Found(..) = container(session, id).await?
    {
        return Ok(seen);
    }
    if kind != Some(Kind::Container)
        && let seen @ Lookup::Found(..) = sandbox(session, id).await?
    {
        return Ok(seen);
    }
    Ok(Lookup::NotFound)
}

async fn container(session: &Session, id: &ContainerId) -> Result<Lookup, EngineError> {
    let request = ContainerStatusRequest { container_id: id.as_str().to_owned(), verbose: true };
    let answer = session.client(session.limits().status()).container_status(request).await;
    // Another large answer is read only after this one has been decoded.
    let hold = answer.as_ref().ok().and_then(|answer| answer.extensions().get::<Hold>().cloned());
    let hold = hold.unwrap_or_default();
    let Some(answer) = found(CONTAINER, answer)? else { return Ok(Lookup::NotFound) };
    let ContainerStatusResponse { status: Some(status), info } = answer else { return Ok(Lookup::NotFound) };
    if status.id != id.as_str() {
        return Ok(Lookup::NotFound);
    }
    let Info { pid, sandbox, .. } = Info::of(&info);
    let sandbox = sandbox.filter(|sandbox| ContainerId::is_plain(sandbox)).map(ContainerId::from);
    let sandbox = session.cache().get(id).and_then(|entry| entry.sandbox.clone()).or(sandbox);
    let pod = match &sandbox {
        Some(sandbox) if !reports_pod(&status.labels) => pod(session, sandbox, &hold).await?,
        _ => None,
    };
    let state = state(status.state);
    let details = Details::Container { status: &status, info: &info };
    let rucksack = session.packer().and_then(|packer| adapter::pack(id, || packer(details)));
    let container = |pid| of_status(&status, pod.as_ref(), pid).with_rucksack(rucksack.clone());
    let reported = Found {
        container: container(0),
        alive: pid.filter(|_| state == State::Alive).map(container),
        is_processless: false,
        sandbox,
    };
    Ok(Lookup::Found(Kind::Container, state, reported.into()))
}

async fn sandbox(session: &Session, id: &ContainerId) -> Result<Lookup, EngineError> {
    let Some(PodSandboxStatusResponse { status: Some(status), info, .. }) =
        sandbox_status(session.client(session.limits().status()), id, true).await?
    else {
        return Ok(Lookup::NotFound);
    };
    let state = sandbox_state(status.state);
    let Info { pid, has_no_pid, image, .. } = Info::of(&info);
    let image = image.map(Image::new);
    let details = Details::Sandbox { status: &status, info: &info };
    let rucksack = session.packer().and_then(|packer| adapter::pack(id, || packer(details)));
    let container =
        |pid| of_sandbox_status(&status, pid).with_image(image.clone()).with_rucksack(rucksack.clone());
    let reported = Found {
        container: container(0),
        alive: pid.filter(|_| state == State::Alive).map(container),
        is_processless: has_no_pid && session.runtime().makes_sandboxes_without_process(),
        sandbox: None,
    };
    if state == State::Alive {
        if let Some(pod) = Pod::of(status.metadata.as_ref()) {
            session.cache().record_pod(id, pod);
        }
        session.record_network(id, &status);
    }
    Ok(Lookup::Found(Kind::Sandbox, state, reported.into()))
}

/// Returns the pod of a sandbox. It is requested, while the answer with this hold is in use, only if no list
/// and no event contained it.
async fn pod(session: &Session, sandbox: &ContainerId, hold: &Hold) -> Result<Option<Pod>, EngineError> {
    let known = session.cache().pod(sandbox).cloned();
    if known.is_some() {
        return Ok(known);
    }
    let client = session.client_within(session.limits().pod(), hold);
    let answer = sandbox_status(client, sandbox, false).await?;
    let Some(status) = answer.and_then(|answer| answer.status) else { return Ok(None) };
    let pod = Pod::of(status.metadata.as_ref());
    if let Some(pod) = &pod {
        session.cache().record_pod(sandbox, pod.clone());
    }
    if sandbox_state(status.state) == State::Alive {
        session.record_network(sandbox, &status);
    }
    Ok(pod)
}

async fn sandbox_status(
    mut client: RuntimeServiceClient<Channel>,
    id: &ContainerId,
    verbose: bool,
) -> Result<Option<PodSandboxStatusResponse>, EngineError> {
    let request = PodSandboxStatusRequest { pod_sandbox_id: id.as_str().to_owned(), verbose };
    let answer = client.pod_sandbox_status(request).await;
    let answer = found(SANDBOX, answer)?;
    Ok(answer.filter(|answer| answer.status.as_ref().is_some_and(|status| status.id == id.as_str())))
}

/// Returns the answer; `None` if there is no such container.
fn found<T>(what: &str, answer: Result<Response<T>, Status>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(ENGINE.status_error(what, status)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id() -> ContainerId {
        "c1".into()
    }

    fn seen(state: State, pid: Option<u32>) -> Lookup {
        let container = |pid| Container::new("c1", "web", pid);
        let (container, alive) = (container(0), pid.map(container));
        let reported = Found { container, alive, is_processless: false, sandbox: None };
        Lookup::Found(Kind::Container, state, reported.into())
    }

    /// Which PID it is answered to have.
    fn answered(cache: &mut Cache, seen: Lookup) -> Option<Option<u32>> {
        match decide(cache, &id(), seen) {
            Verdict::Answer(answer) => Some(answer.map(|container| container.pid())),
            Verdict::Wait | Verdict::NoPid | Verdict::TooMuch(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_cri_does_not_confirm_is_waited_for() {
        let mut cache = Cache::default();
        assert_eq!(
            answered(&mut cache, seen(State::Created, None)),
            Some(Some(0)),
            "nothing reported of its start"
        );
        assert_eq!(answered(&mut cache, Lookup::NotFound), Some(None));
        for is_owned in [false, true] {
            let entry = cache.entry(&id());
            (entry.started, entry.is_owned) = (Some(Instant::now()), is_owned);
            assert!(matches!(decide(&mut cache, &id(), Lookup::NotFound), Verdict::Wait));
            assert!(matches!(decide(&mut cache, &id(), seen(State::Created, None)), Verdict::Wait));
            tokio::time::advance(GRACE_IF_UNOWNED).await;
            assert!(matches!(decide(&mut cache, &id(), seen(State::Created, None)), Verdict::Wait));
            if is_owned {
                assert!(matches!(decide(&mut cache, &id(), Lookup::NotFound), Verdict::Wait));
                tokio::time::advance(GRACE).await;
                assert_eq!(answered(&mut cache, seen(State::Created, None)), Some(Some(0)));
            }
            assert_eq!(answered(&mut cache, Lookup::NotFound), Some(None));
            assert!(cache.get(&id()).is_none());
        }
    }

    #[tokio::test]
    async fn what_runs_without_a_pid_is_never_answered_for_and_what_has_no_process_is_not_alive() {
        let mut cache = Cache::default();
        cache.record_kind(&id(), Kind::Container, None);
        for _ in 0..100 {
            let verdict = decide(&mut cache, &id(), seen(State::Alive, None));
            assert!(matches!(verdict, Verdict::NoPid));
        }
        assert_eq!(answered(&mut cache, seen(State::Alive, Some(7))), Some(Some(7)));
        let mut processless = seen(State::Alive, None);
        if let Lookup::Found(_, _, reported) = &mut processless {
            reported.is_processless = true;
        }
        assert_eq!(answered(&mut cache, processless), Some(None));
        assert!(cache.get(&id()).unwrap().is_processless);
        assert_eq!(answered(&mut cache, seen(State::Alive, Some(8))), Some(Some(8)));
        assert!(!cache.get(&id()).unwrap().is_processless);
        assert_eq!(answered(&mut cache, seen(State::NotAlive, None)), Some(Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_reported_to_be_over_is_not_waited_for() {
        for state in [State::Created, State::Alive, State::NotAlive] {
            let mut cache = Cache::default();
            let entry = cache.entry(&id());
            (entry.started, entry.is_over) = (Some(Instant::now()), true);
            assert_eq!(answered(&mut cache, seen(state, None)), Some(Some(0)), "{state:?}");
            assert!(cache.get(&id()).is_none());
        }
        // What is over may still become known, but not for long.
        let mut cache = Cache::default();
        let entry = cache.entry(&id());
        (entry.started, entry.is_owned, entry.is_over) = (Some(Instant::now()), true, true);
        assert_eq!(answered(&mut cache, Lookup::NotFound), None);
        tokio::time::advance(GRACE_IF_UNOWNED).await;
        assert_eq!(answered(&mut cache, Lookup::NotFound), Some(None));
    }

    #[tokio::test]
    async fn a_status_that_is_behind_is_answered_and_not_recorded() {
        let mut cache = Cache::default();
        let entry = cache.entry(&id());
        (entry.started, entry.is_over) = (Some(Instant::now()), true);
        for _ in 0..2 {
            assert_eq!(
                answered(&mut cache, seen(State::Alive, Some(7))),
                Some(Some(7)),
                "its PID, for a brief life"
            );
            assert!(cache.get(&id()).is_none() && cache.unlisted_lives(&HashSet::new()).is_empty());
        }
        assert!(matches!(decide(&mut cache, &id(), seen(State::Alive, None)), Verdict::NoPid));
    }

    #[tokio::test]
    async fn an_entry_lasts_from_the_start_event_to_the_end() {
        let mut cache = Cache::default();
        cache.entry(&id()).started = Some(Instant::now());
        assert_eq!(answered(&mut cache, seen(State::NotAlive, None)), Some(Some(0)));
        assert!(cache.get(&id()).is_some());
        let mut cache = Cache::default();
        cache.record_kind(&id(), Kind::Container, None);
        assert_eq!(answered(&mut cache, seen(State::NotAlive, None)), Some(Some(0)));
        assert!(cache.get(&id()).is_none(), "only a list contained it");
    }
}
