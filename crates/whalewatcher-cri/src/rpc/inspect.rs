//! One container or sandbox, as the runtime knows it.
//!
//! Hints can be ahead of what the runtime says: containerd tells that a task was started before its CRI plugin notes
//! that, and so for a moment the status is that of what was not started yet, or there is none. That is waited for within
//! bounds.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Response, Status};
use whalewatcher_adapter::grpc::{Channel, Hold};
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_api::cri::v1::{
    ContainerStatusRequest, ContainerStatusResponse, PodSandboxStatusRequest, PodSandboxStatusResponse,
};
use whalewatcher_core::{Container, ContainerId, EngineError, ErrorKind, adapter};

use crate::cache::Memory;
use crate::decode::container::{
    Details, Kind, Packer, Pod, State, of_sandbox_status, of_status, reports_pod, sandbox_state, state,
};
use crate::decode::info::Info;
use crate::engine::ENGINE;
use crate::rpc::session::Session;

const CONTAINER: &str = "RuntimeService.ContainerStatus";
const SANDBOX: &str = "RuntimeService.PodSandboxStatus";

/// How long to wait at least before a status is asked for again that is behind, and at most.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(500);

/// Which part of its time limit one inspection waits, for others want to be made, too: of 10 s by default 1 s.
const PART: u32 = 10;

/// For how long after its start what is the runtime's may be told as not started, or not at all.
const BEHIND: Duration = Duration::from_secs(10);

/// The same where nobody can say whether it is the runtime's, or where it is over already.
const UNHEARD: Duration = Duration::from_secs(1);

/// What the runtime says.
#[derive(Debug)]
enum Seen {
    /// That it does not know it.
    Unheard,
    Reported(Kind, State, Box<Reported>),
}

#[derive(Debug)]
struct Reported {
    /// With a PID of 0.
    container: Container,
    /// With a rucksack, if it is alive and has a PID.
    alive: Option<Container>,
    /// Whether it has no process, though it is said to be alive.
    is_processless: bool,
    sandbox: Option<ContainerId>,
}

/// What to make of it.
#[derive(Debug)]
enum Verdict {
    Answer(Option<Container>),
    /// To be asked again soon.
    Wait,
    /// To be asked again later.
    NoPid,
    /// There is no room for it.
    TooMuch(EngineError),
}

