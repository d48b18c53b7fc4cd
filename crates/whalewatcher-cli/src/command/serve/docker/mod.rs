//! A part of Docker's API, for reading, at a socket of its own: for the clients of dockerd.

mod about;
mod events;
mod filters;
mod inspect;
mod list;
mod shape;

use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::Printable;
use whalewatcher_core::fleet::FleetPortfolio;

use super::feed::Feed;
use super::listener::Socket;
use super::memory::Memory;
use crate::args::{DockerApiArgs, FilterArgs, InspectSource};
use crate::render::json;
use crate::selection::Selection;

/// The newest and the oldest version of Docker's API that is spoken.
const NEWEST: (u32, u32) = (1, 51);
const OLDEST: (u32, u32) = (1, 24);

/// What the answers are made from.
#[derive(Clone)]
struct Docker {
    feed: Feed,
    /// The engines whose containers are shown.
    selection: Selection,
    inspect: InspectSource,
    /// Ends the streams.
    ending: CancellationToken,
}

/// Listens at the socket, if there is to be one.
///
/// # Errors
///
/// If it cannot be listened at.
pub(super) fn bind(arguments: &DockerApiArgs) -> anyhow::Result<Option<Socket>> {
    arguments.socket.as_deref().map(|path: &Path| Socket::bind(path, "--docker-socket")).transpose()
}

/// Returns what is served there.
///
/// # Errors
///
/// If the name of an engine is invalid: wrong usage.
pub(super) fn router(
    arguments: &DockerApiArgs,
    feed: Feed,
    ending: CancellationToken,
    memory: &Memory,
) -> anyhow::Result<Router> {
    let filters = FilterArgs { engines: arguments.engines.clone(), ..FilterArgs::default() };
    let docker =
        Docker { feed, selection: Selection::new(&[], &filters)?, inspect: arguments.inspect, ending };
    let app = Router::new().fallback(answer).with_state(docker);
    Ok(memory.limit(app, |status, reason| Refusal(status, reason).into_response()))
}

/// Answers a request, with the headers that each answer of dockerd has.
async fn answer(State(docker): State<Docker>, request: Request) -> Response {
    let answered = respond(&docker, request.method(), request.uri()).await;
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    let version = HeaderValue::from_str(&version_text(NEWEST));
    headers.extend(version.ok().map(|version| (HeaderName::from_static("api-version"), version)));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("whalewatcher/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    response
}

async fn respond(docker: &Docker, method: &Method, uri: &Uri) -> Result<Response, Refusal> {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let mut segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if let Some(version) = segments.first().copied().and_then(version_of) {
        check_version(version)?;
        segments.remove(0);
    }
    let query = uri.query().unwrap_or_default();
    match (method, &*segments) {
        (&Method::GET | &Method::HEAD, ["_ping"]) => Ok(ping()),
        (&Method::GET, ["version"]) => Ok(json_response(&about::version())),
        (&Method::GET, ["info"]) => Ok(json_response(&about::info(&docker.feed.now().0, &docker.selection))),
        (&Method::GET, ["networks"]) => {
            Ok(json_response(&about::networks(&docker.known()?, &docker.selection)))
        }
        (&Method::GET, ["containers", "json"]) => list::list(docker, query),
        (&Method::GET, ["containers", key @ .., "json"]) => inspect::inspect(docker, &key.join("/")).await,
        (&Method::GET, ["events"]) => events::events(docker, query),
        _ => {
            let request = format!("{method} /{}", segments.join("/"));
            let reason = format!(
                "whalewatcher serves a part of Docker's API, for reading only: {} is refused",
                Printable(&request)
            );
            Err(Refusal(StatusCode::FORBIDDEN, reason))
        }
    }
}

impl Docker {
    /// Returns what is alive.
    ///
    /// # Errors
    ///
    /// If no container is known, but not all engines are in sync: that none is alive is not known.
    fn known(&self) -> Result<FleetPortfolio, Refusal> {
        let (now, _) = self.feed.now();
        let shown = now.members().filter(|member| self.selection.concerns(&**member.watcher()));
        let shown: Vec<_> = shown.collect();
        let problem = shown.iter().find_map(|member| about::problem(member));
        let is_known = !shown.is_empty() && problem.is_none();
        if is_known || shown.iter().any(|member| !member.portfolio().is_empty()) {
            return Ok(now);
        }
        let reason = problem.unwrap_or_else(|| "no engine was found yet".to_owned());
        let reason = format!("whether containers are alive is not known: {reason}");
        Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason))
    }
}

fn ping() -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache, no-store")];
    (headers, "OK").into_response()
}

/// Why a request has no other answer: the status, and the reason, in the form of dockerd's errors.
struct Refusal(StatusCode, String);

impl Refusal {
    fn invalid(reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, json_response(&serde_json::json!({ "message": message }))).into_response()
    }
}

fn json_response(value: &impl Serialize) -> Response {
    let mut line = Vec::new();
    // Writing to memory does not fail.
    let _ = json::write_line(&mut line, value);
    json_bytes(line.into())
}

fn json_bytes(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Returns the version that a path begins with, such as `v1.41`.
fn version_of(segment: &str) -> Option<(u32, u32)> {
    let (major, minor) = segment.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Refuses versions that are not spoken, as dockerd does.
fn check_version(version: (u32, u32)) -> Result<(), Refusal> {
    let asked = version_text(version);
    if version > NEWEST {
        return Err(Refusal::invalid(format!(
            "client version {asked} is too new. Maximum supported API version is {}",
            version_text(NEWEST)
        )));
    }
    if version < OLDEST {
        return Err(Refusal::invalid(format!(
            "client version {asked} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            version_text(OLDEST)
        )));
    }
    Ok(())
}

fn version_text((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

/// Returns the first value of a parameter; `None` if it is empty.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut all = form_urlencoded::parse(query.as_bytes());
    all.find_map(|(key, value)| (key == name && !value.is_empty()).then(|| value.into_owned()))
}
