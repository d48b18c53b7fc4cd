//! The stream of events: those that are kept since a moment, and then each as it comes.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::vec;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, difference};
use whalewatcher_core::{Event, EventKind, Printable};

use super::filters::Filters;
use super::{Docker, Refusal, parameter};
use crate::command::serve::feed::{BATCH, Entry, Feed, PIECE, Unread};
use crate::render::docker::{Line, lines};
use crate::render::json::write_line;
use crate::selection::{Selection, familiar, without_tag};

/// The kinds of objects by which dockerd filters in the same way, whatever an event is about.
const OBJECTS: [&str; 9] =
    ["config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"];

/// A client's stream.
struct Client {
    feed: Feed,
    selection: Selection,
    filters: Filters,
    /// Only kept events of this time or later are sent, unless the stream goes on from one of them.
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    /// The number of the next event; `None` as long as the client is to begin with the oldest that is kept by then.
    next: Option<u64>,
    /// That of the first event that was not there when the stream began.
    live: u64,
    /// What was alive before the next event, or, while kept ones are sent, before the first live one.
    seen: FleetPortfolio,
    /// What makes up for lost events.
    catching_up: vec::IntoIter<FleetEvent>,
    changed: watch::Receiver<u64>,
    ending: CancellationToken,
}

/// Answers with the events that a query asks for. Which those are is settled before the headers are sent, for
/// which clients wait.
pub(super) fn events(docker: &Docker, query: &str) -> Result<Response, Refusal> {
    let now = SystemTime::now();
    let text = |name: &str| parameter(query, name);
    let since = text("since").map(|text| moment("since", &text, now)).transpose()?;
    let until = text("until").map(|text| moment("until", &text, now)).transpose()?;
    if since.zip(until).is_some_and(|(since, until)| until < since) {
        return Err(Refusal::invalid("`since` time cannot be after `until` time"));
    }
    let filters = text("filters").map_or_else(|| Ok(Filters::default()), |text| Filters::parse(&text))?;
    let feed = docker.feed.clone();
    let changed = feed.follow();
    let (seen, position) = feed.now();
    let live = position.next();
    // dockerd sends no earlier ones if neither is named.
    let (next, since) = match since {
        None if until.is_none() => (Some(live), None),
        None => (None, None),
        Some(since) => match feed.dated(since) {
            Some(next) => (Some(next.min(live)), None),
            None => (None, Some(since)),
        },
    };
    let client = Client {
        feed,
        selection: docker.selection.clone(),
        filters,
        since,
        until,
        next,
        live,
        seen,
        catching_up: Vec::new().into_iter(),
        changed,
        ending: docker.ending.clone(),
    };
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(client.pieces())).into_response())
}

impl Client {
    fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        try_unfold(self, |mut client| async move {
            let piece = client.next().await?;
            Ok(piece.map(|piece| (piece, client)))
        })
    }

    /// Returns the next piece; `None` at the end of the server, or of what the client asked for.
    ///
    /// # Errors
    ///
    /// If earlier events that the client asked for are not kept any more.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            self.changed.borrow_and_update();
            let piece =
                if self.catching_up.as_slice().is_empty() { self.unread()? } else { Some(self.catch_up()) };
            let left = self.until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
            match piece {
                Some(piece) if !piece.is_empty() => return Ok(Some(piece.into())),
                // What was not asked for; there may be more.
                Some(_) => {}
                None if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                None => {
                    let over = async {
                        match left {
                            Some(left) => sleep(left).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = self.ending.cancelled() => return Ok(None),
                        changed = self.changed.changed() => if changed.is_err() { return Ok(None) },
                        () = over => {}
                    }
                }
            }
        }
    }

    /// Writes the next events; `None` if there are none yet.
    fn unread(&mut self) -> io::Result<Option<Vec<u8>>> {
        let next = self.next.unwrap_or_else(|| self.feed.oldest());
        let (events, now) = match self.feed.after(next, BATCH, PIECE) {
            Unread::All(events, now) => (events, Some(now)),
            Unread::Some(events) => (events, None),
            // The oldest has just been dropped.
            Unread::TooOld if self.next.is_none() => return Ok(Some(Vec::new())),
            // What was alive before them is not known, so nothing makes up for them: the client has to begin again.
            Unread::TooOld if next < self.live => {
                return Err(io::Error::other("earlier events were dropped before the client read them"));
            }
            Unread::TooOld => {
                // A client that goes on from this time later receives what comes after `now`.
                let time = SystemTime::now();
                let (now, position) = self.feed.now();
                let mut missed = difference(&self.seen, &now);
                missed.iter_mut().for_each(|change| change.event.time = time);
                self.catching_up = missed.into_iter();
                (self.seen, self.next) = (now, Some(position.next()));
                return Ok(Some(Vec::new()));
            }
        };
        let Some(last) = events.last().map(|last| last.number) else { return Ok(None) };
        let mut piece = Vec::new();
        for entry in &events {
            if entry.number >= self.live && now.is_none() {
                self.seen.apply(&entry.change);
            }
            if self.is_wanted(entry) {
                self.write(&mut piece, &entry.change);
            }
        }
        self.next = Some(last + 1);
        if let Some(now) = now {
            self.seen = now;
        }
        Ok(Some(piece))
    }

    /// Writes a piece of what makes up for lost events.
    fn catch_up(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        while piece.len() < PIECE
            && let Some(change) = self.catching_up.next()
        {
            self.write(&mut piece, &change);
        }
        piece
    }

    /// Returns whether an event is in the span that was asked for. One that was recorded in it is, if it
    /// happened before: until then no list of this server shows it.
    fn is_wanted(&self, entry: &Entry) -> bool {
        let at = entry.change.event.time;
        let has_begun = self.since.is_none_or(|since| at >= since || entry.recorded >= since);
        (has_begun || entry.number >= self.live) && self.until.is_none_or(|until| at <= until)
    }

    fn write(&self, piece: &mut Vec<u8>, change: &FleetEvent) {
        for event in shown(&self.selection, change) {
            for line in lines(&event).iter().filter(|line| includes(&self.filters, line)) {
                // Writing to memory does not fail.
                let _ = write_line(piece.by_ref(), line);
            }
        }
    }
}

