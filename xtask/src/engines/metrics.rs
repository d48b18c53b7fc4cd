//! Counters of requests in containerd's metrics.

use std::collections::BTreeMap;

/// The configuration that serves them at a free port of this host.
pub(crate) const CONFIGURATION: &str = "\n[metrics]\naddress = \"127.0.0.1:0\"\n";

/// Where the metrics are, by the log of a containerd that chose a free port, perhaps not for the first time.
pub(crate) fn address(log: &str) -> Option<&str> {
    let serving = log.lines().rev().filter(|line| line.contains("msg=serving"));
    let mut addresses = serving.filter_map(|line| line.split_once("address=\"")?.1.split('"').next());
    addresses.find(|address| address.starts_with("127.0.0.1:"))
}

/// How many requests were begun so far, as `SERVICE/METHOD`, according to these metrics.
pub(crate) fn requests(metrics: &str) -> BTreeMap<String, u64> {
    let counters = metrics.lines().filter_map(|line| line.strip_prefix("grpc_server_started_total{"));
    let requests = counters.filter_map(|counter| {
        let (labels, count) = counter.split_once("} ")?;
        let value = |label: &str| labels.split_once(&format!("{label}=\""))?.1.split('"').next();
        let request = format!("{}/{}", value("grpc_service")?, value("grpc_method")?);
        Some((request, count.trim().parse().ok()?))
    });
    requests.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_where_the_last_start_says() {
        let log = "time=1 msg=serving... address=\"127.0.0.1:1\"\ntime=1 msg=serving... address=/w/containerd.sock\n\
                   time=2 msg=serving... address=\"127.0.0.1:22\"\ntime=3 msg=\"other address=\\\"127.0.0.1:3\\\"\"\n";
        assert_eq!(address(log), Some("127.0.0.1:22"));
        assert_eq!(address("msg=serving... address=/w/containerd.sock"), None);
    }

    #[test]
    fn requests_are_counted_by_service_and_method() {
        let metrics = "# TYPE grpc_server_started_total counter\n\
            grpc_server_started_total{grpc_method=\"Version\",grpc_service=\"runtime.v1.RuntimeService\",grpc_type=\"unary\"} 3\n\
            grpc_server_started_total{grpc_method=\"Exec\",grpc_service=\"runtime.v1.RuntimeService\",grpc_type=\"unary\"} 0\n\
            grpc_server_started_total{grpc_method=\"List\",grpc_service=\"containerd.services.tasks.v1.Tasks\",grpc_type=\"unary\"} 7\n\
            grpc_server_handled_total{grpc_method=\"Version\",grpc_service=\"runtime.v1.RuntimeService\"} 9\n";
        let expected =
            [("runtime.v1.RuntimeService/Version", 3), ("containerd.services.tasks.v1.Tasks/List", 7)];
        assert_eq!(requests(metrics), expected.map(|(request, count)| (request.to_owned(), count)).into());
    }
}
