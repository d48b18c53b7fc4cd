//! The first words with an engine: whether it is one, which versions it speaks, who it is, what time it is there.

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
    #[serde(default)]
    components: Option<Vec<Component>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default)]
    name: Option<String>,
}

impl Version {
    pub(crate) fn is_podman(&self) -> bool {
        let mut components = self.components.iter().flatten();
        components.any(|component| component.name.as_deref() == Some("Podman Engine"))
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
    let newest = ping(transport, transport.get("/_ping").await?).await?;

    let version: Version = ask(transport, "/version", "GET /version").await?;
    let oldest = version.min_api_version.as_deref().and_then(ApiVersion::parse);
    let api = negotiate(newest, oldest, pinned)?;
    let podman = version.is_podman();

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

fn api_version(headers: &HeaderMap) -> Option<ApiVersion> {
    ApiVersion::parse(headers.get("api-version")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_is_known_by_its_component() {
        let version = |json: &str| serde_json::from_str::<Version>(json).unwrap();
        assert!(version(r#"{"Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#).is_podman());
        assert!(!version(r#"{"Components":[{"Name":"Engine"},{"Version":"1"}]}"#).is_podman());
        assert!(!version(r#"{"Components":null,"MinAPIVersion":null}"#).is_podman());
        assert!(!version("{}").is_podman());
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
