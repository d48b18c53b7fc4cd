//! What needs bollard's types: a client for the application's own requests, and packers of decoded inspections.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::rt::TokioExecutor;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::builder::Builder;
use crate::client::Client;
use crate::http::transport;

/// How long the headers of an answer to the application's own requests may take, in seconds.
const OWN_REQUESTS_LIMIT: u64 = 120;

impl Client {
    /// Returns a bollard client for the application's own requests to the same engine. It has connections of
    /// its own that are independent of any watch, and connects with its first request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if bollard rejects the endpoint.
    pub fn client(&self) -> Result<Docker, EngineError> {
        let connector =
            self.config.connector(self.config.tls.clone(), Duration::from_secs(OWN_REQUESTS_LIMIT));
        let http = transport::builder(TokioExecutor::new()).build(connector.clone());
        let send = move |mut request: BollardRequest| {
            let (http, connector) = (http.clone(), connector.clone());
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri = connector.uri(path);
            async move {
                *request.uri_mut() = uri?;
                http.request(request).await.map_err(|error| {
                    bollard::errors::Error::from(io::Error::other(connector.request_error(error)))
                })
            }
        };
        let address = format!("http://{}", self.config.endpoint.authority());
        Docker::connect_with_custom_transport(send, Some(address), OWN_REQUESTS_LIMIT, API_DEFAULT_VERSION)
            .map_err(|error| {
                EngineError::new(ErrorKind::Configuration, "bollard cannot be used here").with_source(error)
            })
    }
}

impl Builder {
    /// Packs a rucksack for each container, listed or started, from its inspection as decoded by bollard. The
    /// packer runs within the watch, so it should be quick; it replaces one that was set before.
    ///
    /// Many of bollard's types are closed enumerations: a container whose inspection has another value gets
    /// no rucksack, and a warning is logged. [`rucksack_json`](Self::rucksack_json) has no such limit.
    #[must_use]
    pub fn rucksack<F>(self, packer: F) -> Self
    where
        F: Fn(&ContainerInspectResponse) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync + 'static,
    {
        self.rucksack_json(move |inspection| match inspection.decode() {
            Ok(response) => packer(&response),
            Err(error) => {
                tracing::warn!(id = %inspection.id(), %error, "packed no rucksack");
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use whalewatcher_core::ContainerId;

    use super::*;
    use crate::decode::Details;
    use crate::decode::inspection::decode;

    #[test]
    fn a_container_that_bollard_cannot_decode_is_alive_without_a_rucksack() {
        let builder = Client::builder().rucksack(|response| Some(Arc::new(response.image.clone()?)));
        let packed = |status: &str| {
            let body = format!(
                r#"{{"Id":"a","Image":"busybox","State":{{"Status":"{status}","Running":true,"Pid":1}}}}"#
            );
            let (id, now) = (ContainerId::from("a"), SystemTime::now());
            let container =
                decode("inspection", &id, body.as_bytes(), now, Details::default(), builder.packer.as_ref());
            container.unwrap().expect("it is alive").rucksack::<String>().cloned()
        };
        assert_eq!(packed("running").as_deref(), Some("busybox"));
        assert_eq!(packed("levitating"), None);
    }
}
