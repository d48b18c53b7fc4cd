//! The first words with containerd: whether it is one, and who it is.

use tonic::Code;
use whalewatcher_adapter::Endpoint;
use whalewatcher_adapter::grpc::{Channel, Transport, origin};
use whalewatcher_api::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_core::{EngineError, EngineIdentity};

use crate::failure::{self, ENGINE};

pub(crate) const CONTAINERD: &str = "containerd.io";

const VERSION: &str = "Version.Version";
const SERVER: &str = "Introspection.Server";

/// Gets acquainted.
pub(crate) async fn greet(endpoint: &Endpoint, transport: &Transport) -> Result<EngineIdentity, EngineError> {
    let answer = version_client(transport.channel()).version(()).await;
    let failed = |status| ENGINE.of_greeting(endpoint, VERSION, status, transport.heard());
    let version = answer.map_err(failed)?.into_inner();

    let mut introspection =
        IntrospectionClient::with_origin(transport.channel(), origin()).max_decoding_message_size(usize::MAX);
    let server = introspection.server(()).await.map_err(|status| match status.code() {
        Code::Unimplemented => failure::too_old(SERVER, &version.version, status),
        _ => failure::of_status(SERVER, status),
    })?;
    let server = server.into_inner();

    let mut identity = EngineIdentity::new(CONTAINERD, endpoint.as_str());
    identity.id = server.uuid;
    identity.version = format!("{} {}", version.version, version.revision).trim().to_owned();
    // containerd tells its PID since 1.7.
    let reported = u32::try_from(server.pid).ok().filter(|pid| *pid != 0);
    identity.pid = reported.or_else(|| ENGINE.pid_of(transport.peer()));
    Ok(identity)
}

fn version_client(channel: Channel) -> VersionClient<Channel> {
    VersionClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
}
