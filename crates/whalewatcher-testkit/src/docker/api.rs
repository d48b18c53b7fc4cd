//! Requests and their answers: hooks, the API version in the path, the routes, the headers of every answer.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, DATE, HeaderValue, SERVER},
};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::json;

use super::{
    Error,
    body::{Body, EventStream},
    events::{Form, StreamQuery},
    filters::{Filters, parse_time},
    hooks::{Kind, Request, Verdict},
    identity::ApiVersion,
    inspect, libpod, list,
    server::Shared,
    wire::Spoiler,
};

/// From this API version on, events lack the deprecated fields.
const NEW_EVENTS: ApiVersion = ApiVersion::new(1, 52);

/// An error that makes hyper close the connection without an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed by a hook")
    }
}

impl std::error::Error for Closed {}

pub(super) async fn respond(
    shared: Arc<Shared>,
    spoiler: Spoiler,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let uri = request.uri();
    let request = Request::new(request.method().as_str(), uri.path(), uri.query());
    tracing::trace!(method = request.method(), path = request.path(), "request");
    count(&shared, request.kind());
    let before = shared.hooks.before(&request).await;
    let response = match before {
        Verdict::Answer { status, ref body } => answer(status, body.clone()),
        Verdict::Pass | Verdict::Hold(_) | Verdict::Truncate(_) => route(&shared, &request).await,
        verdict => return replace_answer(&spoiler, verdict).await,
    };
    let response = headed(&shared, response);
    let response = cut(response, &before);
    match shared.hooks.after(&request, response.status().as_u16()).await {
        Verdict::Pass | Verdict::Hold(_) => Ok(response),
        Verdict::Answer { status, body } => Ok(headed(&shared, answer(status, body))),
        verdict @ Verdict::Truncate(_) => Ok(cut(response, &verdict)),
        verdict => replace_answer(&spoiler, verdict).await,
    }
}

fn cut(response: Response<Body>, verdict: &Verdict) -> Response<Body> {
    match verdict {
        Verdict::Truncate(bytes) => response.map(|body| body.cut_after(*bytes)),
        _ => response,
    }
}

/// Handles the verdicts that replace the whole answer.
async fn replace_answer(spoiler: &Spoiler, verdict: Verdict) -> Result<Response<Body>, Closed> {
    match verdict {
        Verdict::Garbage(bytes) => {
            spoiler.spoil(bytes);
            // The client never receives this: it only makes hyper write.
            Ok(Response::new(Body::Whole(None)))
        }
        Verdict::Hang => std::future::pending().await,
        _ => Err(Closed),
    }
}

fn count(shared: &Shared, kind: Kind) {
    shared.stats.count(|stats| {
        let requests = &mut stats.requests;
        *match kind {
            Kind::Ping => &mut requests.ping,
            Kind::Version => &mut requests.version,
            Kind::Info => &mut requests.info,
            Kind::List => &mut requests.list,
            Kind::Inspect => &mut requests.inspect,
            Kind::Events => &mut requests.events,
            Kind::Other => &mut requests.other,
        } += 1;
    });
}

async fn route(shared: &Arc<Shared>, request: &Request) -> Response<Body> {
    let engine = &shared.engine;
    let identity = shared.identity();
    if request.is_libpod() && !engine.flavour.is_podman() {
        return failure(404, "page not found");
    }
    let docker = request.api_version().filter(|_| !request.is_libpod());
    let version = match docker.map(|version| identity.admit(version)).transpose() {
        Ok(version) => version.or_else(|| ApiVersion::parse(&identity.api)),
        Err(message) => return failure(400, &message),
    };
    match request.kind() {
        Kind::Ping => ping(request),
        Kind::Version => document(identity.version(engine.flavour).to_string()),
        Kind::Info => document(identity.info(engine).to_string()),
        Kind::List => match selection(request).and_then(|selection| list::list(engine, &selection)) {
            Ok(list) => document(list),
            Err(message) => failure(400, &message),
        },
        Kind::Inspect => {
            let key = request.container().unwrap_or_default();
            let found = engine.lock().find(key);
            match found {
                Ok(container) if request.is_libpod() => document(libpod::inspect(&container).to_string()),
                Ok(container) => document(inspect::inspect(&container).to_string()),
                Err(Error::Ambiguous(_)) => {
                    failure(400, &format!("multiple IDs found with provided prefix: {key}"))
                }
                Err(_) => failure(404, &format!("No such container: {key}")),
            }
        }
        Kind::Events => {
            let form = match version {
                _ if request.is_libpod() => Form::Libpod,
                version if version >= Some(NEW_EVENTS) => Form::New,
                _ => Form::Old,
            };
            match stream_query(request, form) {
                Ok(query) => events(shared, query).await,
                Err(message) => failure(400, &message),
            }
        }
        Kind::Other => failure(404, "page not found"),
    }
}

fn ping(request: &Request) -> Response<Body> {
    let text = if request.method() == "HEAD" { "" } else { "OK" };
    let mut response = Response::new(Body::Whole(Some(text.into())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("builder-version", HeaderValue::from_static("2"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    response
}

fn selection(request: &Request) -> Result<list::Selection, String> {
    let flag = |name| {
        let no = ["", "0", "no", "false", "none"];
        request.query(name).is_some_and(|value| !no.contains(&value.to_lowercase().as_str()))
    };
    let limit = request.query("limit").and_then(|limit| limit.parse().ok());
    let filters = Filters::parse(request.query("filters"))?;
    Ok(list::Selection { all: flag("all"), limit, filters, libpod: request.is_libpod() })
}

fn stream_query(request: &Request, form: Form) -> Result<StreamQuery, String> {
    let since = parse_time(request.query("since"))?;
    let until = parse_time(request.query("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(format!("`since` time ({since}) cannot be after `until` time ({until})"));
    }
    Ok(StreamQuery { since, until, filters: Filters::parse(request.query("filters"))?, form })
}

async fn events(shared: &Arc<Shared>, query: StreamQuery) -> Response<Body> {
    let mut events = Box::new(EventStream::new(Arc::clone(shared), query));
    if shared.engine.flavour.is_podman() {
        events.pull().await;
    }
    json_type(Response::new(Body::Events(events)))
}

fn document(json: impl Into<Bytes>) -> Response<Body> {
    json_type(Response::new(Body::Whole(Some(json.into()))))
}

fn failure(status: u16, message: &str) -> Response<Body> {
    answer(status, format!("{}\n", json!({ "message": message })).into())
}

fn answer(status: u16, body: Bytes) -> Response<Body> {
    let mut response = document(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn json_type(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds the headers that every answer of the engine has.
fn headed(shared: &Shared, mut response: Response<Body>) -> Response<Body> {
    let identity = shared.identity();
    let headers = response.headers_mut();
    // A version set by a test may contain characters that no header can.
    if let Ok(api) = HeaderValue::from_str(&identity.api) {
        headers.insert("api-version", api);
    }
    if let Ok(server) = HeaderValue::from_str(&identity.server(shared.engine.flavour)) {
        headers.insert(SERVER, server);
    }
    if shared.engine.flavour.is_podman()
        && let Ok(own) = HeaderValue::from_str(&identity.version)
    {
        headers.insert("libpod-api-version", own);
    }
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.engine.clock.now());
    if let Some(date) = date.ok().and_then(|date| HeaderValue::from_str(&date).ok()) {
        headers.insert(DATE, date);
    }
    response
}
