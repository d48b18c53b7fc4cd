//! The first requests to an engine: whether it is one, which versions it speaks, which one it is, what time it is there.
//!
//! They are few, for all else waits for them: dockerd runs two programs for each `/info`, to tell their versions, and as many
//! for a `/version`. And none of them has to succeed as long as another one has the version of the API: proxies let only
//! some requests through.

use std::time::Duration;

use http::{HeaderMap, Response};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::timeout;
use whalewatcher_core::{EngineError, EngineIdentity, ErrorKind, Printable};

use crate::api::clock::{EngineClock, date};
use crate::decode::version::{ApiVersion, negotiate};
use crate::http::answer;
use crate::http::failure;
use crate::http::peer::engine_pid;
use crate::http::transport::Transport;
use crate::limits::{MAX_IDENTITY, MAX_SELF};

/// The share of the time for connecting that `/info`, and a `/version` that is not needed, may take.
const SHARE: u32 = 3;

/// What is known after the first requests.
#[derive(Debug)]
pub(crate) struct Acquaintance {
    pub(crate) identity: EngineIdentity,
    pub(crate) api: ApiVersion,
    /// The engine's clock, read before anything else is asked.
    pub(crate) clock: EngineClock,
    pub(crate) podman: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    api_version: Option<String>,
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: Option<String>,
}

impl Version {
    /// The newest version that the engine speaks, if it is there.
    fn newest(&self) -> Option<ApiVersion> {
        self.api_version.as_deref().and_then(ApiVersion::parse)
    }

    /// The oldest version that the engine speaks, if it is there.
    pub(crate) fn oldest(&self) -> Option<ApiVersion> {
        self.min_api_version.as_deref().and_then(ApiVersion::parse)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    #[serde(rename = "ID", default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    docker_root_dir: Option<String>,
    #[serde(default)]
    server_version: Option<String>,
    #[serde(default)]
    system_time: Option<String>,
}

impl Info {
    /// podman makes up a new ID for each answer (seen on 4.3.1). What stays, and distinguishes the engines of a host's
    /// users, is the host's name with the folder where containers are kept.
    pub(crate) fn id(&mut self, podman: bool) -> String {
        if !podman {
            return self.id.take().unwrap_or_default();
        }
        match (self.name.take(), self.docker_root_dir.take()) {
            (None, None) => String::new(),
            (name, folder) => format!("{}:{}", name.unwrap_or_default(), folder.unwrap_or_default()),
        }
    }
}

/// What is in the first answer.
struct Greeting {
    newest: ApiVersion,
    /// podman's own version, if it is podman.
    podman: Option<String>,
    date: Option<Timestamp>,
    /// The answer of `/version`, if it had to be asked.
    version: Option<Version>,
}

/// Negotiates the API version and identifies the engine. `engine_type` is what the application calls the engine, if it does;
/// `limit` is how long connecting may take.
pub(crate) async fn greet(
    transport: &Transport,
    pinned: Option<ApiVersion>,
    engine_type: Option<&str>,
    limit: Duration,
) -> Result<Acquaintance, EngineError> {
    let optional_limit = limit / SHARE;
    let Greeting { newest, podman, date, mut version } = ping(transport).await?;
    let mut api = negotiate(newest, None, pinned, podman.as_deref())?;
    if api < newest {
        // Only then it may be too old a version for the engine.
        if version.is_none() {
            version = match ask(transport, "/version", "GET /version").await {
                Ok((_, version)) => Some(version),
                // The engine may understand it all the same.
                Err(error) if answer::refusal(&error).is_some() => Some(Version::default()),
                Err(error) => return Err(error),
            };
        }
        let oldest = version.as_ref().and_then(Version::oldest);
        api = negotiate(newest, oldest, pinned, podman.as_deref())?;
    }

    let path = format!("/v{api}/info");
    let (mut info, dated) = match optional(optional_limit, ask::<Info>(transport, &path, "GET /info")).await?
    {
        Some((headers, info)) => (info, self::date(&headers).or(date)),
        None => (Info::default(), date),
    };
    if info.server_version.is_none() {
        if version.is_none() {
            let asked = optional(optional_limit, ask(transport, "/version", "GET /version")).await?;
            version = asked.map(|(_, version)| version);
        }
        info.server_version = version.and_then(|version| version.version);
    }
    let time = info.system_time.as_deref().and_then(|text| text.parse().ok());

    let own_type = if podman.is_some() { "podman.io" } else { "docker.com" };
    let mut identity = EngineIdentity::new(engine_type.unwrap_or(own_type), transport.endpoint().as_str());
    identity.id = of_itself("ID", info.id(podman.is_some()))?;
    identity.version = of_itself("version", info.server_version.unwrap_or_default())?;
    identity.pid = engine_pid(transport.peer());
    Ok(Acquaintance { identity, api, clock: EngineClock::new(time, dated), podman: podman.is_some() })
}

/// Returns an answer that is useful but not needed; `None` where it is refused, malformed or does not come within the limit.
/// A lost connection is still an error.
async fn optional<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, EngineError>>,
) -> Result<Option<T>, EngineError> {
    let error = match timeout(limit, asking).await {
        Ok(Ok(answer)) => return Ok(Some(answer)),
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Unreachable) => {
            return Err(error);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {limit:?}"),
    };
    tracing::debug!(error, "connecting without what the engine says of itself");
    Ok(None)
}