/// Asks about it. What is over is told with a PID of 0.
pub(crate) async fn inspect(session: &Session, id: &ContainerId) -> Result<Option<Container>, EngineError> {
    let asked = Instant::now();
    loop {
        let seen = look(session, id).await?;
        let verdict = judge(&mut session.memory(), id, seen);
        match verdict {
            Verdict::Answer(answer) => return Ok(answer),
            Verdict::Wait if asked.elapsed() < session.inspect_limit() / PART => {
                let since = session.memory().get(id).and_then(|member| member.started);
                let since = since.map(|started| started.elapsed()).unwrap_or_default();
                sleep((since / 2).clamp(SHORTEST_DELAY, LONGEST_DELAY)).await;
            }
            Verdict::Wait => {
                let message = format!("{id} was started, but the CRI runtime does not say so");
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

/// Decides what that means.
fn judge(memory: &mut Memory, id: &ContainerId, seen: Seen) -> Verdict {
    let ended = memory.has_ended(id);
    let since = memory.get(id).and_then(|member| member.started).map(|started| started.elapsed());
    let Seen::Reported(kind, state, reported) = seen else {
        if since.is_some_and(|since| since < patience(memory, id)) {
            return Verdict::Wait;
        }
        memory.forget(id);
        return Verdict::Answer(None);
    };
    let reported = *reported;
    let member = memory.is(id, kind, reported.sandbox);
    match (state, reported.alive) {
        _ if ended => {
            // The status may say of it for a while that it is not started yet, or still alive.
            memory.forget(id);
            Verdict::Answer(Some(reported.container))
        }
        (State::Alive, Some(container)) => match memory.lives(&container) {
            Ok(()) => Verdict::Answer(Some(container)),
            Err(error) => Verdict::TooMuch(error),
        },
        (State::Alive, None) if reported.is_processless => {
            member.is_processless = true;
            Verdict::Answer(None)
        }
        (State::Alive, None) => Verdict::NoPid,
        (State::Created, _) if since.is_some_and(|since| since < BEHIND) => Verdict::Wait,
        (State::Created | State::NotAlive, _) => {
            // If an event told of its start, one still tells of its end.
            if member.started.is_none() && member.pid.is_none() {
                memory.forget(id);
            }
            Verdict::Answer(Some(reported.container))
        }
    }
}

/// For how long after its start what the runtime does not know may still become known.
fn patience(memory: &Memory, id: &ContainerId) -> Duration {
    let is_claimed = memory.get(id).is_some_and(|member| member.is_claimed);
    if is_claimed && !memory.has_ended(id) { BEHIND } else { UNHEARD }
}

async fn look(session: &Session, id: &ContainerId) -> Result<Seen, EngineError> {
    let kind = session.memory().get(id).and_then(|member| member.kind);
    if kind != Some(Kind::Sandbox)
        && let seen @ Seen::Reported(..) = container(session, id).await?
    {
        return Ok(seen);
    }
    if kind != Some(Kind::Container)
        && let seen @ Seen::Reported(..) = sandbox(session, id).await?
    {
        return Ok(seen);
    }
    Ok(Seen::Unheard)
}

async fn container(session: &Session, id: &ContainerId) -> Result<Seen, EngineError> {
    let request = ContainerStatusRequest { container_id: id.as_str().to_owned(), verbose: true };
    let answer = session.client(session.limits().status()).container_status(request).await;
    // Another large one comes only once this is taken in.
    let hold = answer.as_ref().ok().and_then(|answer| answer.extensions().get::<Hold>().cloned());
    let hold = hold.unwrap_or_default();
    let Some(answer) = found(CONTAINER, answer)? else { return Ok(Seen::Unheard) };
    let ContainerStatusResponse { status: Some(status), info } = answer else { return Ok(Seen::Unheard) };
    if status.id != id.as_str() {
        return Ok(Seen::Unheard);
    }
    let Info { pid, sandbox, .. } = Info::of(&info);
    let sandbox = sandbox.filter(|sandbox| ContainerId::is_plain(sandbox)).map(ContainerId::from);
    let sandbox = session.memory().get(id).and_then(|member| member.sandbox.clone()).or(sandbox);
    let pod = match &sandbox {
        Some(sandbox) if !reports_pod(&status.labels) => pod(session, sandbox, &hold).await?,
        _ => None,
    };
    let state = state(status.state);
    let details = Details::Container { status: &status, info: &info };
    let alive = |pid| of_status(&status, pod.as_ref(), pid);
    let reported = Reported {
        container: alive(0),
        alive: pack(pid, state, alive, session.packer(), details),
        is_processless: false,
        sandbox,
    };
    Ok(Seen::Reported(Kind::Container, state, reported.into()))
}

async fn sandbox(session: &Session, id: &ContainerId) -> Result<Seen, EngineError> {
    let Some(PodSandboxStatusResponse { status: Some(status), info, .. }) =
        sandbox_status(session.client(session.limits().status()), id, true).await?
    else {
        return Ok(Seen::Unheard);
    };
    let state = sandbox_state(status.state);
    let Info { pid, has_no_pid, .. } = Info::of(&info);
    let details = Details::Sandbox { status: &status, info: &info };
    let alive = |pid| of_sandbox_status(&status, pid);
    let reported = Reported {
        container: alive(0),
        alive: pack(pid, state, alive, session.packer(), details),
        is_processless: has_no_pid && session.runtime().makes_sandboxes_without_process(),
        sandbox: None,
    };
    if let (State::Alive, Some(pod)) = (state, Pod::of(status.metadata.as_ref())) {
        session.memory().learn(id, pod);
    }
    Ok(Seen::Reported(Kind::Sandbox, state, reported.into()))
}

/// The pod of a sandbox; asked for only where neither a list nor an event told it, while the answer with this hold is in use.
async fn pod(session: &Session, sandbox: &ContainerId, hold: &Hold) -> Result<Option<Pod>, EngineError> {
    let known = session.memory().pod(sandbox).cloned();
    if known.is_some() {
        return Ok(known);
    }
    let client = session.client_within(session.limits().pod(), hold);
    let answer = sandbox_status(client, sandbox, false).await?;
    let pod = answer.and_then(|answer| Pod::of(answer.status?.metadata.as_ref()));
    if let Some(pod) = &pod {
        session.memory().learn(sandbox, pod.clone());
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

fn pack(
    pid: Option<u32>,
    state: State,
    container: impl Fn(u32) -> Container,
    packer: Option<&Packer>,
    details: Details<'_>,
) -> Option<Container> {
    let container = container(pid.filter(|_| state == State::Alive)?);
    let rucksack = packer.and_then(|packer| adapter::pack(container.id(), || packer(details)));
    Some(container.with_rucksack(rucksack))
}

/// An answer, unless there is no such thing.
fn found<T>(what: &str, answer: Result<Response<T>, Status>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(ENGINE.status_error(what, status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ContainerId {
        "c1".into()
    }

    fn seen(state: State, pid: Option<u32>) -> Seen {
        let container = |pid| Container::new("c1", "web", pid);
        let (container, alive) = (container(0), pid.map(container));
        let reported = Reported { container, alive, is_processless: false, sandbox: None };
        Seen::Reported(Kind::Container, state, reported.into())
    }

    /// Which PID it is answered to have.
    fn answered(memory: &mut Memory, seen: Seen) -> Option<Option<u32>> {
        match judge(memory, &id(), seen) {
            Verdict::Answer(answer) => Some(answer.map(|container| container.pid())),
            Verdict::Wait | Verdict::NoPid | Verdict::TooMuch(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_reported_to_be_started_is_waited_for_within_bounds() {
        let mut memory = Memory::default();
        assert_eq!(
            answered(&mut memory, seen(State::Created, None)),
            Some(Some(0)),
            "nothing reported of its start"
        );
        assert_eq!(answered(&mut memory, Seen::Unheard), Some(None));
        for is_claimed in [false, true] {
            let member = memory.member(&id());
            (member.started, member.is_claimed) = (Some(Instant::now()), is_claimed);
            assert!(matches!(judge(&mut memory, &id(), Seen::Unheard), Verdict::Wait));
            assert!(matches!(judge(&mut memory, &id(), seen(State::Created, None)), Verdict::Wait));
            tokio::time::advance(UNHEARD).await;
            assert!(matches!(judge(&mut memory, &id(), seen(State::Created, None)), Verdict::Wait));
            if is_claimed {
                assert!(matches!(judge(&mut memory, &id(), Seen::Unheard), Verdict::Wait));
                tokio::time::advance(BEHIND).await;
                assert_eq!(answered(&mut memory, seen(State::Created, None)), Some(Some(0)));
            }
            assert_eq!(answered(&mut memory, Seen::Unheard), Some(None));
            assert!(memory.get(&id()).is_none());
        }
    }

    #[tokio::test]
    async fn what_runs_without_a_pid_is_never_answered_for_and_what_has_no_process_is_not_alive() {
        let mut memory = Memory::default();
        for _ in 0..100 {
            let verdict = judge(&mut memory, &id(), seen(State::Alive, None));
            assert!(matches!(verdict, Verdict::NoPid));
        }
        assert_eq!(answered(&mut memory, seen(State::Alive, Some(7))), Some(Some(7)));
        let mut processless = seen(State::Alive, None);
        if let Seen::Reported(_, _, reported) = &mut processless {
            reported.is_processless = true;
        }
        assert_eq!(answered(&mut memory, processless), Some(None));
        assert!(memory.get(&id()).unwrap().is_processless);
        assert_eq!(answered(&mut memory, seen(State::Alive, Some(8))), Some(Some(8)));
        assert!(!memory.get(&id()).unwrap().is_processless);
        assert_eq!(answered(&mut memory, seen(State::NotAlive, None)), Some(Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_reported_to_be_over_is_over_whatever_its_status_says() {
        for state in [State::Created, State::Alive, State::NotAlive] {
            let mut memory = Memory::default();
            memory.member(&id()).started = Some(Instant::now());
            memory.end(&id());
            assert_eq!(answered(&mut memory, seen(state, Some(7))), Some(Some(0)), "{state:?}");
            assert!(memory.get(&id()).is_none());
        }
        // What is over may still become known, but not for long.
        let mut memory = Memory::default();
        let member = memory.member(&id());
        (member.started, member.is_claimed) = (Some(Instant::now()), true);
        memory.end(&id());
        assert_eq!(answered(&mut memory, Seen::Unheard), None);
        tokio::time::advance(UNHEARD).await;
        assert_eq!(answered(&mut memory, Seen::Unheard), Some(None));
    }

    #[tokio::test]
    async fn whose_start_was_reported_is_remembered_until_its_end_is() {
        let mut memory = Memory::default();
        memory.member(&id()).started = Some(Instant::now());
        assert_eq!(answered(&mut memory, seen(State::NotAlive, None)), Some(Some(0)));
        assert!(memory.get(&id()).is_some());
        let mut memory = Memory::default();
        assert_eq!(answered(&mut memory, seen(State::NotAlive, None)), Some(Some(0)));
        assert!(memory.get(&id()).is_none());
    }
}
