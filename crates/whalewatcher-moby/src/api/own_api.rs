//! Whether podman's own API is used, and which containers are as its list shows them.
//!
//! Both are decided with a client's first connection, and stay so: a container that two connections show in
//! different ways would look changed. podman's own list dates a start to the second, so that life would even
//! look like another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use whalewatcher_core::EngineError;

use crate::api::clock::EngineClock;
use crate::http::answer;
use crate::http::transport::Transport;
use crate::limits::MAX_INSPECTION;

/// Where podman's own API is, in the oldest version that is supported; podman 5 has that too.
pub(crate) const LIBPOD: &str = "/v4.0.0/libpod";

/// What a client decided about podman's own API.
#[derive(Debug, Default)]
pub(crate) struct OwnApi(Mutex<Decided>);

#[derive(Clone, Debug, Default)]
struct Decided {
    api: Option<Refused>,
    since: Option<Option<SystemTime>>,
}

/// Why podman's own API is not used; `None` if it is.
pub(crate) type Refused = Option<Arc<EngineError>>;

impl OwnApi {
    fn decided(&self) -> MutexGuard<'_, Decided> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why podman's own API is not used, if it is not. The first time, podman is asked.
    pub(crate) async fn refused(&self, transport: &Transport) -> Result<Refused, EngineError> {
        if let Some(refused) = &self.decided().api {
            return Ok(refused.clone());
        }
        let refused = refusal(transport).await?.map(Arc::new);
        self.decided().api = Some(refused.clone());
        Ok(refused)
    }

    /// Returns when the events of the first connection began, if that is certain. Those of this one begin as
    /// its clock shows.
    pub(crate) fn first_since(&self, clock: &EngineClock) -> Option<SystemTime> {
        let since = clock.since().filter(|_| clock.is_exact());
        *self.decided().since.get_or_insert(since.and_then(|since| SystemTime::try_from(since).ok()))
    }
}

/// Asks for what matters most, a list, because proxies let only some requests through.
async fn refusal(transport: &Transport) -> Result<Option<EngineError>, EngineError> {
    const WHAT: &str = "GET /libpod/containers/json";
    let response = transport.get(&format!("{LIBPOD}/containers/json?all=true&limit=1")).await?;
    let is_refused = response.status().is_client_error();
    match answer::succeeded(WHAT, response, transport.budget()).await {
        Ok(response) => {
            answer::read(WHAT, response, MAX_INSPECTION, transport.budget()).await?;
            Ok(None)
        }
        Err(error) if is_refused => {
            let message = format!("watching through Docker's API, without pods: {error}");
            Ok(Some(EngineError::new(error.kind(), message)))
        }
        Err(error) => Err(error),
    }
}
