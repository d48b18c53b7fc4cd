//! What the runtime's own events mean.

use std::time::SystemTime;

use tokio::time::Instant;
use whalewatcher_api::cri::v1::{
    ContainerEventResponse, ContainerEventType, ContainerStatus, PodSandboxStatus,
};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{Container, ContainerId};

use crate::cache::Memory;
use crate::decode::container::{
    Kind, Pod, State, finished, of_sandbox_status, of_status, sandbox_state, state,
};
use crate::decode::time::{end, moment};

/// Since when events are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    asked: Instant,
}

impl Since {
    pub(crate) fn now() -> Self {
        Self { asked: Instant::now() }
    }

    pub(crate) fn elapsed(self) -> std::time::Duration {
        self.asked.elapsed()
    }

    /// Whether something happened before. Judged by how long it is ago and not by the hour, so that clocks may be set
    /// meanwhile.
    pub(crate) fn is_after(self, happened: Option<SystemTime>, now: SystemTime) -> bool {
        let ago = happened.and_then(|happened| now.duration_since(happened).ok());
        ago.is_some_and(|ago| ago > self.asked.elapsed())
    }
}

/// When an event was made.
pub(crate) fn made_at(event: &ContainerEventResponse) -> Option<SystemTime> {
    moment(event.created_at)
}

/// What an event tells; nothing if that is known, or does not matter.
///
/// `replayed` are those that were made before anybody asked: of what began then the list tells, if it is still alive.
pub(crate) fn take(
    event: &ContainerEventResponse,
    memory: &mut Memory,
    since: Since,
    replayed: bool,
    now: SystemTime,
) -> Vec<EngineEvent> {
    if !ContainerId::is_plain(&event.container_id) {
        return Vec::new();
    }
    let id = ContainerId::from(event.container_id.as_str());
    let subject = Subject::of(event);
    match ContainerEventType::try_from(event.container_event_type) {
        Ok(ContainerEventType::ContainerCreatedEvent) => Vec::new(),
        Ok(ContainerEventType::ContainerStartedEvent) if replayed => Vec::new(),
        Ok(ContainerEventType::ContainerStartedEvent) => {
            started(id, event, &subject, memory).into_iter().collect()
        }
        Ok(ContainerEventType::ContainerStoppedEvent | ContainerEventType::ContainerDeletedEvent) => {
            stopped(id, event, &subject, memory, since, now)
        }
        Err(_) => vec![EngineEvent::Changed { id, at: made_at(event) }],
    }
}

/// Whom an event is about, as it tells itself.
enum Subject<'a> {
    Container(&'a ContainerStatus, Option<&'a PodSandboxStatus>),
    Sandbox(&'a PodSandboxStatus),
    UnlistedScopes,
}

impl<'a> Subject<'a> {
    fn of(event: &'a ContainerEventResponse) -> Self {
        let sandbox = event.pod_sandbox_status.as_ref();
        if let Some(sandbox) = sandbox.filter(|sandbox| sandbox.id == event.container_id) {
            return Self::Sandbox(sandbox);
        }
        match event.containers_statuses.iter().find(|status| status.id == event.container_id) {
            Some(status) => Self::Container(status, sandbox),
            None => Self::UnlistedScopes,
        }
    }

    fn state(&self) -> Option<State> {
        match self {
            Self::Container(status, _) => Some(state(status.state)),
            Self::Sandbox(status) => Some(sandbox_state(status.state)),
            Self::UnlistedScopes => None,
        }
    }

    fn preview(&self) -> Option<Container> {
        match self {
            Self::Container(status, sandbox) => {
                let pod = Pod::of(sandbox.and_then(|sandbox| sandbox.metadata.as_ref()));
                Some(of_status(status, pod.as_ref(), 0))
            }
            Self::Sandbox(status) => Some(of_sandbox_status(status, 0)),
            Self::UnlistedScopes => None,
        }
    }

    fn began(&self) -> Option<SystemTime> {
        match self {
            Self::Container(status, _) => moment(status.started_at),
            Self::Sandbox(status) => moment(status.created_at),
            Self::UnlistedScopes => None,
        }
    }

