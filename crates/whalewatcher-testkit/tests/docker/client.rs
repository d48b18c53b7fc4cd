//! A plain HTTP client, one connection for each request.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use whalewatcher_testkit::docker::Server;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().into()
    }
}

pub(crate) async fn send(
    server: &Server,
    method: Method,
    path: &str,
) -> Result<Response<Incoming>, hyper::Error> {
    let stream = UnixStream::connect(server.socket()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "docker")
        .body(Empty::<Bytes>::new())
        .unwrap();
    sender.send_request(request).await
}

pub(crate) async fn get(server: &Server, path: &str) -> Answer {
    let (head, body) = send(server, Method::GET, path).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status.as_u16(), body }
}

pub(crate) async fn inspect(server: &Server, container: &str) -> Value {
    let answer = get(server, &format!("/containers/{container}/json")).await;
    assert_eq!(answer.status, 200, "{container}");
    answer.json()
}

pub(crate) async fn list(server: &Server, query: &str) -> Vec<Value> {
    let answer = get(server, &format!("/containers/json?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {:?}", answer.body);
    serde_json::from_slice(&answer.body).unwrap()
}

/// The names in a list, in its order.
pub(crate) async fn names(server: &Server, query: &str) -> Vec<String> {
    let entries = list(server, query).await;
    entries.iter().map(|entry| entry["Names"][0].as_str().unwrap()[1..].into()).collect()
}

/// Returns `filters=…` for a query.
pub(crate) fn filters(json: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("filters", json).finish()
}

/// Sends these bytes, and returns everything up to the end of the connection.
pub(crate) async fn raw(server: &Server, request: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(server.socket()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The connection may be closed in any way.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// An event stream whose headers have arrived.
pub(crate) struct Events {
    body: Incoming,
    rest: Vec<u8>,
    lines: VecDeque<Value>,
}

impl Events {
    /// Returns when the headers have arrived, which does not mean that the stream is registered.
    pub(crate) async fn request(server: &Server, query: &str) -> Self {
        let response = send(server, Method::GET, &format!("/events?{query}")).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new(), lines: VecDeque::new() }
    }

    /// Returns when one more listener is registered.
    pub(crate) async fn registered(server: &Server, query: &str) -> Self {
        let registered = server.stats().registered;
        let events = Self::request(server, query).await;
        server.until(|stats| stats.registered > registered).await;
        events
    }

    /// Returns the next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            self.rest.extend(self.body.frame().await?.ok()?.into_data().unwrap());
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.lines.push_back(serde_json::from_slice(&line).unwrap());
            }
        }
    }

    /// Returns the next events as `action name`.
    pub(crate) async fn reported(&mut self, count: usize) -> Vec<String> {
        let mut reported = Vec::new();
        while reported.len() < count {
            let event = self.next().await.expect("the stream ended too early");
            let name = event["Actor"]["Attributes"]["name"].as_str().unwrap_or("?");
            reported.push(format!("{} {name}", event["Action"].as_str().unwrap()));
        }
        reported
    }

    /// Returns all events up to the end of the stream, as `action name`.
    pub(crate) async fn all(mut self) -> Vec<String> {
        let mut reported = Vec::new();
        while let Some(event) = self.next().await {
            let name = event["Actor"]["Attributes"]["name"].as_str().unwrap_or("?");
            reported.push(format!("{} {name}", event["Action"].as_str().unwrap()));
        }
        reported
    }
}

/// The engine's time now, as `since` and `until` take it; later events have later times.
pub(crate) fn now(server: &Server) -> String {
    let now = server.clock().now();
    format!("{}.{:09}", now.as_second(), now.subsec_nanosecond())
}
