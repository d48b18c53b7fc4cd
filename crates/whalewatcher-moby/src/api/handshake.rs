//! The first requests to an engine: negotiate the API version, identify the engine, read its clock.
//!
//! They are few, because all else waits for them: dockerd runs two programs for each `/info` to find their
//! versions, and as many for a `/version`. None of them has to succeed as long as one answer has the API
//! version: proxies let only some requests through.

use std::time::Duration;

use http::{HeaderMap, Response};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use whalewatcher_adapter::pid_if_named;
use whalewatcher_core::adapter::EngineIdentity;
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::api::clock::{EngineClock, date};
use crate::decode::identity::{Dialect, Info, Version};
use crate::decode::json;
use crate::decode::version::{ApiVersion, negotiate};
use crate::http::transport::Transport;
use crate::http::{answer, error};
use crate::limits::{MAX_IDENTITY, MAX_SELF};

/// The names of processes that are engines.
const PROCESSES: [&str; 2] = ["dockerd", "podman"];

const PING: &str = "GET /_ping";
const VERSION: &str = "GET /version";
const INFO: &str = "GET /info";

/// The share of the time left for connecting that each answer may take that is useful but not needed: however
/// slow the engine is, time is left for what follows.
const SHARE: u32 = 3;

/// What is known of an engine after the first requests.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) identity: EngineIdentity,
    pub(crate) api: ApiVersion,
    /// The engine's clock, read before any other request.
    pub(crate) clock: EngineClock,
    pub(crate) dialect: Dialect,
}

/// What the first answer contains.
struct Greeting {
    newest: ApiVersion,
    /// podman's own version, if it is podman.
    podman: Option<String>,
    date: Option<Timestamp>,
    /// The answer to `/version`, if it was requested.
    version: Option<Version>,
}

impl Handshake {
    /// Negotiates the API version and identifies the engine. `engine_type` overrides the type that the engine
    /// has by its own account; with `wants_podman` it has to be podman. `limit` is how long connecting may
    /// take.
    pub(crate) async fn perform(
        transport: &Transport,
        pinned: Option<ApiVersion>,
        engine_type: Option<&str>,
        wants_podman: bool,
        limit: Duration,
    ) -> Result<Self, EngineError> {
        let deadline = Instant::now() + limit;
        let Greeting { newest, podman, date, mut version } = ping(transport).await?;
        if podman.is_none() && wants_podman {
            let message = format!(
                "what answers at {} is not podman: name it as an engine with Docker's API",
                transport.endpoint()
            );
            return Err(EngineError::new(ErrorKind::NotThisEngine, message));
        }
        let mut api = negotiate(newest, None, pinned, podman.as_deref())?;
        if api < newest {
            // Only then the version may be too old for the engine.
            if version.is_none() {
                let answer = timeout(share(deadline), get(transport, "/version", VERSION)).await;
                version = match answer {
                    Ok(Ok((_, version))) => Some(version),
                    Ok(Err(error)) if answer::refusal(&error).is_none() => return Err(error),
                    // The engine may understand it all the same.
                    Ok(Err(_)) | Err(_) => Some(Version::default()),
                };
            }
            let oldest = version.as_ref().and_then(Version::oldest);
            api = negotiate(newest, oldest, pinned, podman.as_deref())?;
        }

        let dialect = if podman.is_some() { Dialect::Podman } else { Dialect::Docker };
        let path = format!("/v{api}/info");
        let info = optional(share(deadline), get::<Info>(transport, &path, INFO)).await?;
        let (mut info, dated) = match info {
            Some((headers, info)) => (info, self::date(&headers).or(date)),
            None => (Info::default(), date),
        };
        if info.server_version.is_none() {
            if version.is_none() {
                let answer = optional(share(deadline), get(transport, "/version", VERSION)).await?;
                version = answer.map(|(_, version)| version);
            }
            info.server_version = version.and_then(|version| version.version);
        }
        let time = info.system_time.as_deref().and_then(|text| text.parse().ok());

        let engine_type = engine_type.unwrap_or(match dialect {
            Dialect::Docker => "docker.com",
            Dialect::Podman | Dialect::Libpod => "podman.io",
        });
        let mut identity = EngineIdentity::new(engine_type, transport.endpoint().as_str());
        identity.id = within_limit("ID", info.id(dialect))?;
        identity.version = within_limit("version", info.server_version.unwrap_or_default())?;
        identity.pid = engine_pid(transport.peer());
        Ok(Self { identity, api, clock: EngineClock::new(time, dated), dialect })
    }
}

/// Returns how long the next answer may take that is not needed.
fn share(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / SHARE
}

/// Returns an answer that is useful but not needed; `None` if it is refused, malformed or does not come
/// within the limit. A lost connection is still an error.
async fn optional<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, EngineError>>,
) -> Result<Option<T>, EngineError> {
    let error = match timeout(limit, answer).await {
        Ok(Ok(answer)) => return Ok(Some(answer)),
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Unreachable) => {
            return Err(error);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {limit:?}"),
    };
    tracing::debug!(error, "connecting without the engine's description of itself");
    Ok(None)
}

/// Returns the PID of the process that listens at the socket, if that is an engine.
fn engine_pid(listener: Option<u32>) -> Option<u32> {
    pid_if_named(listener, &PROCESSES)
}

