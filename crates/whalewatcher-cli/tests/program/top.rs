//! `top` on a terminal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use rustix::termios::tcgetattr;
use tokio::process::Child;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::watched::in_time;

use crate::program::{command, new_terminal, run, signal};

const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";

/// The program on a terminal of its own.
struct OnTerminal {
    child: Child,
    keys: File,
    terminal: File,
    /// Its modes before.
    before: String,
    output: UnboundedReceiver<String>,
    seen: String,
}

impl OnTerminal {
    fn start(arguments: &[&str]) -> Self {
        let (keys, terminal) = new_terminal(80);
        let before = format!("{:?}", tcgetattr(&terminal).unwrap());
        let end = || OwnedFd::from(terminal.try_clone().unwrap());
        let child = command(arguments).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let mut screen = keys.try_clone().unwrap();
        let (sender, output) = unbounded_channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                if sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, terminal, before, output, seen: String::new() }
    }

    /// Reads the output up to this text, which later calls do not see again.
    async fn until(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let more = in_time(self.output.recv()).await;
            self.seen += &more.unwrap_or_else(|| panic!("'{text}' is missing: {:?}", self.seen));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&self.terminal).unwrap())
    }

    /// Waits for its end, after which the terminal is as before.
    async fn ends_well(mut self) {
        assert_eq!(in_time(self.child.wait()).await.unwrap().code(), Some(0));
        assert_eq!(self.modes(), self.before);
        self.until(LEFT).await;
    }

    /// Waits until it is stopped.
    async fn stopped(&self) {
        let stat = format!("/proc/{}/stat", self.child.id().unwrap());
        while !fs::read_to_string(&stat).unwrap().contains(") T ") {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_terminal_is_as_before_after_each_way_to_end() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    for end in ["q", "\u{3}", "TERM", "HUP", "INT"] {
        let mut top = OnTerminal::start(&["top", "--host", &engine.endpoint()]);
        top.until(ENTERED).await;
        top.until("web").await;
        assert_ne!(top.modes(), top.before, "raw mode");
        match end {
            "TERM" => signal(&top.child, Signal::TERM),
            "HUP" => signal(&top.child, Signal::HUP),
            "INT" => signal(&top.child, Signal::INT),
            key => top.press(key),
        }
        top.ends_well().await;
    }
}

#[tokio::test]
async fn a_suspended_top_gives_the_terminal_back_and_takes_it_again() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut top = OnTerminal::start(&["top", "--host", &engine.endpoint()]);
    top.until("web").await;
    for by_key in [true, false] {
        if by_key {
            top.press("\u{1a}");
        } else {
            signal(&top.child, Signal::TSTP);
        }
        top.until(LEFT).await;
        top.stopped().await;
        assert_eq!(top.modes(), top.before);
        engine.run(if by_key { "while-stopped" } else { "again-stopped" }).unwrap();
        signal(&top.child, Signal::CONT);
        top.until(ENTERED).await;
        top.until(if by_key { "while-stopped" } else { "again-stopped" }).await;
    }
    top.press("q");
    top.ends_well().await;
}

#[tokio::test]
async fn changes_are_drawn_as_they_happen_and_without_a_terminal_there_is_one_error() {
    let engine = Server::builder().start().unwrap();
    let mut top = OnTerminal::start(&["top", "--host", &engine.endpoint()]);
    top.until(ENTERED).await;
    // Only cells that differ are drawn, so no letter is where it was before.
    for name in ["aaaaaa", "bbbbbb", "cccccc", "dddddd"] {
        let id = engine.run(name).unwrap();
        top.until(name).await;
        engine.exit(&id, 1).unwrap();
    }
    top.press("q");
    top.ends_well().await;
    let none = run(&["top", "--host", &engine.endpoint()]).await;
    assert!(none.error().contains("'top' needs a terminal"), "{none:?}");
}
