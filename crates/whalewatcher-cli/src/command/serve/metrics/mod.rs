//! Metrics for Prometheus: how well the picture is kept, what is alive, and how lives ended.

mod counts;
mod encoding;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;
use whalewatcher_core::fleet::{FleetPortfolio, FleetSubscription};

use self::counts::Counts;
use self::encoding::{Form, Scrape};
use super::routes::Served;
use crate::args::ContainerMetrics;

/// What is counted for metrics. Clones are the same.
#[derive(Clone)]
pub(super) struct Metrics {
    counts: Arc<Mutex<Counts>>,
    containers: ContainerMetrics,
}

impl Metrics {
    /// Creates metrics that begin with this snapshot. Changes are counted by [`count`](Self::count).
    pub(super) fn new(begin: &FleetPortfolio, containers: ContainerMetrics) -> Self {
        Self { counts: Arc::new(Mutex::new(Counts::new(begin))), containers }
    }

    /// Counts all changes, until the fleet is closed.
    pub(super) async fn count(&self, mut changes: FleetSubscription) {
        while let Some(change) = changes.next().await {
            self.counts().record(&change);
        }
    }

    fn scrape(&self, now: FleetPortfolio) -> Scrape {
        Scrape { now, counts: self.counts().clone(), containers: self.containers }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers in the form that the client prefers. A thread of its own writes it: with many containers that takes a while.
pub(super) async fn answer(State(served): State<Served>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let form = Form::preferred(accepted);
    let scrape = served.metrics.scrape(served.fleet.portfolio());
    match spawn_blocking(move || scrape.encode(form)).await {
        Ok(body) => {
            ([(CONTENT_TYPE, form.content_type()), (CACHE_CONTROL, "no-cache")], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
