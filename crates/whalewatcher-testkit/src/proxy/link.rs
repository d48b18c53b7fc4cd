//! A connection, as its two directions and the proxy share it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::armed::Occurrence;

/// An HTTP request that is not answered in full.
#[derive(Debug)]
pub(super) struct Request {
    /// Its number on the connection, from 0.
    pub(super) number: u64,
    /// Its first line.
    pub(super) line: String,
    pub(super) to_head: bool,
    pub(super) for_events: bool,
    /// The proxy's answer in the engine's place.
    pub(super) substitute: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn new(number: u64, line: String) -> Self {
        let to_head = line.starts_with("HEAD ");
        let for_events = short(&line).ends_with("/events");
        Self { number, line, to_head, for_events, substitute: None }
    }
}

/// Returns method and path of a request's first line.
pub(super) fn short(line: &str) -> &str {
    let end = line.find('?').or_else(|| line.rfind(' ')).unwrap_or(line.len());
    &line[..end]
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Close,
    Reset,
}

/// A connection of a client and its state.
#[derive(Debug)]
pub(super) struct Link {
    /// Its number in order of acceptance, from 0.
    pub(super) number: u64,
    /// Requests whose answers have not been passed on in full.
    outstanding: Mutex<VecDeque<Arc<Request>>>,
    /// Notified of each new request.
    pub(super) asked: Notify,
    engaged: Mutex<HashSet<Occurrence>>,
    end: watch::Sender<Option<End>>,
    /// How many stalls hold back data to the client.
    silent: AtomicUsize,
    /// Whether the client has ended its data.
    pub(super) client_gone: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            outstanding: Mutex::default(),
            asked: Notify::new(),
            engaged: Mutex::default(),
            end: watch::Sender::new(None),
            silent: AtomicUsize::new(0),
            client_gone: AtomicBool::new(false),
        }
    }

    pub(super) fn ask(&self, request: Arc<Request>) {
        lock(&self.outstanding).push_back(request);
        self.asked.notify_one();
    }

    /// The request whose answer is next or has begun.
    pub(super) fn answering(&self) -> Option<Arc<Request>> {
        lock(&self.outstanding).front().cloned()
    }

    /// The request that was sent last, if it is not answered in full.
    pub(super) fn asking(&self) -> Option<Arc<Request>> {
        lock(&self.outstanding).back().cloned()
    }

    pub(super) fn answered(&self) {
        lock(&self.outstanding).pop_front();
    }

    /// Whether this occurrence has taken effect here, or `take` permits it.
    pub(super) fn engaged(&self, occurrence: Occurrence, take: impl FnOnce() -> bool) -> bool {
        let mut engaged = lock(&self.engaged);
        if engaged.contains(&occurrence) {
            return true;
        }
        let taken = take();
        if taken {
            // Former requests do not occur again.
            if let Some(request) = occurrence.request {
                engaged.retain(|other| other.request.is_none_or(|other| other + 64 > request));
            }
            engaged.insert(occurrence);
        }
        taken
    }

    pub(super) fn end(&self, how: End) {
        self.end.send_modify(|end| *end = end.or(Some(how)));
    }

    /// Resolves when the connection is to be ended by a call.
    pub(super) async fn ended(&self) -> End {
        match self.end.subscribe().wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(End::Close),
            Err(_) => End::Close,
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add_silence(&self) {
        self.silent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_silence(&self) {
        self.silent.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_method_and_path() {
        assert_eq!(short("GET /events?since=1 HTTP/1.1"), "GET /events");
        assert_eq!(short("HEAD /_ping HTTP/1.1"), "HEAD /_ping");
        assert!(Request::new(0, "GET /v1.51/events?since=1 HTTP/1.1".into()).for_events);
        assert!(!Request::new(0, "GET /containers/events/json HTTP/1.1".into()).for_events);
    }
}
