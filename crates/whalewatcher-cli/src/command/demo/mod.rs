//! `whalewatcher demo`: `watch` on a built-in Docker engine with a private socket, on which containers come and go.

mod script;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use whalewatcher_core::Fleet;
use whalewatcher_moby as moby;
use whalewatcher_testkit::docker::Server;

use crate::args::Format;
use crate::command::watch::watch;
use crate::hosts::{Client, Hosts};
use crate::notes::Notes;
use crate::output::Output;
use crate::selection::Selection;

/// Plays the script and watches it until the limit, else until the program ends. The socket is removed when this returns or is
/// dropped.
pub(crate) async fn demo(
    limit: Option<Duration>,
    selection: Selection,
    format: Format,
    output: &Output,
) -> anyhow::Result<()> {
    let engine = Server::builder().version("28.5.2").host_name("demo").start()?;
    script::populate(&engine)?;
    let notes = Notes::new()?;
    notes.note(format!("a demo engine, nothing on it is real: {} (Ctrl-C ends it)", engine.endpoint()));
    let fleet = Arc::new(Fleet::new());
    let hosts = Hosts::Named(vec![Client::Docker(moby::Client::new(engine.endpoint())?)]);
    let time_limit = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        watched = watch(&fleet, hosts, selection, format, output, notes) => watched,
        played = script::play(&engine) => match played? {},
        () = time_limit => Ok(()),
    }
}
