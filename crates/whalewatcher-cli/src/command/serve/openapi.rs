//! The description of what is served, in the format OpenAPI.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The routes in `routes.rs`, as the document writes paths.
    fn routes() -> BTreeSet<String> {
        let source = include_str!("routes.rs");
        let paths = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
        paths.map(|path| path.replace("{*", "{")).collect()
    }

    #[test]
    fn each_route_is_described_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let routes = routes();
        assert!(routes.contains("/v1/containers/{id_or_name}"), "{routes:?}");
        assert_eq!(described, routes, "describe each route in openapi.json");
    }
}
