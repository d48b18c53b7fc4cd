//! The handshake: checks that the server is a CRI runtime, and identifies it.

use whalewatcher_adapter::Endpoint;
use whalewatcher_adapter::grpc::{Channel, Transport};
use whalewatcher_api::cri::v1::VersionRequest;
use whalewatcher_core::{EngineError, EngineIdentity};

use crate::decode::runtime::Runtime;
use crate::engine::ENGINE;
use crate::rpc::host;
use crate::rpc::session::client;

pub(crate) const ENGINE_TYPE: &str = "k8s.io/cri-api";

const VERSION: &str = "RuntimeService.Version";

/// The version of the API.
const API: &str = "v1";

/// Checks that the server is a CRI runtime, and identifies it.
pub(crate) async fn handshake(
    endpoint: &Endpoint,
    transport: &Transport,
) -> Result<(Runtime, EngineIdentity), EngineError> {
    let answer = client(transport.channel()).version(request()).await;
    let failed = |status| ENGINE.handshake_error(endpoint, VERSION, status, transport.greeting());
    let runtime = Runtime::from(answer.map_err(failed)?.into_inner());
    let mut identity = EngineIdentity::new(ENGINE_TYPE, endpoint.as_str());
    identity.version = runtime.text();
    identity.pid = ENGINE.pid_of(transport.peer());
    identity.id = host::name(identity.pid).await;
    Ok((runtime, identity))
}

/// Checks that the runtime answers.
pub(crate) async fn ask_version(channel: Channel) -> Result<(), EngineError> {
    let answer = client(channel).version(request()).await;
    answer.map(drop).map_err(|status| ENGINE.status_error(VERSION, status))
}

fn request() -> VersionRequest {
    VersionRequest { version: API.into() }
}
