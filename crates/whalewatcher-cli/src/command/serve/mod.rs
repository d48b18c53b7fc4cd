//! `whalewatcher serve`: the picture for programs in other languages, over HTTP at a unix socket or over TCP.

mod access;
mod connection;
mod docker;
mod feed;
mod form;
mod hosts;
mod ids;
mod listener;
mod listeners;
mod memory;
mod metrics;
mod openapi;
mod page;
mod pieces;
mod prometheus;
mod query;
mod readiness;
mod routes;
mod sd_file;
mod service_manager;
mod stream;
mod tcp;

use std::future::pending;
use std::sync::Arc;

use axum::response::IntoResponse as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whalewatcher_core::{EventKind, Fleet};

use self::feed::Feed;
use self::listeners::Listeners;
use self::memory::Memory;
use self::metrics::Metrics;
use self::routes::{Refusal, Served, router};
use super::following::{Following, Outage, Outages, follow};
use crate::args::ServeArgs;
use crate::changes::Changes;
use crate::hosts::hosts;
use crate::notes::Notes;
use crate::selection::Selection;

/// Serves until the program ends. Connections are tasks, which end soon after this is dropped.
pub(crate) async fn serve(fleet: &Arc<Fleet>, args: ServeArgs, tasks: &TaskTracker) -> anyhow::Result<()> {
    let notes = Notes::new()?;
    let listeners = Listeners::bind(&args.listen).await?;
    let docker_socket = docker::bind(&args.docker)?;
    let Following { named, warnings, discovery, hubs } =
        follow(fleet, hosts(&args.engines)?, &Selection::default())?;
    let (now, changes) = Changes::subscribe(fleet, args.crash_loops.settings());
    let (_, mut watched) = fleet.subscribe();
    let (begin, counted) = fleet.subscribe();
    let metrics = Metrics::new(&begin, args.metrics_containers);
    let ending = CancellationToken::new();
    let _end = ending.clone().drop_guard();
    let feed = Feed::new(now);
    let served = Served {
        feed: feed.clone(),
        fleet: fleet.clone(),
        metrics: metrics.clone(),
        discovery: discovery.map(Arc::new),
        hubs: Arc::new(hubs),
        ending: ending.clone(),
    };
    listeners.notes.iter().for_each(|note| notes.note(note.clone()));
    let memory = Memory::new();
    let docker_router = docker::router(&args.docker, feed.clone(), ending.clone(), &memory)?;
    if let Some(socket) = &docker_socket {
        notes.note(format!("serving Docker's clients at {}", socket.url()));
    }
    let for_docker = async {
        if let Some(socket) = &docker_socket {
            socket.serve(docker_router, &ending, tasks).await;
        }
        pending::<()>().await;
    };
    let noting = async {
        let mut outages = Outages::new(named);
        while let Some(change) = watched.next().await {
            if matches!(change.event.kind, EventKind::Joined) {
                warnings.warn_of(change.watcher.clone());
            }
            if let Some(Outage::Waiting(reason) | Outage::GoingOn(reason)) = outages.handle(&change)? {
                notes.note(reason);
            }
        }
        pending::<()>().await;
        Ok(())
    };
    let reporting = service_manager::report(served.clone());
    let app = memory.limit(router(served), |status, reason| Refusal(status, reason).into_response());
    let keeping = async {
        if let Some(path) = args.sd_file {
            sd_file::keep(path, feed.clone()).await;
        }
        pending::<()>().await;
    };
    tokio::select! {
        outcome = noting => outcome,
        () = feed.record(changes) => Ok(()),
        () = metrics.count(counted) => Ok(()),
        () = listeners.serve(app, &ending, tasks) => Ok(()),
        () = for_docker => Ok(()),
        () = keeping => Ok(()),
        () = reporting => Ok(()),
    }
}
