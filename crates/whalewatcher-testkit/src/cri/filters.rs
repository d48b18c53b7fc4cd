//! What the filters of lists select. Each condition that is there must hold.

use std::collections::HashMap;

use whalewatcher_api::cri::v1::{ContainerFilter, PodSandboxFilter};

use super::{engine::State, record::Record};

/// An ID that cannot be completed selects nothing in `ListContainers`.
pub(super) fn selects_container(state: &State, filter: &ContainerFilter, record: &Record) -> bool {
    let is = |wanted: &str, id: &str| match state.complete(wanted) {
        Ok(completed) => *completed == *id,
        Err(_) => wanted == id,
    };
    (filter.id.is_empty() || is(&filter.id, &record.id))
        && (filter.pod_sandbox_id.is_empty() || is(&filter.pod_sandbox_id, record.sandbox_id()))
        && filter.state.as_ref().is_none_or(|wanted| wanted.state == record.state())
        && has_labels(record, &filter.label_selector)
}

/// Of `ListPodSandbox` any beginning of an ID selects, and can select several.
pub(super) fn selects_sandbox(filter: &PodSandboxFilter, record: &Record) -> bool {
    record.id.starts_with(&filter.id)
        && filter.state.as_ref().is_none_or(|wanted| wanted.state == record.state())
        && has_labels(record, &filter.label_selector)
}

fn has_labels(record: &Record, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| record.labels.get(key) == Some(value))
}
