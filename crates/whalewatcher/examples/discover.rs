//! Finds all engines of this host, and prints what starts and exits in any of them:
//! `cargo run -p whalewatcher --example discover --features discover,containerd,cri`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example for the terminal")]

use std::sync::Arc;

use whalewatcher::Fleet;
use whalewatcher::discover::{Options, discover};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let fleet = Arc::new(Fleet::new());
    let (_, mut changes) = fleet.subscribe();
    // Engines join and leave until it is dropped.
    let discovery = discover(&fleet, Options::default());
    discovery.settled().await;
    for finding in discovery.findings().iter() {
        eprintln!("not watched: {finding}");
    }
    while let Some(change) = changes.next().await {
        println!("{change}");
    }
}
