//! The hosts that publish their engines in etcd.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use whalewatcher_etcd::{Hub, HubStatus};

use super::routes::{Refusal, Served, json_response};
use crate::render::json;

/// Answers with all hosts; 503 while it is not known what a cluster holds.
pub(super) async fn answer(State(served): State<Served>) -> Result<Response, Refusal> {
    let mut all = Vec::new();
    for hub in &*served.hubs {
        if let Some(reason) = problem(hub) {
            let reason = format!("etcd at {}: {reason}", hub.cluster());
            return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
        all.extend(hub.hosts());
    }
    let mut body = Vec::new();
    // Writing to memory does not fail.
    let _ = json::write_hosts(&mut body, &all);
    Ok(json_response(body))
}

/// Returns why it is not known what a cluster holds now.
pub(super) fn problem(hub: &Hub) -> Option<String> {
    match hub.status() {
        HubStatus::Live => None,
        HubStatus::Disconnected { error } => Some(error.to_string()),
        _ => Some("it is not read yet".to_owned()),
    }
}
