//! Inspections of any container on request, apart from the watch: with connections of their own, which are
//! made again after a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use whalewatcher_adapter::Reached;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::api::session::escape;
use crate::client::Client;
use crate::http::answer;
use crate::http::transport::Transport;
use crate::limits::{MAX_ERROR, MAX_INSPECTION};

const WHAT: &str = "GET /containers/ID/json";

/// How many inspections an engine is asked for at once.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(crate) struct Inspector {
    /// The connections, once there was an inspection.
    kept: Mutex<Option<Arc<Transport>>>,
    turns: Semaphore,
}

impl Default for Inspector {
    fn default() -> Self {
        Self { kept: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Client {
    /// Returns the engine's answer to the inspection of a container, alive or not, as it is: JSON of the
    /// newest version of Docker's API that the engine has. `None` if it has no such container. Like the
    /// engine, it accepts a name or the beginning of an ID too.
    ///
    /// It is independent of any watch, and has connections of its own. These are kept for a while, until the
    /// client is dropped. The engine is asked for eight at once; others wait.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, refuses the request, or does not answer within `limit`, which
    /// includes the wait.
    pub async fn inspect_json(&self, id: &str, limit: Duration) -> Result<Option<Vec<u8>>, EngineError> {
        let mut used = None;
        let asked = async {
            // It is never closed.
            let _turn = self.inspector.turns.acquire().await;
            let transport = used.insert(self.inspecting(limit).await?);
            inspect(transport, id).await
        };
        let inspected = match timeout(limit, asked).await {
            Ok(inspected) => inspected,
            Err(_) => {
                Err(EngineError::new(ErrorKind::TimedOut, format!("{WHAT}: no answer within {limit:?}")))
            }
        };
        if let Some(used) = used
            && inspected.as_ref().is_err_and(|error| answer::refusal(error).is_none())
        {
            self.inspector.kept().take_if(|kept| Arc::ptr_eq(kept, &used));
        }
        inspected
    }

    /// Returns the connections, to the socket that is there now.
    async fn inspecting(&self, limit: Duration) -> Result<Arc<Transport>, EngineError> {
        let usable = self.inspector.kept().clone().filter(|kept| kept.check_socket().is_ok());
        if let Some(usable) = usable {
            return Ok(usable);
        }
        let connector = self.config.renewed_connector(limit).await?;
        let transport = Arc::new(Transport::new(connector, self.config.memory_limit, Reached::default()));
        *self.inspector.kept() = Some(transport.clone());
        Ok(transport)
    }
}

impl Inspector {
    fn kept(&self) -> MutexGuard<'_, Option<Arc<Transport>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn inspect(transport: &Transport, id: &str) -> Result<Option<Vec<u8>>, EngineError> {
    let _turn = transport.turn().await;
    let response = transport.get(&format!("/containers/{}/json", escape(id))).await?;
    if response.status() == StatusCode::NOT_FOUND {
        let body = answer::read(WHAT, response, MAX_ERROR, transport.budget()).await?;
        let is_gone = answer::reason(&body).to_lowercase().contains("no such container");
        return if is_gone { Ok(None) } else { Err(answer::refused(WHAT, StatusCode::NOT_FOUND, &body)) };
    }
    let response = answer::succeeded(WHAT, response, transport.budget()).await?;
    let body = answer::read(WHAT, response, MAX_INSPECTION, transport.budget()).await?;
    Ok(Some(body.to_vec()))
}
