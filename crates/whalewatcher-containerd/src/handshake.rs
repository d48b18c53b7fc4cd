//! The handshake: checks that the server is containerd, and identifies it.

use tonic::{Code, Status};
use whalewatcher_adapter::containerd::ENGINE;
use whalewatcher_adapter::grpc::{Channel, Transport, origin};
use whalewatcher_adapter::{Endpoint, Excerpt};
use whalewatcher_api::containerd::services::introspection::v1::introspection_client::IntrospectionClient;
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_core::{EngineError, EngineIdentity, ErrorKind};

pub(crate) const ENGINE_TYPE: &str = "containerd.io";

const VERSION: &str = "Version.Version";
const SERVER: &str = "Introspection.Server";

/// Checks that the server is containerd, and identifies it.
pub(crate) async fn handshake(
    endpoint: &Endpoint,
    transport: &Transport,
) -> Result<EngineIdentity, EngineError> {
    let answer = version_client(transport.channel()).version(()).await;
    let failed = |status| ENGINE.handshake_error(endpoint, VERSION, status, transport.greeting());
    let version = answer.map_err(failed)?.into_inner();

    let mut introspection =
        IntrospectionClient::with_origin(transport.channel(), origin()).max_decoding_message_size(usize::MAX);
    let server = introspection.server(()).await.map_err(|status| match status.code() {
        Code::Unimplemented => too_old(SERVER, &version.version, status),
        _ => ENGINE.status_error(SERVER, status),
    })?;
    let server = server.into_inner();

    let mut identity = EngineIdentity::new(ENGINE_TYPE, endpoint.as_str());
    identity.id = server.uuid;
    identity.version = format!("{} {}", version.version, version.revision).trim().to_owned();
    // containerd reports its PID since 1.7.
    let reported = u32::try_from(server.pid).ok().filter(|pid| *pid != 0);
    identity.pid = reported.or_else(|| ENGINE.pid_of(transport.peer()));
    Ok(identity)
}

fn version_client(channel: Channel) -> VersionClient<Channel> {
    VersionClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
}

/// The error for a containerd that lacks a required call.
fn too_old(what: &str, version: &str, status: Status) -> EngineError {
    let message =
        format!("containerd {} does not know {what}: 1.6 or later is needed", Excerpt(version.trim()));
    EngineError::new(ErrorKind::TooOld, message).with_source(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_containerd_is_reported_as_such() {
        let reported = too_old("Introspection.Server", "v1.2.3 ", Status::unimplemented("x"));
        assert_eq!(reported.kind(), ErrorKind::TooOld);
        assert!(
            reported.to_string().starts_with("containerd v1.2.3 does not know Introspection.Server"),
            "{reported}"
        );
    }
}
