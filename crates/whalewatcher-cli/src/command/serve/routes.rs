//! What is served where.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::fleet::{FleetMember, FleetPortfolio};
use whalewatcher_core::{Container, Fleet, Printable};
use whalewatcher_discover::Discovery;
use whalewatcher_etcd::Hub;

use super::feed::{Feed, Position};
use super::form::Form;
use super::hosts;
use super::metrics::{self, Metrics};
use super::query::Query;
use super::readiness::problem;
use super::stream::stream;
use super::{openapi, page, prometheus};
use crate::command::engines::{of_finding, of_watcher};
use crate::render::json;
use crate::selection::{LEAST_ID, Selection};

const JSON: &str = "application/json";

/// What the answers are made from.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) feed: Feed,
    pub(super) fleet: Arc<Fleet>,
    pub(super) metrics: Metrics,
    /// `None` if all engines were named.
    pub(super) discovery: Option<Arc<Discovery>>,
    /// The clusters in which other hosts publish.
    pub(super) hubs: Arc<Vec<Hub>>,
    /// Ends the streams.
    pub(super) ending: CancellationToken,
}

/// Why a request has no other answer: the status, and the reason.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, [(CONTENT_TYPE, JSON)], line(&serde_json::json!({ "error": error }))).into_response()
    }
}

pub(super) fn router(served: Served) -> Router {
    let router = Router::new()
        .route("/v1/containers", get(containers))
        .route("/v1/containers/{*id_or_name}", get(container))
        .route("/v1/projects", get(projects))
        .route("/v1/pods", get(pods))
        .route("/v1/engines", get(engines))
        .route("/v1/hosts", get(hosts::answer))
        .route("/v1/events", get(events))
        .route("/v1/sd/prometheus", get(targets))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/metrics", get(metrics::answer))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready));
    #[cfg(target_os = "linux")]
    let router = router.route("/v1/owner/{pid}", get(owner));
    let missing =
        async || Refusal(StatusCode::NOT_FOUND, "there is nothing here; see docs/serve.md".to_owned());
    let refused = async || Refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served".to_owned());
    let router = router.merge(page::router()).method_not_allowed_fallback(refused);
    router.fallback(missing).with_state(served)
}

async fn containers(
    State(served): State<Served>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let selection = query_of(query.as_deref())?.selection()?;
    if let Some(names) = selection.plain_names() {
        let (found, position) = served.feed.known_by(names, LEAST_ID);
        let found = found.iter().map(|(member, one)| (member, one));
        return Ok(unless_known(&headers, &position, || array_of(found, &selection)));
    }
    let (now, position) = served.feed.now();
    Ok(unless_known(&headers, &position, || array_of(now.containers(), &selection)))
}

/// Returns those of the containers that are selected.
fn array_of<'a>(
    all: impl Iterator<Item = (&'a FleetMember, &'a Arc<Container>)>,
    selection: &Selection,
) -> Vec<u8> {
    let all = all.map(|(member, one)| (&**member.watcher(), &**one));
    let mut body = Vec::new();
    // Writing to memory does not fail.
    let _ = json::write_containers(&mut body, all.filter(|(watcher, one)| selection.matches(*watcher, one)));
    body
}

async fn container(
    State(served): State<Served>,
    Path(id_or_name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (now, position) = served.feed.now();
    let (member, container) = only(&now, &id_or_name)?;
    Ok(unless_known(&headers, &position, || {
        let mut body = Vec::new();
        let _ = json::write_container(&mut body, &**member.watcher(), container);
        body.push(b'\n');
        body
    }))
}

/// Returns the container with this ID, else the only one with this name.
fn only<'a>(
    now: &'a FleetPortfolio,
    id_or_name: &str,
) -> Result<(&'a FleetMember, &'a Arc<Container>), Refusal> {
    let mut found: Vec<_> = now.by_id(id_or_name).collect();
    if found.is_empty() {
        found = now.by_name(id_or_name).collect();
    }
    match *found {
        [only] => Ok(only),
        [] => {
            let reason = format!("no live container is known by '{}'", Printable(id_or_name));
            Err(Refusal(StatusCode::NOT_FOUND, reason))
        }
        _ => {
            let reason = format!(
                "{} live containers are known by '{}': name one by its ID, or filter /v1/containers",
                found.len(),
                Printable(id_or_name)
            );
            Err(Refusal(StatusCode::CONFLICT, reason))
        }
    }
}

async fn projects(State(served): State<Served>, headers: HeaderMap) -> Response {
    #[derive(Serialize)]
    struct Project<'a> {
        name: &'a str,
        containers: usize,
    }
    let (now, position) = served.feed.now();
    unless_known(&headers, &position, || {
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for (_, container) in now.containers().filter(|(_, container)| !container.project().is_empty()) {
            *counts.entry(container.project()).or_default() += 1;
        }
        let all = counts.into_iter().map(|(name, containers)| Project { name, containers });
        line(&all.collect::<Vec<_>>())
    })
}