/// Returns an event as clients see it that know containers by their IDs, and of some engines only: one that
/// another engine shows from now on by another ID ends, and starts.
fn shown(selection: &Selection, change: &FleetEvent) -> Vec<Event> {
    let FleetEvent { watcher, event, .. } = change;
    let EventKind::Moved { was, container, from } = &event.kind else {
        return if selection.shows(&**watcher, event) { vec![event.clone()] } else { Vec::new() };
    };
    let was_shown = selection.selects_engine(from.engine_type(), from.endpoint(), None);
    let is_shown = selection.matches(&**watcher, container);
    if was_shown && is_shown && was.id() == container.id() {
        return Vec::new();
    }
    let exited = || EventKind::Exited { container: was.clone(), code: None };
    let started = || EventKind::Started(container.clone());
    let kinds = was_shown.then(exited).into_iter().chain(is_shown.then(started));
    kinds.map(|kind| Event::new(event.time, kind)).collect()
}

/// Returns whether dockerd would send a line with these filters.
fn includes(filters: &Filters, line: &Line<'_>) -> bool {
    let attribute = |key: &str| line.attributes().get(key).map(String::as_str).unwrap_or_default();
    let action = line.action();
    // With one of these among the values, dockerd takes all of them for the beginning of an action.
    let is_vague = ["health_status", "exec_create", "exec_start"]
        .iter()
        .any(|vague| filters.get("event").iter().any(|event| event == vague));
    let image = attribute("image");
    filters.any("event", |event| if is_vague { action.starts_with(event) } else { action == event })
        && filters.any("type", |kind| kind == "container")
        && filters.any("scope", |scope| scope == "local")
        && OBJECTS.iter().all(|object| {
            filters.any(object, |key| line.id().starts_with(key) || attribute("name").starts_with(key))
        })
        && filters.any("image", |wanted| {
            [line.id(), image, familiar(image), without_tag(familiar(image))].contains(&wanted)
        })
        && filters.get("label").iter().all(|label| {
            let (key, wanted) =
                label.split_once('=').map_or((&**label, None), |(key, value)| (key, Some(value)));
            line.attributes().get(key).is_some_and(|value| wanted.is_none_or(|wanted| value == wanted))
        })
}