    /// When it ended, and with which exit code.
    fn finished(&self) -> (Option<SystemTime>, Option<i32>) {
        match self {
            Self::Container(status, _) if state(status.state) == State::NotAlive => finished(status),
            _ => (None, None),
        }
    }

    /// Has it remembered what it is.
    fn note(&self, id: &ContainerId, memory: &mut Memory) {
        match self {
            Self::Container(_, sandbox) => {
                let sandbox = sandbox.filter(|sandbox| ContainerId::is_plain(&sandbox.id));
                let sandbox_id = sandbox.map(|sandbox| ContainerId::from(sandbox.id.as_str()));
                if let (Some(id), Some(pod)) =
                    (&sandbox_id, sandbox.and_then(|sandbox| Pod::of(sandbox.metadata.as_ref())))
                {
                    memory.learn(id, pod);
                }
                memory.is(id, Kind::Container, sandbox_id);
            }
            Self::Sandbox(status) => {
                memory.is(id, Kind::Sandbox, None);
                if let Some(pod) = Pod::of(status.metadata.as_ref()) {
                    memory.learn(id, pod);
                }
            }
            Self::UnlistedScopes => {}
        }
    }
}

fn started(
    id: ContainerId,
    event: &ContainerEventResponse,
    subject: &Subject<'_>,
    memory: &mut Memory,
) -> Option<EngineEvent> {
    if memory.was_reported_to_end(&id) || memory.get(&id).is_some_and(|member| member.pid.is_some()) {
        return None;
    }
    subject.note(&id, memory);
    memory.member(&id).started = Some(Instant::now());
    let at = subject.began().or(made_at(event));
    Some(EngineEvent::Started { id, at, pid: None, preview: subject.preview().map(Box::new) })
}

