//! `whalewatcher demo`: a Docker engine of our own on a private socket, on which containers come and go, and
//! `watch` on it.

mod script;

use std::time::Duration;

use tokio::time::sleep;
use whalewatcher_core::{Fleet, Settings};
use whalewatcher_moby as moby;
use whalewatcher_testkit::docker::Server;

use crate::args::View;
use crate::command::watch::watch;
use crate::hosts::{Client, join};
use crate::notes::Notes;
use crate::output::Output;

/// Plays and watches for so long, or until the program is ended. The socket goes with it.
pub(crate) async fn demo(limit: Option<Duration>, view: View, output: &Output) -> anyhow::Result<()> {
    let engine = Server::builder().version("28.5.2").host_name("demo").start()?;
    script::set_the_scene(&engine)?;
    let notes = Notes::new()?;
    notes.note(format!("a demo engine, nothing on it is real: {} (Ctrl-C ends it)", engine.endpoint()));
    let fleet = Fleet::new();
    let client = Client::Docker(moby::Client::new(engine.endpoint())?);
    let hosts = join(&fleet, vec![client], &Settings::default())?;
    let limited = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        watched = watch(&fleet, hosts, view, output, notes) => watched,
        played = script::play(&engine) => match played? {},
        () = limited => Ok(()),
    }
}
