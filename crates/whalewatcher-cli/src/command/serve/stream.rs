//! The body of a stream of events: a snapshot, unless the client goes on from an event that it names, and then each change.

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
use whalewatcher_core::{Container, Watcher};

use super::feed::{Entry, Feed, Unread};
use crate::render::json;
use crate::selection::Selection;

/// Proxies close connections that are silent for long.
const SILENCE: Duration = Duration::from_secs(15);

/// The most events that are taken at once.
const BATCH: usize = 256;

/// How large a piece of the body is, unless one container or event is larger.
const PIECE: usize = 64 * 1024;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`
    Sse,
    /// `application/x-ndjson`
    Lines,
}

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
    },
    /// The number of the next event.
    Live(u64),
}

/// Returns the pieces of the body. It ends with the fleet, or once the server ends. A client that does not read holds its snapshot
/// and nothing else.
pub(super) fn stream(
    feed: Feed,
    form: Form,
    selection: Selection,
    last: Option<&str>,
    ending: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let state = last.and_then(|last| feed.known(last)).map_or(State::Beginning, State::Live);
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
            let piece = match &self.state {
                State::Beginning => Some(self.begin()),
                State::Snapshot { .. } => Some(self.go_on()),
                State::Live(next) => {
                    let next = *next;
                    self.changed.borrow_and_update();
                    self.events(next)
                }
            };
            match piece {
                Some(piece) if !piece.is_empty() => return Some(piece.into()),
                // What was not selected; there may be more.
                Some(_) => {}
                None => tokio::select! {
                    () = self.ending.cancelled() => return None,
                    changed = self.changed.changed() => changed.ok()?,
                    () = sleep(SILENCE) => {
                        return Some(Bytes::from_static(match self.form {
                            Form::Sse => b":\n\n",
                            Form::Lines => b"\n",
                        }));
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
        let next = position.next();
        self.state = State::Snapshot { rest: rest.into_iter(), is_first: true, next };
        let start = match self.form {
            Form::Sse => format!("id: {position}\nevent: snapshot\ndata: "),
            Form::Lines => String::new(),
        };
        format!("{start}{{\"event\":\"snapshot\",\"containers\":[").into_bytes()
    }

    /// Writes a piece of the snapshot, one line however many pieces there are.
    fn go_on(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        let State::Snapshot { rest, is_first, next } = &mut self.state else { return piece };
        while piece.len() < PIECE {
            let Some((watcher, container)) = rest.next() else {
                piece.extend_from_slice(match self.form {
                    Form::Sse => b"]}\n\n",
                    Form::Lines => b"]}\n",
                });
                self.state = State::Live(*next);
                break;
            };
            if !std::mem::take(is_first) {
                piece.push(b',');
            }
            // Writing to memory does not fail.
            let _ = json::write_container(&mut piece, &*watcher, &container);
        }
        piece
    }

    /// Writes the next events; `None` if there are none yet.
    fn events(&mut self, mut next: u64) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        match self.feed.after(next, BATCH) {
            Unread::TooOld => self.state = State::Beginning,
            Unread::Events(events) if events.is_empty() => return None,
            Unread::Events(events) => {
                for entry in events {
                    if piece.len() >= PIECE {
                        break;
                    }
                    next = entry.number + 1;
                    if self.selection.shows(&*entry.change.watcher, &entry.change.event) {
                        self.write(&mut piece, &entry);
                    }
                }
                self.state = State::Live(next);
            }
        }
        Some(piece)
    }

    fn write(&self, piece: &mut Vec<u8>, entry: &Entry) {
        if self.form == Form::Sse {
            let (id, name) = (self.feed.position(entry.number + 1), entry.change.event.kind.name());
            piece.extend_from_slice(format!("id: {id}\nevent: {name}\ndata: ").as_bytes());
        }
        piece.extend_from_slice(&entry.line);
        piece.extend_from_slice(match self.form {
            Form::Sse => b"\n\n",
            Form::Lines => b"\n",
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;

    use super::super::feed::MAX_EVENTS;
    use super::super::feed::tests::feed;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_too_slowly_begins_again_and_a_silent_stream_is_kept_alive() {
        let (feed, joined) = feed();
        let ending = CancellationToken::new();
        let pieces = stream(feed.clone(), Form::Sse, Selection::default(), None, ending.clone());
        let mut pieces = pin!(pieces.map(|piece| String::from_utf8(piece.unwrap().into()).unwrap()));
        let mut next = async || pieces.next().await;
        let snapshot = |id: usize| {
            let epoch = feed.position(1).to_string();
            let id = epoch.replace("-0", &format!("-{id}"));
            format!("id: {id}\nevent: snapshot\ndata: {{\"event\":\"snapshot\",\"containers\":[")
        };
        assert_eq!(next().await, Some(snapshot(0)));
        assert_eq!(next().await.as_deref(), Some("]}\n\n"));
        for _ in 0..MAX_EVENTS {
            feed.push(joined.clone(), Bytes::from_static(b"{}"));
        }
        let mut events = 0;
        while events < MAX_EVENTS {
            events += next().await.unwrap().matches("event: joined\ndata: {}\n\n").count();
        }
        assert_eq!(events, MAX_EVENTS);
        for _ in 0..=MAX_EVENTS {
            feed.push(joined.clone(), Bytes::from_static(b"{}"));
        }
        assert_eq!(next().await, Some(snapshot(2 * MAX_EVENTS + 1)));
        assert_eq!(next().await.as_deref(), Some("]}\n\n"));
        assert_eq!(next().await.as_deref(), Some(":\n\n"));
        ending.cancel();
        assert_eq!(next().await, None);
    }
}