/// Returns a text with which an engine describes itself, if it has no more than [`MAX_SELF`] bytes.
fn within_limit(what: &str, text: String) -> Result<String, EngineError> {
    match text.len() {
        0..=MAX_SELF => Ok(text),
        length => Err(error::malformed(
            INFO,
            format!("the engine's {what} has {length} bytes, the limit is {MAX_SELF}"),
        )),
    }
}

async fn get<T: for<'de> Deserialize<'de>>(
    transport: &Transport,
    path: &str,
    what: &str,
) -> Result<(HeaderMap, T), EngineError> {
    let budget = transport.budget();
    let mut response = answer::succeeded(what, transport.get(path).await?, budget).await?;
    let headers = std::mem::take(response.headers_mut());
    let body = answer::read(what, response, MAX_IDENTITY, budget).await?;
    Ok((headers, json::decode(what, &body)?))
}

/// Finds the newest API version that the engine speaks: in the headers that every answer of an engine has, or
/// in the answer to `/version`.
async fn ping(transport: &Transport) -> Result<Greeting, EngineError> {
    let response = transport.get("/_ping").await?;
    let status = response.status();
    let (newest, podman, date) =
        (api_version(response.headers()), podman(response.headers()), date(response.headers()));
    let error = read_ping(transport, response).await.err();
    match (newest, error) {
        (Some(newest), None) => Ok(Greeting { newest, podman, date, version: None }),
        // The engine refuses the ping, as by an authorization plugin.
        (Some(newest), Some(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Ok(Greeting { newest, podman, date, version: None })
        }
        (Some(_), Some(error)) => Err(error),
        (None, error) => {
            if let Ok((headers, version)) = get::<Version>(transport, "/version", VERSION).await
                && let Some(newest) = version.newest()
            {
                let podman = self::podman(&headers);
                return Ok(Greeting { newest, podman, date: self::date(&headers), version: Some(version) });
            }
            let reason = match error {
                Some(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
                Some(error) => error.to_string(),
                None => {
                    format!("it answers {PING} with status {} but names no API version", status.as_u16())
                }
            };
            let endpoint = transport.endpoint();
            let message = if endpoint.is_plain_tcp() && reason.contains("HTTPS") {
                // dockerd (Go) and nginx answer such a request, once, without TLS.
                format!("{endpoint} expects TLS: use https://, or set certificates (DOCKER_CERT_PATH)")
            } else {
                let reason = Printable(&reason);
                format!("what answers at {endpoint} is not Docker's API: {reason}: check the endpoint")
            };
            Err(EngineError::new(ErrorKind::NotThisEngine, message))
        }
    }
}

async fn read_ping(transport: &Transport, response: Response<Incoming>) -> Result<(), EngineError> {
    let response = answer::succeeded(PING, response, transport.budget()).await?;
    // To the end, so that the connection can be used again.
    answer::read(PING, response, MAX_IDENTITY, transport.budget()).await?;
    Ok(())
}

/// Returns podman's own version: it has an API of its own beside Docker's, whose version is in the headers of
/// each answer.
fn podman(headers: &HeaderMap) -> Option<String> {
    let version = headers.get("libpod-api-version")?;
    Some(version.to_str().unwrap_or_default().to_owned())
}

fn api_version(headers: &HeaderMap) -> Option<ApiVersion> {
    ApiVersion::parse(headers.get("api-version")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn podman_is_identified_by_the_version_of_its_own_api() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "Docker/28.5.2 (linux)".parse().unwrap());
        assert_eq!(podman(&headers), None);
        headers.insert("Libpod-API-Version", "4.3.1".parse().unwrap());
        assert_eq!(podman(&headers).as_deref(), Some("4.3.1"));
    }

    #[test]
    fn an_engines_process_is_named_dockerd_or_podman() {
        for (name, is_engine) in [
            ("dockerd", true),
            ("podman", true),
            ("containerd", false),
            ("docker-proxy", false),
            ("systemd", false),
            ("socat", false),
            ("", false),
        ] {
            // A thread is named in /proc as a process is.
            let thread = thread::Builder::new().name(name.into()).spawn(|| {
                let task = fs::read_link("/proc/thread-self").unwrap();
                let id = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
                (id, engine_pid(Some(id)))
            });
            let (id, pid) = thread.unwrap().join().unwrap();
            assert_eq!(pid, is_engine.then_some(id), "{name}");
        }
        assert_eq!(engine_pid(Some(std::process::id())), None);
        assert_eq!(engine_pid(None), None);
    }

    #[test]
    fn an_id_or_version_has_a_limit() {
        let longest = "x".repeat(MAX_SELF);
        assert_eq!(within_limit("ID", longest.clone()).unwrap(), longest);
        let error = within_limit("version", longest + "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(
            error.to_string().contains("the engine's version has 8193 bytes, the limit is 8192"),
            "{error}"
        );
    }

    #[test]
    fn versions_are_read_from_the_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(api_version(&headers), None);
        headers.insert("Api-Version", "1.51".parse().unwrap());
        assert_eq!(api_version(&headers), ApiVersion::parse("1.51"));
    }
}
