//! The body of a stream of events: a snapshot, unless the client goes on from an event that it names, and
//! then each change. A client that lags receives the difference between what it was sent and now.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, difference};
use whalewatcher_core::{Container, Watcher};

use super::feed::{BATCH, Feed, PIECE, Unread};
use super::form::Form;
use crate::render::json;
use crate::selection::Selection;

/// Proxies close connections that are silent for long.
const SILENCE: Duration = Duration::from_secs(15);

/// A client's stream.
struct Client {
    feed: Feed,
    form: Form,
    selection: Selection,
    state: State,
    changed: watch::Receiver<u64>,
    ending: CancellationToken,
}

enum State {
    Beginning,
    /// The containers of the snapshot that are not written yet, and the number of the first event after it.
    Snapshot {
        rest: vec::IntoIter<(Arc<dyn Watcher>, Arc<Container>)>,
        is_first: bool,
        next: u64,
        now: FleetPortfolio,
    },
    /// The events that are not written yet of those that make up for lost ones, the number of the first lost
    /// one, and that of the first event after the difference.
    Difference {
        rest: vec::IntoIter<FleetEvent>,
        lost: u64,
        next: u64,
        now: FleetPortfolio,
    },
    /// The number of the next event. What was alive before that is known once the client has received all
    /// events at some time.
    Live {
        next: u64,
        seen: Option<FleetPortfolio>,
    },
}

/// Returns the pieces of the body. It ends with the fleet, or once the server ends. A client that does not
/// read holds what it has seen, which it shares with others, and a part of a snapshot or difference.
pub(super) fn stream(
    feed: Feed,
    form: Form,
    selection: Selection,
    last: Option<&str>,
    ending: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let known = last.and_then(|last| feed.known(last));
    let state = known.map_or(State::Beginning, |next| State::Live { next, seen: None });
    let changed = feed.follow();
    let client = Client { feed, form, selection, state, changed, ending };
    unfold(client, |mut client| async move {
        let piece = client.next().await?;
        Some((Ok(piece), client))
    })
}