/// What an engine says of itself, if it has no more than [`MAX_SELF`] bytes.
fn of_itself(what: &str, text: String) -> Result<String, EngineError> {
    match text.len() {
        0..=MAX_SELF => Ok(text),
        length => Err(failure::malformed(
            "GET /info",
            format!("the engine's {what} has {length} bytes, {MAX_SELF} may be"),
        )),
    }
}

async fn ask<T: for<'de> Deserialize<'de>>(
    transport: &Transport,
    path: &str,
    what: &str,
) -> Result<(HeaderMap, T), EngineError> {
    let memory = transport.memory();
    let mut response = answer::succeeded(what, transport.get(path).await?, memory).await?;
    let headers = std::mem::take(response.headers_mut());
    let body = answer::read(what, response, MAX_IDENTITY, memory).await?;
    Ok((headers, answer::decode(what, &body)?))
}

/// The newest version that the engine speaks, if it is one: as every answer has it in its headers, or as `/version` has it.
async fn ping(transport: &Transport) -> Result<Greeting, EngineError> {
    let response = transport.get("/_ping").await?;
    let status = response.status();
    let (newest, podman, date) =
        (api_version(response.headers()), podman(response.headers()), date(response.headers()));
    let complaint = read_ping(transport, response).await.err();
    match (newest, complaint) {
        (Some(newest), None) => Ok(Greeting { newest, podman, date, version: None }),
        // The engine refuses itself, by a plugin for authorization.
        (Some(newest), Some(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Ok(Greeting { newest, podman, date, version: None })
        }
        (Some(_), Some(error)) => Err(error),
        (None, complaint) => {
            if let Ok((headers, version)) = ask::<Version>(transport, "/version", "GET /version").await
                && let Some(newest) = version.newest()
            {
                let podman = self::podman(&headers);
                return Ok(Greeting { newest, podman, date: self::date(&headers), version: Some(version) });
            }
            let reason = match complaint {
                Some(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
                Some(error) => error.to_string(),
                None => {
                    format!("it answers GET /_ping with status {} but names no API version", status.as_u16())
                }
            };
            let message = format!(
                "what answers at {} is not Docker's API: {}: check the endpoint",
                transport.endpoint(),
                Printable(&reason)
            );
            Err(EngineError::new(ErrorKind::NotThisEngine, message))
        }
    }
}

async fn read_ping(transport: &Transport, response: Response<Incoming>) -> Result<(), EngineError> {
    const WHAT: &str = "GET /_ping";
    let response = answer::succeeded(WHAT, response, transport.memory()).await?;
    // To the end, so that the connection can be used again.
    answer::read(WHAT, response, MAX_IDENTITY, transport.memory()).await?;
    Ok(())
}

/// podman has an API of its own beside Docker's, and tells its version with every answer.
fn podman(headers: &HeaderMap) -> Option<String> {
    let version = headers.get("libpod-api-version")?;
    Some(version.to_str().unwrap_or_default().to_owned())
}

fn api_version(headers: &HeaderMap) -> Option<ApiVersion> {
    ApiVersion::parse(headers.get("api-version")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_is_known_by_the_version_of_its_own_api() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "Docker/28.5.2 (linux)".parse().unwrap());
        assert_eq!(podman(&headers), None);
        headers.insert("Libpod-API-Version", "4.3.1".parse().unwrap());
        assert_eq!(podman(&headers).as_deref(), Some("4.3.1"));
    }

    #[test]
    fn the_versions_are_what_the_engine_says() {
        let versions = |json: &str| {
            let version = serde_json::from_str::<Version>(json).unwrap();
            (version.newest(), version.oldest())
        };
        let both = r#"{"ApiVersion":"1.51","MinAPIVersion":"1.44","Components":null}"#;
        assert_eq!(versions(both), (ApiVersion::parse("1.51"), ApiVersion::parse("1.44")));
        for none in [r#"{"MinAPIVersion":null,"ApiVersion":null}"#, r#"{"MinAPIVersion":"old"}"#, "{}"] {
            assert_eq!(versions(none), (None, None));
        }
    }

    #[test]
    fn podmans_identity_is_what_stays() {
        let json = r#"{"ID":"made-up","Name":"host","DockerRootDir":"/var/lib/containers/storage"}"#;
        let info = || serde_json::from_str::<Info>(json).unwrap();
        assert_eq!(info().id(true), "host:/var/lib/containers/storage");
        assert_eq!(info().id(false), "made-up");
        assert_eq!((Info::default().id(true), Info::default().id(false)), (String::new(), String::new()));
    }

    #[test]
    fn what_an_engine_reports_of_itself_is_short() {
        let longest = "x".repeat(MAX_SELF);
        assert_eq!(of_itself("ID", longest.clone()).unwrap(), longest);
        let error = of_itself("version", longest + "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains("the engine's version has 8193 bytes, 8192 may be"), "{error}");
    }

    #[test]
    fn versions_are_read_from_the_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(api_version(&headers), None);
        headers.insert("Api-Version", "1.51".parse().unwrap());
        assert_eq!(api_version(&headers), ApiVersion::parse("1.51"));
    }
}
