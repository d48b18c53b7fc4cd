//! Decides what the runtime's events report, given what is known.

use std::time::SystemTime;

use tokio::time::Instant;
use whalewatcher_api::cri::v1::{
    ContainerEventResponse, ContainerEventType, ContainerStatus, PodSandboxStatus,
};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{Container, ContainerId, Network};

use crate::cache::Cache;
use crate::decode::container::{
    Kind, Pod, State, finished, of_sandbox_status, of_status, sandbox_state, state,
};
use crate::decode::details::{is_oom_killed, network};
use crate::decode::time::{end, moment};

/// The time of the subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscriptionTime {
    asked: Instant,
}

impl SubscriptionTime {
    pub(crate) fn now() -> Self {
        Self { asked: Instant::now() }
    }

    pub(crate) fn elapsed(self) -> std::time::Duration {
        self.asked.elapsed()
    }

    /// Returns whether something happened before the subscription. Compares durations and not times, so that
    /// clocks may be set meanwhile.
    pub(crate) fn is_after(self, happened: Option<SystemTime>, now: SystemTime) -> bool {
        let ago = happened.and_then(|happened| now.duration_since(happened).ok());
        ago.is_some_and(|ago| ago > self.asked.elapsed())
    }
}

/// Returns when an event was made.
pub(crate) fn made_at(event: &ContainerEventResponse) -> Option<SystemTime> {
    moment(event.created_at)
}

/// Returns what an event reports; nothing if it concerns no container.
///
/// `replayed`: the event was made before the subscription. Starts are skipped then, because the list contains
/// what is still alive.
pub(crate) fn take(
    event: &ContainerEventResponse,
    cache: &mut Cache,
    since: SubscriptionTime,
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
            vec![started(id, event, &subject, cache)]
        }
        Ok(ContainerEventType::ContainerStoppedEvent) => {
            stopped(id, event, &subject, cache, Some(since), now)
        }
        Ok(ContainerEventType::ContainerDeletedEvent) => stopped(id, event, &subject, cache, None, now),
        Err(_) => vec![EngineEvent::Changed { id, at: made_at(event) }],
    }
}

/// The subject of an event, as far as the event contains it.
enum Subject<'a> {
    Container(&'a ContainerStatus, Option<&'a PodSandboxStatus>),
    Sandbox(&'a PodSandboxStatus),
    Unknown,
}

impl<'a> Subject<'a> {
    fn of(event: &'a ContainerEventResponse) -> Self {
        let sandbox = event.pod_sandbox_status.as_ref();
        if let Some(sandbox) = sandbox.filter(|sandbox| sandbox.id == event.container_id) {
            return Self::Sandbox(sandbox);
        }
        match event.containers_statuses.iter().find(|status| status.id == event.container_id) {
            Some(status) => Self::Container(status, sandbox),
            None => Self::Unknown,
        }
    }

    fn state(&self) -> Option<State> {
        match self {
            Self::Container(status, _) => Some(state(status.state)),
            Self::Sandbox(status) => Some(sandbox_state(status.state)),
            Self::Unknown => None,
        }
    }

    fn preview(&self) -> Option<Container> {
        match self {
            Self::Container(status, sandbox) => {
                let pod = Pod::of(sandbox.and_then(|sandbox| sandbox.metadata.as_ref()));
                let preview = of_status(status, pod.as_ref(), 0).with_networks(sandbox.and_then(network));
                // An event of its own reports that.
                Some(preview.with_oom_killed(false))
            }
            Self::Sandbox(status) => Some(of_sandbox_status(status, 0)),
            Self::Unknown => None,
        }
    }

    fn began(&self) -> Option<SystemTime> {
        match self {
            Self::Container(status, _) => moment(status.started_at),
            Self::Sandbox(status) => moment(status.created_at),
            Self::Unknown => None,
        }
    }

    fn is_oom_killed(&self) -> bool {
        matches!(self, Self::Container(status, _) if is_oom_killed(status))
    }

    /// Returns when it ended, and its exit code.
    fn finished(&self) -> (Option<SystemTime>, Option<i32>) {
        match self {
            Self::Container(status, _) if state(status.state) == State::NotAlive => finished(status),
            _ => (None, None),
        }
    }

    /// Records what the event contains about it.
    fn record(&self, id: &ContainerId, cache: &mut Cache) {
        match self {
            Self::Container(_, sandbox) => {
                let sandbox = sandbox.filter(|sandbox| ContainerId::is_plain(&sandbox.id));
                let sandbox_id = sandbox.map(|sandbox| ContainerId::from(sandbox.id.as_str()));
                if let (Some(id), Some(pod)) =
                    (&sandbox_id, sandbox.and_then(|sandbox| Pod::of(sandbox.metadata.as_ref())))
                {
                    cache.record_pod(id, pod);
                }
                if let (Some(id), Some(network)) = (&sandbox_id, sandbox.and_then(ready_network)) {
                    cache.networks.learn(id, network);
                }
                cache.record_kind(id, Kind::Container, sandbox_id);
            }
            Self::Sandbox(status) => {
                cache.record_kind(id, Kind::Sandbox, None);
                if let Some(pod) = Pod::of(status.metadata.as_ref()) {
                    cache.record_pod(id, pod);
                }
                if let Some(network) = ready_network(status) {
                    cache.networks.learn(id, network);
                }
            }
            Self::Unknown => {}
        }
    }
}