impl Client {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = match std::mem::replace(&mut self.state, State::Beginning) {
                State::Beginning => Some(self.begin().into()),
                State::Snapshot { rest, is_first, next, now } => {
                    Some(self.write_snapshot(rest, is_first, next, now).into())
                }
                State::Difference { rest, lost, next, now } => {
                    Some(self.write_difference(rest, lost, next, now).into())
                }
                State::Live { next, seen } => {
                    self.changed.borrow_and_update();
                    self.write_events(next, seen)
                }
            };
            match piece {
                Some(piece) if !piece.is_empty() => return Some(piece),
                // What was not selected; there may be more.
                Some(_) => {}
                None => tokio::select! {
                    () = self.ending.cancelled() => return None,
                    changed = self.changed.changed() => changed.ok()?,
                    () = sleep(SILENCE) => {
                        return Some(Bytes::from_static(self.form.comment()));
                    }
                },
            }
        }
    }

    fn begin(&mut self) -> Vec<u8> {
        let (now, position) = self.feed.now();
        let all = now.containers().filter(|(member, one)| self.selection.matches(&**member.watcher(), one));
        let rest: Vec<_> =
            all.map(|(member, container)| (member.watcher().clone(), container.clone())).collect();
        let (next, rest) = (position.next(), rest.into_iter());
        self.state = State::Snapshot { rest, is_first: true, next, now };
        let start = match self.form {
            Form::Sse => format!("id: {position}\nevent: snapshot\ndata: "),
            Form::Lines => String::new(),
        };
        format!("{start}{{\"event\":\"snapshot\",\"containers\":[").into_bytes()
    }

    /// Writes a piece of the snapshot, one line however many pieces there are.
    fn write_snapshot(
        &mut self,
        mut rest: vec::IntoIter<(Arc<dyn Watcher>, Arc<Container>)>,
        mut is_first: bool,
        next: u64,
        now: FleetPortfolio,
    ) -> Vec<u8> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some((watcher, container)) = rest.next() else {
                piece.extend_from_slice(b"]}");
                piece.extend_from_slice(self.form.end());
                self.state = State::Live { next, seen: Some(now) };
                return piece;
            };
            if !std::mem::take(&mut is_first) {
                piece.push(b',');
            }
            // Writing to memory does not fail.
            let _ = json::write_container(&mut piece, &*watcher, &container);
        }
        self.state = State::Snapshot { rest, is_first, next, now };
        piece
    }

    /// Writes the next events; `None` if there are none yet.
    fn write_events(&mut self, next: u64, mut seen: Option<FleetPortfolio>) -> Option<Bytes> {
        if self.selection.is_all()
            && let Some((piece, next, seen)) = self.feed.piece_after(next, self.form, seen.as_ref())
        {
            self.state = State::Live { next, seen };
            return Some(piece);
        }
        let mut piece = Vec::new();
        let events = match (self.feed.after(next, BATCH, PIECE), seen.take()) {
            (Unread::All(events, now), _) => {
                seen = Some(now);
                events
            }
            (Unread::Some(events), mut before) => {
                if let Some(before) = &mut before {
                    events.iter().for_each(|entry| before.apply(&entry.change));
                }
                seen = before;
                events
            }
            (Unread::TooOld, Some(before)) => {
                self.state = self.catch_up(next, &before);
                return Some(Bytes::new());
            }
            // It begins again.
            (Unread::TooOld, None) => return Some(Bytes::new()),
        };
        let last = events.last().map(|last| last.number + 1);
        self.state = State::Live { next: last.unwrap_or(next), seen };
        last?;
        for entry in events {
            if self.selection.shows(&*entry.change.watcher, &entry.change.event) {
                let position = self.feed.position(entry.number + 1);
                self.form.write(&mut piece, &position, entry.change.event.kind.name(), &entry.line);
            }
        }
        Some(piece.into())
    }

    /// Returns how to go on in place of the events since `lost`, before which this was alive.
    fn catch_up(&self, lost: u64, before: &FleetPortfolio) -> State {
        let (now, position) = self.feed.now();
        let mut rest = difference(before, &now);
        rest.retain(|change| self.selection.shows(&*change.watcher, &change.event));
        State::Difference { rest: rest.into_iter(), lost, next: position.next(), now }
    }

    /// Writes a piece of the difference. Only its last event has the ID of the newest, so a client with a
    /// part of it begins again.
    fn write_difference(
        &mut self,
        mut rest: vec::IntoIter<FleetEvent>,
        lost: u64,
        next: u64,
        now: FleetPortfolio,
    ) -> Vec<u8> {
        let (mut piece, mut line) = (Vec::new(), Vec::new());
        while piece.len() < PIECE {
            let Some(change) = rest.next() else {
                self.state = State::Live { next, seen: Some(now) };
                return piece;
            };
            line.clear();
            // Writing to memory does not fail.
            let _ = json::write_event(&mut line, &*change.watcher, &change.event);
            line.pop();
            let id = if rest.as_slice().is_empty() { next } else { lost };
            self.form.write(&mut piece, &self.feed.position(id), change.event.kind.name(), &line);
        }
        self.state = State::Difference { rest, lost, next, now };
        piece
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::StreamExt;
    use futures_util::stream::BoxStream;
    use whalewatcher_core::{Event, EventKind};

    use super::super::feed::MAX_EVENTS;
    use super::super::feed::tests::feed;
    use super::*;

    /// A client, whose pieces are texts.
    fn texts(feed: &Feed, last: Option<&str>, ending: &CancellationToken) -> BoxStream<'static, String> {
        let pieces = stream(feed.clone(), Form::Sse, Selection::default(), last, ending.clone());
        pieces.map(|piece| String::from_utf8(piece.unwrap().into()).unwrap()).boxed()
    }

    /// Records a change with a line that stands for it, of a hundred bytes.
    fn push(feed: &Feed, joined: &FleetEvent, kind: EventKind) {
        let line = Bytes::from(format!("{{\"event\":{:>90}}}", format!("\"{}\"", kind.name())));
        feed.push(joined.with_event(Event::new(SystemTime::now(), kind)), line);
    }

    fn started(id: &str, pid: u32) -> EventKind {
        EventKind::Started(Arc::new(Container::new(id, id, pid)))
    }

    /// The IDs, as numbers, and names of the events in a text.
    fn events(text: &str) -> Vec<(usize, String)> {
        let field = |event: &str, name: &str| {
            event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        let all = text.split_terminator("\n\n").map(|event| {
            let id = field(event, "id: ").unwrap();
            (id.rsplit_once('-').unwrap().1.parse().unwrap(), field(event, "event: ").unwrap())
        });
        all.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_lags_receives_the_difference_and_a_silent_stream_is_kept_alive() {
        let (feed, joined) = feed();
        let ending = CancellationToken::new();
        push(&feed, &joined, EventKind::Joined);
        push(&feed, &joined, started("stays", 1));
        push(&feed, &joined, started("goes", 2));
        let mut client = texts(&feed, None, &ending);
        assert!(
            client
                .next()
                .await
                .unwrap()
                .contains("event: snapshot\ndata: {\"event\":\"snapshot\",\"containers\":[")
        );
        while !client.next().await.unwrap().ends_with("]}\n\n") {}
        // As many as are kept, of which it reads a part.
        for _ in 0..MAX_EVENTS {
            push(&feed, &joined, started("stays", 1));
        }
        let mut read = events(&client.next().await.unwrap());
        assert_eq!((read.len(), read[0].clone()), (BATCH, (4, "started".to_owned())));
        let gone = feed.now().0.by_id("goes").next().unwrap().1.clone();
        push(&feed, &joined, EventKind::Exited { container: gone, code: None });
        for _ in 0..MAX_EVENTS {
            push(&feed, &joined, started("comes", 3));
        }
        let (lost, newest) = (BATCH + 3, 2 * MAX_EVENTS + 4);
        read = events(&client.next().await.unwrap());
        let expected = [(lost, "lagged"), (lost, "exited"), (newest, "started")];
        assert_eq!(read, expected.map(|(id, name)| (id, name.to_owned())));
        push(&feed, &joined, started("stays", 1));
        assert_eq!(events(&client.next().await.unwrap()), [(newest + 1, "started".to_owned())]);
        // With a part of the difference it would begin again.
        assert_eq!(feed.known(&feed.position(u64::try_from(lost).unwrap() + 1).to_string()), None);
        assert_eq!(client.next().await.as_deref(), Some(":\n\n"));
        ending.cancel();
        assert_eq!(client.next().await, None);
    }

    #[tokio::test]
    async fn what_is_not_known_to_have_been_sent_is_sent_again() {
        let (feed, joined) = feed();
        let ending = CancellationToken::new();
        push(&feed, &joined, EventKind::Joined);
        let push = || push(&feed, &joined, started("web", 1));
        let begin = feed.now().1.to_string();
        // More than is sent at once.
        (0..MAX_EVENTS).for_each(|_| push());
        let [mut behind, mut up_to_date] = [(); 2].map(|()| texts(&feed, Some(&begin), &ending));
        assert_eq!(events(&behind.next().await.unwrap()).len(), BATCH);
        let mut read = 0;
        while read < MAX_EVENTS {
            read += events(&up_to_date.next().await.unwrap()).len();
        }
        (0..=MAX_EVENTS).for_each(|_| push());
        assert!(behind.next().await.unwrap().contains("event: snapshot\n"));
        assert!(up_to_date.next().await.unwrap().contains("event: lagged\n"));
    }
}
