//! `whalewatcher demo`: `watch` on a built-in Docker engine with a private socket, on which containers come and go.

mod script;

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use whalewatcher_core::Fleet;
use whalewatcher_moby as moby;
use whalewatcher_testkit::docker::Server;

use crate::args::FollowArgs;
use crate::command::watch::watch;
use crate::hosts::{Client, Hosts};
use crate::notes::Notes;
use crate::output::Output;
use crate::selection::Selection;

/// Plays the script and watches it until that ends. The socket is removed when this returns or is
/// dropped.
pub(crate) async fn demo(
    selection: Selection,
    follow: FollowArgs,
    output: &Output,
    commands: &TaskTracker,
) -> anyhow::Result<()> {
    let engine = Server::builder().version("28.5.2").host_name("demo").start()?;
    script::populate(&engine)?;
    let notes = Notes::new()?;
    notes.note(format!("a demo engine, nothing on it is real: {} (Ctrl-C ends it)", engine.endpoint()));
    let fleet = Arc::new(Fleet::new());
    let clients = vec![Client::Docker(moby::Client::new(engine.endpoint())?)];
    let hosts = Hosts::Named(clients, Vec::new(), Box::default());
    tokio::select! {
        watched = watch(&fleet, hosts, selection, follow, output, notes, commands) => watched,
        played = script::play(&engine) => match played? {},
    }
}