/// Reads a time: seconds since 1970, with a fraction or without, RFC 3339, or a duration before now.
fn moment(name: &str, text: &str, now: SystemTime) -> Result<SystemTime, Refusal> {
    let invalid = || Refusal::invalid(format!("'{name}' is no time: {}", Printable(text)));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(seconds) && digits(fraction) {
        let seconds = seconds.parse().map_err(|_| invalid())?;
        let nanoseconds = format!("{fraction:0<9.9}").parse().map_err(|_| invalid())?;
        let since = Duration::new(seconds, nanoseconds);
        return UNIX_EPOCH.checked_add(since).ok_or_else(invalid);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return SystemTime::try_from(timestamp).map_err(|_| invalid());
    }
    let before = text.parse::<SignedDuration>().ok().and_then(|before| Duration::try_from(before).ok());
    before.and_then(|before| now.checked_sub(before)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt;
    use futures_util::stream::BoxStream;
    use serde_json::Value;
    use whalewatcher_core::{Container, EngineKey, Labels};

    use super::super::super::feed::MAX_EVENTS;
    use super::super::super::feed::tests::feed;
    use super::*;
    use crate::args::InspectSource;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn started(id: &str, pid: u32) -> EventKind {
        EventKind::Started(Arc::new(Container::new(id, id, pid)))
    }

    fn push(feed: &Feed, joined: &FleetEvent, time: SystemTime, kind: EventKind) {
        feed.push(joined.with_event(Event::new(time, kind)), Bytes::from_static(b"{}"));
    }

    fn served(feed: &Feed) -> Docker {
        Docker {
            feed: feed.clone(),
            selection: Selection::default(),
            inspect: InspectSource::Memory,
            ending: CancellationToken::new(),
        }
    }

    /// A client, which reads actions and IDs.
    fn client(docker: &Docker, query: &str) -> BoxStream<'static, Vec<String>> {
        let Ok(answer) = events(docker, query) else { panic!("it is refused: {query}") };
        let read = |piece: Result<Bytes, axum::Error>| {
            let piece = piece.unwrap();
            let lines = serde_json::Deserializer::from_slice(&piece).into_iter::<Value>();
            let texts = lines.map(|line| {
                let line = line.unwrap();
                format!("{} {}", line["Action"], line["Actor"]["ID"]).replace('"', "")
            });
            texts.collect()
        };
        answer.into_body().into_data_stream().map(read).boxed()
    }

    /// All events up to the end of the answer.
    async fn all(docker: &Docker, query: &str) -> Vec<String> {
        client(docker, query).concat().await
    }

    #[tokio::test]
    async fn kept_events_are_sent_since_and_until_a_moment_by_their_time_or_when_they_were_recorded() {
        let (feed, joined) = feed();
        let docker = served(&feed);
        push(&feed, &joined, at(0), EventKind::Joined);
        for seconds in [10, 30, 20] {
            push(&feed, &joined, at(seconds), started(&seconds.to_string(), 1));
        }
        assert_eq!(all(&docker, "until=25").await, ["start 10", "start 20"]);
        // What is kept with just this time: the client goes on from there.
        assert_eq!(all(&docker, "since=30&until=40").await, ["start 30", "start 20"]);
        assert_eq!(all(&docker, "since=30.000000000&until=40").await, ["start 30", "start 20"]);
        // They were recorded now, and a list from before does not contain them.
        assert_eq!(all(&docker, "since=29&until=30").await, ["start 10", "start 30", "start 20"]);
        let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 100;
        let mut live = client(&docker, &format!("since={later}&until={}", later + 1));
        push(&feed, &joined, at(5), started("5", 1));
        assert_eq!(live.next().await.unwrap(), ["start 5"]);
        docker.ending.cancel();
        assert_eq!(live.next().await, None);
    }

    #[tokio::test]
    async fn a_client_that_lags_receives_the_difference() {
        let (feed, joined) = feed();
        let docker = served(&feed);
        push(&feed, &joined, at(0), EventKind::Joined);
        push(&feed, &joined, at(1), started("goes", 1));
        let mut live = client(&docker, "");
        push(&feed, &joined, at(2), started("stays", 2));
        assert_eq!(live.next().await.unwrap(), ["start stays"]);
        let gone = feed.now().0.by_id("goes").next().unwrap().1.clone();
        push(&feed, &joined, at(3), EventKind::Exited { container: gone, code: None });
        for _ in 0..=MAX_EVENTS {
            push(&feed, &joined, at(4), started("comes", 3));
        }
        assert_eq!(live.next().await.unwrap(), ["die goes", "start comes"]);
        push(&feed, &joined, at(5), started("later", 4));
        assert_eq!(live.next().await.unwrap(), ["start later"]);
    }

    #[tokio::test]
    async fn a_client_begins_with_the_oldest_event_that_is_kept_when_it_reads() {
        let (feed, joined) = feed();
        let docker = served(&feed);
        push(&feed, &joined, at(0), EventKind::Joined);
        let mut earlier = client(&docker, "since=1");
        for nth in 0..=MAX_EVENTS {
            push(&feed, &joined, at(2), started(&nth.to_string(), 1));
        }
        assert_eq!(earlier.next().await.unwrap()[0], "start 1");
    }

    #[tokio::test]
    async fn a_stream_fails_if_earlier_events_are_dropped_before_they_are_read() {
        let (feed, joined) = feed();
        let docker = served(&feed);
        push(&feed, &joined, at(0), EventKind::Joined);
        for nth in 0..=BATCH {
            push(&feed, &joined, at(nth as u64 + 1), started(&nth.to_string(), 1));
        }
        for since in [0, 1] {
            let Ok(answer) = events(&docker, &format!("since={since}")) else { panic!("it is refused") };
            let mut pieces = answer.into_body().into_data_stream();
            assert!(pieces.next().await.unwrap().is_ok());
            for _ in 0..=MAX_EVENTS {
                push(&feed, &joined, at(2_000), started("x", 1));
            }
            assert!(pieces.next().await.unwrap().is_err());
            assert!(pieces.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_container_that_another_engine_shows_ends_and_starts_only_under_another_id() {
        let (feed, joined) = feed();
        let docker = served(&feed);
        push(&feed, &joined, at(0), EventKind::Joined);
        let from = EngineKey::new("containerd.io", "unix:///run/containerd/containerd.sock");
        let moved = |was: &str, id: &str| EventKind::Moved {
            was: Arc::new(Container::new(was, was, 7)),
            container: Arc::new(Container::new(id, "web", 7)),
            from: from.clone(),
        };
        push(&feed, &joined, at(1), moved("1", "1"));
        push(&feed, &joined, at(2), moved("moby/2", "2"));
        assert_eq!(all(&docker, "until=9").await, ["die moby/2", "start 2"]);
        let filters = crate::args::FilterArgs { engines: vec!["docker".to_owned()], ..Default::default() };
        let of_docker = Docker { selection: Selection::new(&[], &filters).unwrap(), ..docker };
        assert_eq!(all(&of_docker, "until=9").await, [""; 0], "neither is Docker's");
    }

    #[test]
    fn filters_of_events_mean_what_they_do_for_dockerd() {
        let labels = Labels::from_iter([("env", "prod")]);
        let image = whalewatcher_core::Image::new("docker.io/library/nginx:1.27");
        let web = Container::new("c0ffee", "web-1", 7).with_labels(labels).with_image(image);
        let event = Event::new(at(1), EventKind::Started(Arc::new(web)));
        let line = &lines(&event)[0];
        for (filters, expected) in [
            (r#"{}"#, true),
            (r#"{"type":["container"],"event":["start"]}"#, true),
            (r#"{"type":{"image":true}}"#, false),
            (r#"{"event":["die","pause"]}"#, false),
            (r#"{"event":["star"]}"#, false),
            (r#"{"event":["star","health_status"]}"#, true),
            (r#"{"container":["c0f"]}"#, true),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["eb"]}"#, false),
            (r#"{"image":["nginx:1.27"]}"#, true),
            (r#"{"image":["nginx"]}"#, true),
            (r#"{"image":["ngin"]}"#, false),
            (r#"{"label":["env"]}"#, true),
            (r#"{"label":["env=prod","env"]}"#, true),
            (r#"{"label":["env=prod","no"]}"#, false),
            (r#"{"network":["shop"]}"#, false),
            (r#"{"scope":["swarm"]}"#, false),
            (r#"{"colour":["red"]}"#, true),
        ] {
            let Ok(parsed) = Filters::parse(filters) else { panic!("{filters}") };
            assert_eq!(includes(&parsed, line), expected, "{filters}");
        }
    }

    #[test]
    fn moments_have_the_forms_that_clients_send() {
        let now = at(1_000);
        for (text, expected) in [
            ("7", at(7)),
            ("7.5", at(7) + Duration::from_millis(500)),
            ("7.000000001", at(7) + Duration::from_nanos(1)),
            ("7.0000000019", at(7) + Duration::from_nanos(1)),
            ("1970-01-01T00:00:07Z", at(7)),
            ("1970-01-01T01:00:07.5+01:00", at(7) + Duration::from_millis(500)),
            ("10s", at(990)),
            ("1m30s", at(910)),
        ] {
            assert_eq!(moment("since", text, now).ok(), Some(expected), "{text}");
        }
        for invalid in ["x", "-1", "7.x", "1.2.3", "99999999999999999999", "10 parsecs"] {
            assert!(moment("since", invalid, now).is_err(), "{invalid}");
        }
    }
}
