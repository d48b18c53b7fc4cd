//! The first words with an engine: whether it is one, which versions it speaks, who it is, what time it is there.
//!
//! They are few, for all else waits for them: dockerd runs two programs for each `/info`, to tell their versions, and as many
//! for a `/version`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use whalewatcher_core::{EngineError, EngineIdentity, ErrorKind, Printable};

use crate::answer;
use crate::failure;
use crate::limits::{MAX_IDENTITY, MAX_SELF};
use crate::peer::engine_pid;
use crate::transport::Transport;
use crate::version::{ApiVersion, negotiate};

/// What is known after the first words.
#[derive(Debug)]
pub(crate) struct Acquaintance {
    pub(crate) identity: EngineIdentity,
    pub(crate) api: ApiVersion,
    /// The engine's clock, read before anything else is asked.
    pub(crate) clock: Timestamp,
    /// By how much it is ahead of the clock here.
    pub(crate) lead: Duration,
    pub(crate) podman: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: Option<String>,
}

impl Version {
    /// The oldest version that the engine speaks, if it tells.
    pub(crate) fn oldest(&self) -> Option<ApiVersion> {
        self.min_api_version.as_deref().and_then(ApiVersion::parse)
    }
}

#[derive(Debug, Deserialize)]
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
    /// podman makes up a new ID for each answer (seen on 4.3.1). What stays, and tells apart the engines of a host's
    /// users, is the host's name with the folder where containers are kept.
    pub(crate) fn id(&mut self, podman: bool) -> String {
        if !podman {
            return self.id.take().unwrap_or_default();
        }
        let part = |part: &mut Option<String>| part.take().unwrap_or_default();
        format!("{}:{}", part(&mut self.name), part(&mut self.docker_root_dir))
    }
}

/// Gets acquainted. `engine_type` is what the application calls the engine, if it does.
pub(crate) async fn greet(
    transport: &Transport,
    pinned: Option<ApiVersion>,
    engine_type: Option<&str>,
) -> Result<Acquaintance, EngineError> {
    let response = transport.get("/_ping").await?;
    let podman = is_podman(response.headers());
    let newest = ping(transport, response).await?;
    let mut api = negotiate(newest, None, pinned)?;
    if api < newest {
        // Only then it may be too old a version for the engine.
        let version: Version = ask(transport, "/version", "GET /version").await?;
        api = negotiate(newest, version.oldest(), pinned)?;
    }

    let mut info: Info = ask(transport, &format!("/v{api}/info"), "GET /info").await?;
    let clock = info.system_time.as_deref().unwrap_or_default();
    let clock: Timestamp =
        clock.parse().map_err(|_| failure::garbled("GET /info", format!("'{clock}' is not a time")))?;
    // Engines do not understand times before that.
    let clock = clock.max(Timestamp::UNIX_EPOCH);
    let lead =
        SystemTime::try_from(clock).ok().and_then(|clock| clock.duration_since(SystemTime::now()).ok());

    let own_type = if podman { "podman.io" } else { "docker.com" };
    let mut identity = EngineIdentity::new(engine_type.unwrap_or(own_type), transport.endpoint().as_str());
    identity.id = of_itself("ID", info.id(podman))?;
    identity.version = of_itself("version", info.server_version.unwrap_or_default())?;
    identity.pid = engine_pid(transport.peer());
    Ok(Acquaintance { identity, api, clock, lead: lead.unwrap_or_default(), podman })
}

/// What an engine tells of itself, if it has no more than [`MAX_SELF`] bytes.
fn of_itself(what: &str, text: String) -> Result<String, EngineError> {
    match text.len() {
        0..=MAX_SELF => Ok(text),
        length => Err(failure::garbled(
            "GET /info",
            format!("the engine's {what} has {length} bytes, {MAX_SELF} may be"),
        )),
    }
}

async fn ask<T: for<'de> Deserialize<'de>>(
    transport: &Transport,
    path: &str,
    what: &str,
) -> Result<T, EngineError> {
    let response = answer::succeeded(what, transport.get(path).await?).await?;
    answer::decode(what, &answer::read(what, response, MAX_IDENTITY).await?)
}

/// The newest version that the engine speaks, if it is one.
async fn ping(transport: &Transport, response: Response<Incoming>) -> Result<ApiVersion, EngineError> {
    let version = api_version(response.headers());
    let status = response.status();
    let complaint = match answer::succeeded("GET /_ping", response).await {
        // To the end, so that the connection can be used again.
        Ok(response) => answer::read("GET /_ping", response, MAX_IDENTITY).await.err(),
        Err(error) => Some(error),
    };
    match (version, complaint) {
        (Some(version), None) => Ok(version),
        (Some(_), Some(error)) => Err(error),
        (None, Some(error)) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        (None, error) => {
            let reason = match error {
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

/// podman has an API of its own beside Docker's, and tells its version with every answer.
fn is_podman(headers: &HeaderMap) -> bool {
    headers.contains_key("libpod-api-version")
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
        assert!(!is_podman(&headers));
        headers.insert("Libpod-API-Version", "4.3.1".parse().unwrap());
        assert!(is_podman(&headers));
    }

    #[test]
    fn the_oldest_version_is_what_the_engine_says() {
        let oldest = |json: &str| serde_json::from_str::<Version>(json).unwrap().oldest();
        assert_eq!(oldest(r#"{"MinAPIVersion":"1.44","Components":null}"#), ApiVersion::parse("1.44"));
        assert_eq!(oldest(r#"{"MinAPIVersion":null}"#), None);
        assert_eq!(oldest(r#"{"MinAPIVersion":"old"}"#), None);
        assert_eq!(oldest("{}"), None);
    }

    #[test]
    fn podmans_identity_is_what_stays() {
        let json = r#"{"ID":"made-up","Name":"host","DockerRootDir":"/var/lib/containers/storage"}"#;
        let info = || serde_json::from_str::<Info>(json).unwrap();
        assert_eq!(info().id(true), "host:/var/lib/containers/storage");
        assert_eq!(info().id(false), "made-up");
    }

    #[test]
    fn what_an_engine_tells_of_itself_is_short() {
        let longest = "x".repeat(MAX_SELF);
        assert_eq!(of_itself("ID", longest.clone()).unwrap(), longest);
        let error = of_itself("version", longest + "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Garbled);
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