async fn pods(State(served): State<Served>, headers: HeaderMap) -> Response {
    #[derive(Serialize)]
    struct Pod<'a> {
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
        containers: Vec<&'a str>,
    }
    let (now, position) = served.feed.now();
    unless_known(&headers, &position, || {
        let pods = now.pods();
        let all = pods.iter().map(|pod| Pod {
            namespace: pod.namespace(),
            name: pod.name(),
            uid: pod.uid(),
            containers: pod.containers().map(|container| container.id().as_str()).collect(),
        });
        line(&all.collect::<Vec<_>>())
    })
}

async fn engines(State(served): State<Served>) -> Response {
    let findings = served.discovery.as_ref().map(|discovery| discovery.findings());
    let (now, _) = served.feed.now();
    let watched = now.members().map(|member| {
        let watcher = &**member.watcher();
        let status = watcher.status();
        let problems = problem(watcher, &status.phase).into_iter().collect();
        of_watcher(watcher, &status, Some(member.portfolio()), problems)
    });
    let missing = findings.iter().flat_map(|findings| findings.iter()).map(of_finding);
    let mut body = Vec::new();
    let _ = json::write_engines(&mut body, watched.chain(missing));
    json_response(body)
}

async fn events(
    State(served): State<Served>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let query = query_of(query.as_deref())?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let wants_lines = text(ACCEPT.as_str()).is_some_and(|accepted| accepted.contains("application/x-ndjson"));
    let (form, kind) = match wants_lines {
        true => (Form::Lines, "application/x-ndjson"),
        false => (Form::Sse, "text/event-stream"),
    };
    let last = text("last-event-id");
    let pieces = stream(served.feed, form, query.selection()?, last, served.ending);
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], Body::from_stream(pieces)).into_response())
}

async fn targets(
    State(served): State<Served>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let selection = query_of(query.as_deref())?.selection()?;
    let (now, position) = served.feed.now();
    Ok(unless_known(&headers, &position, || prometheus::targets(&now, &selection)))
}

#[cfg(target_os = "linux")]
async fn owner(State(served): State<Served>, Path(pid): Path<String>) -> Result<Response, Refusal> {
    let invalid = || Refusal(StatusCode::BAD_REQUEST, format!("'{}' is no PID", Printable(&pid)));
    let pid = pid.parse::<u32>().map_err(|_| invalid())?;
    let (now, _) = served.feed.now();
    let looked = tokio::task::spawn_blocking(move || {
        let members: Vec<_> = now.members().collect();
        let owner = whalewatcher_host::owner_of(pid, members.iter().map(|member| member.portfolio()))?;
        Ok(owner.map(|owner| {
            let mut body = Vec::new();
            let _ = json::write_container(&mut body, &**members[owner.portfolio].watcher(), owner.container);
            body.push(b'\n');
            body
        }))
    });
    let failed = |reason: String| Refusal(StatusCode::INTERNAL_SERVER_ERROR, reason);
    match looked.await.map_err(|error| failed(error.to_string()))? {
        Ok(Some(body)) => Ok(json_response(body)),
        Ok(None) => {
            Err(Refusal(StatusCode::NOT_FOUND, format!("process {pid} is in no container that is known")))
        }
        Err(error) if std::io::Error::kind(&error) == std::io::ErrorKind::NotFound => {
            Err(Refusal(StatusCode::NOT_FOUND, format!("there is no process {pid}")))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

async fn healthy() -> &'static str {
    "ok\n"
}

/// The status is 503 unless each engine is live, those of this host have been looked for, and those of other
/// hosts are known.
async fn ready(State(served): State<Served>) -> Response {
    let waiting = served.waiting();
    let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json_response(line(&waiting))).into_response()
}

fn query_of(text: Option<&str>) -> Result<Query, Refusal> {
    Query::parse(text.unwrap_or_default()).map_err(|reason| Refusal(StatusCode::BAD_REQUEST, reason))
}

impl From<String> for Refusal {
    /// What is wrong with a request.
    fn from(reason: String) -> Self {
        Self(StatusCode::BAD_REQUEST, reason)
    }
}

/// Returns what `body` returns, unless the client has that already: nothing has happened since.
fn unless_known(headers: &HeaderMap, position: &Position, body: impl FnOnce() -> Vec<u8>) -> Response {
    let tag = format!("\"{position}\"");
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known
        .flat_map(|value| value.split(','))
        .any(|one| matches!(one.trim(), one if one == tag || one == "*"));
    if is_known {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    ([(ETAG, tag)], json_response(body())).into_response()
}

pub(super) fn json_response(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, JSON), (CACHE_CONTROL, "no-cache")], Bytes::from(body)).into_response()
}

/// Returns a value as a line of JSON.
fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::new();
    let _ = json::write_line(&mut line, value);
    line
}
