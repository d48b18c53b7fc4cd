//! Real proxies in front of the engine, as they are often put there.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_core::ChangeSource;

use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::LIMIT;
use whalewatcher_drivers::docker::Plan;

/// As it comes: it holds back the headers of an event stream until there are events enough.
const NGINX: &str = "daemon off; master_process off; pid FOLDER/nginx.pid; error_log FOLDER/nginx.err;
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/nginx; proxy_temp_path FOLDER/nginx; fastcgi_temp_path FOLDER/nginx;
  uwsgi_temp_path FOLDER/nginx; scgi_temp_path FOLDER/nginx;
  server {
    listen unix:SOCKET;
    location / { proxy_pass http://unix:ENGINE:; proxy_http_version 1.1; }
  }
}
";

/// Lets no more through than is needed, and not even that.
const HAPROXY: &str = "defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend front
  bind unix@SOCKET
  http-request deny if { path_reg ^(/v[0-9.]+)?/(DENIED) }
  default_backend engine
backend engine
  server engine unix@ENGINE
";

/// A proxy that runs until this is dropped.
struct Running {
    _child: Child,
    endpoint: String,
}

impl Running {
    async fn start(
        fixture: &DockerFixture,
        name: &str,
        number: usize,
        configuration: &str,
    ) -> Result<Running> {
        let folder = fixture.socket(&format!("{name}-{number}"));
        fs::create_dir(&folder)?;
        let (socket, file) = (folder.join("front.sock"), folder.join("conf"));
        let engine = fixture.engine().socket();
        let places: [(&str, &Path); 3] = [("FOLDER", &folder), ("SOCKET", &socket), ("ENGINE", &engine)];
        let text = places.iter().fold(configuration.to_owned(), |text, (name, path)| {
            text.replace(name, &path.display().to_string())
        });
        fs::write(&file, text)?;
        let mut command = Command::from(fixture.engine().installation().command(name)?);
        if name == "haproxy" {
            command.arg("-db");
        } else {
            command.arg("-p").arg(&folder).arg("-e").arg(folder.join("nginx.err"));
        }
        let option = if name == "haproxy" { "-f" } else { "-c" };
        let child = command.arg(option).arg(&file).stdin(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        let appeared = async {
            // Nothing says when it listens.
            while tokio::net::UnixStream::connect(&socket).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, appeared).await.with_context(|| format!("{name} does not listen"))?;
        Ok(Running { _child: child, endpoint: format!("unix://{}", socket.display()) })
    }
}

pub(super) async fn works_behind_nginx_and_haproxy(fixture: &DockerFixture) -> Result<()> {
    if fixture.engine().installation().program("nginx").is_err() {
        fixture.figure("no proxies were fetched for this engine".to_owned());
        return Ok(());
    }
    let docker = fixture.driver().await?;
    let denied = ["info", "_ping", "version", "events"].map(|path| HAPROXY.replace("DENIED", path));
    let nginx = [("nginx", "headers held back", NGINX.to_owned())];
    let haproxies = ["/info", "/_ping", "/version", "/events"].into_iter().zip(denied);
    let haproxies = haproxies.map(|(path, configuration)| ("haproxy", path, configuration));
    for (number, (name, what, configuration)) in nginx.into_iter().chain(haproxies).enumerate() {
        let reported = async {
            docker.run(Plan::named(format!("first-{number}"))).await?;
            let proxy = Running::start(fixture, name, number, &configuration).await?;
            let began = Instant::now();
            let watched = fixture.begin_watch_at(&proxy.endpoint, settings())?.that_is_cut();
            watched.ready().await?;
            let ready = began.elapsed();
            docker.run(Plan::named(format!("second-{number}"))).await?;
            docker.restart(&format!("first-{number}"), 1).await?;
            fixture.check(&watched).await?;
            let status = watched.watching.status();
            let polls = matches!(status.source, Some(ChangeSource::Polling { .. }));
            ensure!(polls == (what == "/events"), "{status}");
            ensure!(status.fallback.is_some() == polls, "{status}");
            let connects = status.counters.connects;
            fixture
                .figure(format!("{name}, {what}: ready after {ready:?}, {connects} connections: {status}"));
            anyhow::Ok(())
        };
        reported.await.with_context(|| format!("{name}: {what}"))?;
    }
    Ok(())
}