fn stopped(
    id: ContainerId,
    event: &ContainerEventResponse,
    subject: &Subject<'_>,
    memory: &mut Memory,
    since: Since,
    now: SystemTime,
) -> Vec<EngineEvent> {
    // It contradicts itself, so it is no more than a hint.
    if subject.state() == Some(State::Alive) {
        return vec![EngineEvent::Changed { id, at: made_at(event) }];
    }
    let member = memory.forget(&id);
    if memory.was_reported_to_end(&id) {
        return Vec::new();
    }
    let pid = memory.end(&id);
    if member.as_ref().is_some_and(|member| member.is_processless) {
        return Vec::new();
    }
    let mut reported = Vec::new();
    let began = subject.began();
    let was_reported = member.is_some();
    // The events of a life that is very short may come the other way round.
    if !was_reported && began.is_some() && !since.is_after(began, now) {
        let preview = subject.preview().map(Box::new);
        reported.push(EngineEvent::Started { id: id.clone(), at: began, pid: None, preview });
    }
    let (finished, code) = subject.finished();
    let at = end(finished.or(made_at(event)), began);
    let pid = member.and_then(|member| member.pid).or(pid);
    reported.push(EngineEvent::Exited { id, pid, at, code });
    reported
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use whalewatcher_api::cri::v1::{ContainerMetadata, PodSandboxMetadata};

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// So long after 1970, as CRI writes it.
    fn seconds(seconds: i64) -> i64 {
        seconds * SECOND
    }

    /// A runtime that has been subscribed to since second 1000, and tells what happens at second 1010.
    struct Reported {
        memory: Memory,
        since: Since,
    }

    impl Reported {
        async fn new() -> Self {
            let reported = Self { memory: Memory::default(), since: Since::now() };
            tokio::time::advance(Duration::from_secs(10)).await;
            reported
        }

        fn take(&mut self, event: &ContainerEventResponse) -> Vec<EngineEvent> {
            let now = UNIX_EPOCH + Duration::from_secs(1010);
            let replayed = self.since.is_after(made_at(event), now);
            take(event, &mut self.memory, self.since, replayed, now)
        }
    }

    fn pod(state: PodState) -> PodSandboxStatus {
        let metadata = PodSandboxMetadata { name: "shop".into(), ..PodSandboxMetadata::default() };
        let state = state as i32;
        let created_at = seconds(1001);
        PodSandboxStatus {
            id: "s1".into(),
            metadata: Some(metadata),
            state,
            created_at,
            ..PodSandboxStatus::default()
        }
    }

    #[derive(Clone, Copy)]
    enum PodState {
        Ready = 0,
        NotReady = 1,
    }

    fn running() -> ContainerStatus {
        ContainerStatus {
            id: "c1".into(),
            metadata: Some(ContainerMetadata { name: "web".into(), attempt: 0 }),
            state: 1,
            started_at: seconds(1005),
            ..ContainerStatus::default()
        }
    }

    fn exited() -> ContainerStatus {
        ContainerStatus { state: 2, finished_at: seconds(1006), exit_code: 3, ..running() }
    }

    fn event(kind: ContainerEventType, status: Option<ContainerStatus>) -> ContainerEventResponse {
        ContainerEventResponse {
            container_id: "c1".into(),
            container_event_type: kind as i32,
            created_at: seconds(1008),
            pod_sandbox_status: Some(pod(PodState::Ready)),
            containers_statuses: status.into_iter().collect(),
        }
    }

    use ContainerEventType::{
        ContainerCreatedEvent as Created, ContainerDeletedEvent as Deleted, ContainerStartedEvent as Started,
        ContainerStoppedEvent as Stopped,
    };

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn id() -> ContainerId {
        "c1".into()
    }

    fn preview(status: &ContainerStatus) -> Option<Box<Container>> {
        let pod = Pod::of(pod(PodState::Ready).metadata.as_ref());
        Some(Box::new(of_status(status, pod.as_ref(), 0)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_reports_all_but_the_pid_and_an_end_its_time_and_exit_code() {
        let mut reported = Reported::new().await;
        assert_eq!(reported.take(&event(Created, Some(running()))), []);
        let begun = EngineEvent::Started { id: id(), at: at(1005), pid: None, preview: preview(&running()) };
        assert_eq!(reported.take(&event(Started, Some(running()))), [begun]);
        let member = reported.memory.get(&id()).unwrap();
        assert_eq!((member.kind, member.sandbox.as_deref()), (Some(Kind::Container), Some("s1")));
        assert!(reported.memory.pod(&"s1".into()).is_some());
        reported.memory.member(&id()).pid = Some(7);
        let over = EngineEvent::Exited { id: id(), pid: Some(7), at: at(1006), code: Some(3) };
        assert_eq!(reported.take(&event(Stopped, Some(exited()))), [over]);
        assert!(reported.memory.get(&id()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sandbox_is_reported_by_its_own_status() {
        let mut reported = Reported::new().await;
        let of = |kind: ContainerEventType, state| ContainerEventResponse {
            container_id: "s1".into(),
            pod_sandbox_status: Some(pod(state)),
            ..event(kind, None)
        };
        let preview = Some(Box::new(of_sandbox_status(&pod(PodState::Ready), 0)));
        let begun = EngineEvent::Started { id: "s1".into(), at: at(1001), pid: None, preview };
        assert_eq!(reported.take(&of(Started, PodState::Ready)), [begun]);
        assert_eq!(reported.memory.get(&"s1".into()).unwrap().kind, Some(Kind::Sandbox));
        let over = EngineEvent::Exited { id: "s1".into(), pid: None, at: at(1008), code: None };
        assert_eq!(reported.take(&of(Stopped, PodState::NotReady)), [over]);
        assert_eq!(reported.take(&of(Deleted, PodState::NotReady)), []);
        assert!(reported.memory.pod(&"s1".into()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_to_be_alive_or_over_is_not_reported_again() {
        let mut reported = Reported::new().await;
        reported.memory.is(&id(), Kind::Container, None).pid = Some(7);
        assert_eq!(reported.take(&event(Started, Some(running()))), []);
        assert_eq!(reported.take(&event(Deleted, None)).len(), 1);
        for again in [event(Stopped, Some(exited())), event(Deleted, None), event(Started, Some(running()))] {
            assert_eq!(reported.take(&again), []);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_overtakes_its_start_is_reported_with_it() {
        let mut reported = Reported::new().await;
        let both = reported.take(&event(Stopped, Some(exited())));
        let begun = EngineEvent::Started { id: id(), at: at(1005), pid: None, preview: preview(&exited()) };
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1006), code: Some(3) };
        assert_eq!(both, [begun, over]);
        assert_eq!(reported.take(&event(Started, Some(exited()))), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_before_anybody_asked_is_not_reported_by_its_end() {
        let mut reported = Reported::new().await;
        let old = ContainerStatus { started_at: seconds(999), ..exited() };
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1006), code: Some(3) };
        assert_eq!(reported.take(&event(Stopped, Some(old))), [over]);
    }

    #[tokio::test(start_paused = true)]
    async fn replayed_starts_are_nothing_and_replayed_ends_are_ends() {
        let mut reported = Reported::new().await;
        let old = |event| ContainerEventResponse { created_at: seconds(998), ..event };
        let status = ContainerStatus { started_at: seconds(990), finished_at: seconds(995), ..exited() };
        assert_eq!(reported.take(&old(event(Started, Some(status.clone())))), []);
        assert!(reported.memory.get(&id()).is_none());
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(995), code: Some(3) };
        assert_eq!(reported.take(&old(event(Stopped, Some(status)))), [over]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_before_its_beginning_is_just_after_it() {
        let mut reported = Reported::new().await;
        let odd = ContainerStatus { finished_at: seconds(1004), exit_code: -1, ..exited() };
        reported.take(&event(Started, Some(odd.clone())));
        let then = at(1005).map(|began| began + Duration::from_nanos(1));
        let over = EngineEvent::Exited { id: id(), pid: None, at: then, code: None };
        assert_eq!(reported.take(&event(Stopped, Some(odd))), [over]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_contradicts_itself_or_is_not_known_is_a_hint() {
        let mut reported = Reported::new().await;
        let hint = EngineEvent::Changed { id: id(), at: at(1008) };
        assert_eq!(reported.take(&event(Stopped, Some(running()))), std::slice::from_ref(&hint));
        let unknown = ContainerEventResponse { container_event_type: 99, ..event(Started, Some(running())) };
        assert_eq!(reported.take(&unknown), [hint]);
        assert!(!reported.memory.has_ended(&id()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_any_status_a_start_and_an_end_are_reported_all_the_same() {
        let mut reported = Reported::new().await;
        let bare = |kind| ContainerEventResponse { pod_sandbox_status: None, ..event(kind, None) };
        let begun = EngineEvent::Started { id: id(), at: at(1008), pid: None, preview: None };
        assert_eq!(reported.take(&bare(Started)), [begun]);
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1008), code: None };
        assert_eq!(reported.take(&bare(Deleted)), [over]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_proper_id_concerns_nobody_and_what_has_no_process_has_no_end() {
        let mut reported = Reported::new().await;
        for wrong in ["", "a/b", "a\n"] {
            for kind in [Started, Stopped] {
                let event =
                    ContainerEventResponse { container_id: wrong.into(), ..event(kind, Some(running())) };
                assert_eq!(reported.take(&event), [], "{wrong:?}");
            }
        }
        reported.memory.is(&id(), Kind::Sandbox, None).is_processless = true;
        assert_eq!(reported.take(&event(Stopped, Some(exited()))), []);
        assert!(reported.memory.has_ended(&id()));
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_may_be_set_while_events_are_reported() {
        let since = Since::now();
        tokio::time::advance(Duration::from_secs(10)).await;
        let clock_was_set_back = UNIX_EPOCH + Duration::from_secs(500);
        assert!(!since.is_after(at(500), clock_was_set_back));
        assert!(!since.is_after(at(501), clock_was_set_back), "ahead of the clock");
        assert!(!since.is_after(at(490), clock_was_set_back));
        assert!(since.is_after(at(489), clock_was_set_back));
        assert!(!since.is_after(None, clock_was_set_back));
    }
}
