//! `/metrics`: both forms, what they contain, and how much of containers.

use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::http::text;
use crate::serve::Serving;

const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

impl Serving {
    /// Returns the metrics, which have this type.
    async fn metrics(&self, accepted: &str, kind: &str) -> String {
        let answer = self.get("/metrics", &[("accept", accepted)]).await;
        assert_eq!(answer.headers()["content-type"], format!("{kind}; charset=utf-8"));
        text(answer).await
    }

    async fn text(&self) -> String {
        self.metrics("*/*", "text/plain; version=0.0.4").await
    }
}

fn contains(metrics: &str, lines: &[&str]) {
    for line in lines {
        assert!(metrics.lines().any(|found| found == *line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn metrics_have_the_figures_of_engines_containers_and_exits_in_both_forms() {
    let engine = Server::builder().start().unwrap();
    let spec = ContainerSpec::new("web").project("shop", "web").image("nginx:\"1\"\n");
    let id = engine.run(spec).unwrap();
    let host = engine.endpoint();
    let serving = Serving::start(&[&host], &[]).await;
    serving.until_ready().await;
    let text = serving.text().await;
    let of_engine = format!("engine=\"docker.com\",endpoint=\"{host}\"");
    let of_web = format!("{of_engine},name=\"web\",project=\"shop\"");
    contains(
        &text,
        &[
            "# TYPE whalewatcher_connects_total counter",
            &format!("whalewatcher_connects_total{{{of_engine}}} 1"),
            &format!("whalewatcher_live{{{of_engine}}} 1"),
            "whalewatcher_fleet_engines_live 1",
            "# TYPE whalewatcher_container_info gauge",
            &format!("whalewatcher_container_info{{{of_web},image=\"nginx:\\\"1\\\"\\n\"}} 1"),
            "# TYPE whalewatcher_container_start_time_seconds gauge",
            "whalewatcher_exits_total{project=\"shop\",reason=\"zero\"} 0",
        ],
    );
    let start = format!("whalewatcher_container_start_time_seconds{{{of_web}}} ");
    let started: f64 = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap();
    let expected = engine.truth()[0].started_at.as_duration().as_secs_f64();
    assert!((started - expected).abs() < 1e-3, "{started} {expected}");
    assert!(!text.contains(&id) && !text.contains("# EOF"), "{text}");

    let open_metrics = serving.metrics(OPEN_METRICS, "application/openmetrics-text; version=1.0.0").await;
    contains(
        &open_metrics,
        &[
            "# TYPE whalewatcher_connects counter",
            &format!("whalewatcher_connects_total{{{of_engine}}} 1"),
            "# TYPE whalewatcher_container info",
            "# UNIT whalewatcher_container_start_time_seconds seconds",
        ],
    );
    assert!(open_metrics.ends_with("\n# EOF\n"), "{open_metrics}");
}

#[tokio::test]
async fn exits_are_counted_by_their_reasons() {
    let engine = Server::builder().start().unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let mut stream = serving.events("/v1/events", None).await;
    for (nth, code) in [0, 0, 3, 137].into_iter().enumerate() {
        let name = format!("job-{nth}");
        engine.run(ContainerSpec::new(&*name).project("jobs", "job")).unwrap();
        stream.until("started").await;
        engine.exit(&name, code).unwrap();
        stream.until("exited").await;
    }
    engine.run("alone").unwrap();
    stream.until("started").await;
    engine.exit("alone", 1).unwrap();
    stream.until("exited").await;
    let exits = |project: &str, reason: &str, count: u64| {
        format!("whalewatcher_exits_total{{project=\"{project}\",reason=\"{reason}\"}} {count}")
    };
    let text = serving.text().await;
    let expected = [("jobs", "zero", 2), ("jobs", "nonzero", 1), ("jobs", "signal", 1), ("jobs", "oom", 0)];
    let expected = expected.into_iter().chain([("", "nonzero", 1), ("", "zero", 0)]);
    let expected: Vec<_> = expected.map(|(project, reason, count)| exits(project, reason, count)).collect();
    contains(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!text.contains("container_info{"), "{text}");
}

#[tokio::test]
async fn containers_are_labelled_as_wanted_and_never_twice_the_same() {
    let engines = [Server::builder().start().unwrap(), Server::builder().start().unwrap()];
    let ids = [engines[0].run("web").unwrap(), engines[1].run("web").unwrap()];
    let hosts = [engines[0].endpoint(), engines[1].endpoint()];
    for (wanted, has_names, has_ids) in [("none", false, false), ("name", true, false), ("id", true, true)] {
        let serving = Serving::start(&[&hosts[0], &hosts[1]], &["--metrics-containers", wanted]).await;
        serving.until_ready().await;
        let text = serving.text().await;
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let expected = if has_names { 2 } else { 0 };
        assert_eq!(lines("whalewatcher_container_info{"), expected, "{wanted}: {text}");
        assert_eq!(lines("whalewatcher_container_start_time_seconds{"), expected, "{wanted}: {text}");
        assert_eq!(
            ids.iter().filter(|id| text.contains(&format!(",id=\"{id}\",name=\"web\""))).count(),
            if has_ids { 2 } else { 0 }
        );
        assert_eq!(text.contains("name=\"web\""), has_names);
        assert_eq!(lines("whalewatcher_containers{"), 2);
    }
}