/// Returns the network of a ready sandbox. Without one, its own status decides whether there is none.
fn ready_network(status: &PodSandboxStatus) -> Option<Network> {
    network(status).filter(|_| sandbox_state(status.state) == State::Alive)
}

fn started(
    id: ContainerId,
    event: &ContainerEventResponse,
    subject: &Subject<'_>,
    cache: &mut Cache,
) -> EngineEvent {
    subject.record(&id, cache);
    cache.entry(&id).started = Some(Instant::now());
    let at = subject.began().or(made_at(event));
    EngineEvent::Started { id, at, pid: None, preview: subject.preview().map(Box::new) }
}

/// `subscribed`: when the events were subscribed to, for an event that is the first one of an end.
fn stopped(
    id: ContainerId,
    event: &ContainerEventResponse,
    subject: &Subject<'_>,
    cache: &mut Cache,
    subscribed: Option<SubscriptionTime>,
    now: SystemTime,
) -> Vec<EngineEvent> {
    // The event contradicts itself, so it is only a hint.
    if subject.state() == Some(State::Alive) {
        return vec![EngineEvent::Changed { id, at: made_at(event) }];
    }
    let is_processless = cache.get(&id).is_some_and(|entry| entry.is_processless);
    if is_processless && subscribed.is_some() {
        // It is never alive. Its entry is needed until it is deleted.
        return Vec::new();
    }
    let was_known = cache.end(&id);
    if is_processless || !was_known && subscribed.is_none() {
        return Vec::new();
    }
    let mut reported = Vec::new();
    let began = subject.began();
    // The events of a very short life may arrive in the wrong order.
    let is_new = |since: SubscriptionTime| began.is_some() && !since.is_after(began, now);
    if !was_known && subscribed.is_some_and(is_new) {
        let preview = subject.preview().map(Box::new);
        reported.push(EngineEvent::Started { id: id.clone(), at: began, pid: None, preview });
    }
    // A life that is not known has no exit to mark.
    if subject.is_oom_killed() && (was_known || !reported.is_empty()) {
        reported.push(EngineEvent::OomKilled { id: id.clone(), at: None });
    }
    let (finished, code) = subject.finished();
    let at = end(finished.or(made_at(event)), began);
    reported.push(EngineEvent::Exited { id, pid: None, at, code });
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

    /// A runtime that was subscribed to in second 1000 and emits events in second 1010.
    struct Reported {
        cache: Cache,
        since: SubscriptionTime,
    }

    impl Reported {
        async fn new() -> Self {
            let reported = Self { cache: Cache::default(), since: SubscriptionTime::now() };
            tokio::time::advance(Duration::from_secs(10)).await;
            reported
        }

        fn take(&mut self, event: &ContainerEventResponse) -> Vec<EngineEvent> {
            let now = UNIX_EPOCH + Duration::from_secs(1010);
            let replayed = self.since.is_after(made_at(event), now);
            take(event, &mut self.cache, self.since, replayed, now)
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
    async fn start_and_exit_have_what_the_event_contains() {
        let mut reported = Reported::new().await;
        assert_eq!(reported.take(&event(Created, Some(running()))), []);
        let begun = EngineEvent::Started { id: id(), at: at(1005), pid: None, preview: preview(&running()) };
        assert_eq!(reported.take(&event(Started, Some(running()))), [begun]);
        let entry = reported.cache.get(&id()).unwrap();
        assert_eq!((entry.kind, entry.sandbox.as_deref()), (Some(Kind::Container), Some("s1")));
        assert!(reported.cache.pod(&"s1".into()).is_some());
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1006), code: Some(3) };
        assert_eq!(reported.take(&event(Stopped, Some(exited()))), [over]);
        assert!(reported.cache.get(&id()).is_none());
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
        assert_eq!(reported.cache.get(&"s1".into()).unwrap().kind, Some(Kind::Sandbox));
        let over = EngineEvent::Exited { id: "s1".into(), pid: None, at: at(1008), code: None };
        assert_eq!(reported.take(&of(Stopped, PodState::NotReady)), [over]);
        assert_eq!(reported.take(&of(Deleted, PodState::NotReady)), []);
        assert!(reported.cache.pod(&"s1".into()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_removal_of_what_is_not_known_to_be_alive_is_skipped() {
        let mut reported = Reported::new().await;
        assert_eq!(reported.take(&event(Deleted, Some(exited()))), [], "nothing is known of it");
        reported.cache.record_kind(&id(), Kind::Container, None);
        assert_eq!(reported.take(&event(Deleted, None)).len(), 1, "its end was not reported");
        assert_eq!(reported.take(&event(Deleted, None)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_oom_kill_is_reported_before_the_exit_of_a_known_life() {
        let killed = || ContainerStatus { reason: "OOMKilled".into(), ..exited() };
        let oom = EngineEvent::OomKilled { id: id(), at: None };
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1006), code: Some(3) };
        let mut reported = Reported::new().await;
        reported.take(&event(Started, Some(running())));
        assert_eq!(reported.take(&event(Stopped, Some(killed()))), [oom.clone(), over.clone()]);
        assert_eq!(reported.take(&event(Deleted, Some(killed()))), []);
        let mut reported = Reported::new().await;
        let old = ContainerStatus { started_at: seconds(999), ..killed() };
        assert_eq!(
            reported.take(&event(Stopped, Some(old))),
            std::slice::from_ref(&over),
            "nothing is known of it"
        );
        let mut reported = Reported::new().await;
        let begun = EngineEvent::Started { id: id(), at: at(1005), pid: None, preview: preview(&exited()) };
        assert_eq!(reported.take(&event(Stopped, Some(killed()))), [begun, oom, over]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_overtakes_its_start_is_reported_with_it() {
        let mut reported = Reported::new().await;
        let both = reported.take(&event(Stopped, Some(exited())));
        let begun = EngineEvent::Started { id: id(), at: at(1005), pid: None, preview: preview(&exited()) };
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1006), code: Some(3) };
        assert_eq!(both, [begun, over]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_before_the_subscription_is_not_reported() {
        let mut reported = Reported::new().await;
        let old = ContainerStatus { started_at: seconds(999), ..exited() };
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1006), code: Some(3) };
        assert_eq!(reported.take(&event(Stopped, Some(old))), [over]);
    }

    #[tokio::test(start_paused = true)]
    async fn replayed_starts_are_skipped_and_exits_reported() {
        let mut reported = Reported::new().await;
        let old = |event| ContainerEventResponse { created_at: seconds(998), ..event };
        let status = ContainerStatus { started_at: seconds(990), finished_at: seconds(995), ..exited() };
        assert_eq!(reported.take(&old(event(Started, Some(status.clone())))), []);
        assert!(reported.cache.get(&id()).is_none());
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
    async fn contradictory_and_unknown_events_are_hints() {
        let mut reported = Reported::new().await;
        let hint = EngineEvent::Changed { id: id(), at: at(1008) };
        assert_eq!(reported.take(&event(Stopped, Some(running()))), std::slice::from_ref(&hint));
        let unknown = ContainerEventResponse { container_event_type: 99, ..event(Started, Some(running())) };
        reported.cache.record_kind(&id(), Kind::Container, None);
        assert_eq!(reported.take(&unknown), [hint]);
        assert!(reported.cache.get(&id()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_statuses_are_reported() {
        let mut reported = Reported::new().await;
        let bare = |kind| ContainerEventResponse { pod_sandbox_status: None, ..event(kind, None) };
        let begun = EngineEvent::Started { id: id(), at: at(1008), pid: None, preview: None };
        assert_eq!(reported.take(&bare(Started)), [begun]);
        let over = EngineEvent::Exited { id: id(), pid: None, at: at(1008), code: None };
        assert_eq!(reported.take(&bare(Deleted)), [over]);
    }

    #[tokio::test(start_paused = true)]
    async fn invalid_ids_and_sandboxes_without_process_are_skipped() {
        let mut reported = Reported::new().await;
        for wrong in ["", "a/b", "a\n"] {
            for kind in [Started, Stopped] {
                let event =
                    ContainerEventResponse { container_id: wrong.into(), ..event(kind, Some(running())) };
                assert_eq!(reported.take(&event), [], "{wrong:?}");
            }
        }
        reported.cache.record_kind(&id(), Kind::Sandbox, None).is_processless = true;
        for end in [Stopped, Stopped, Deleted, Deleted] {
            assert_eq!(reported.take(&event(end, Some(exited()))), [], "{end:?}");
        }
        assert!(reported.cache.get(&id()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_may_be_set_meanwhile() {
        let since = SubscriptionTime::now();
        tokio::time::advance(Duration::from_secs(10)).await;
        let clock_was_set_back = UNIX_EPOCH + Duration::from_secs(500);
        assert!(!since.is_after(at(500), clock_was_set_back));
        assert!(!since.is_after(at(501), clock_was_set_back), "ahead of the clock");
        assert!(!since.is_after(at(490), clock_was_set_back));
        assert!(since.is_after(at(489), clock_was_set_back));
        assert!(!since.is_after(None, clock_was_set_back));
    }
}
