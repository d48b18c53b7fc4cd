//! The end of the program.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;
use whalewatcher_testkit::docker::{ContainerSpec, Kind, Server, Verdict};
use whalewatcher_testkit::watched::in_time;

use crate::program::{Program, command, new_terminal, run};

/// The time in which an unfinished line is completed after a signal.
const FINISH_LIMIT: Duration = Duration::from_millis(150);

/// How often a busy machine may keep a reader from running for that long.
const ATTEMPTS: usize = 20;

#[tokio::test]
async fn watch_exits_with_0_at_a_signal() {
    let engine = Server::builder().start().unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        for format in ["json", "text"] {
            let mut program = Program::start(&["watch", "--format", format, "--host", &engine.endpoint()]);
            program.line().await;
            program.signal(signal);
            let ended = program.ended().await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        }
    }
}

#[tokio::test]
async fn waiting_for_an_engine_ends_at_a_signal() {
    let engine = Server::builder().on_request(|_| Verdict::Hang).start().unwrap();
    for subcommand in ["ps", "watch"] {
        let arrival = engine.arrival(|_| true);
        let program = Program::start(&[subcommand, "--host", &engine.endpoint()]);
        arrival.await;
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await.code, Some(0));
    }
}

#[tokio::test]
async fn a_closed_output_ends_watch_with_0() {
    let engine = Server::builder().start().unwrap();
    let (program, _) = Program::watching(&engine).await;
    let ended = program.ended_without_reader().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));

    // The same with a socket.
    let (reader, stdout) = UnixStream::pair().unwrap();
    let mut child =
        command(&["watch", "--host", &engine.endpoint()]).stdout(OwnedFd::from(stdout)).spawn().unwrap();
    reader.set_nonblocking(true).unwrap();
    let mut reader = BufReader::new(tokio::net::UnixStream::from_std(reader).unwrap());
    reader.read_line(&mut String::new()).await.unwrap();
    drop(reader);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_terminal_that_is_closed_ends_the_program_with_0() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let host = engine.endpoint();
    // No process has it as its controlling terminal, so no signal reports its end.
    for (subcommand, awaited) in [("ps", None), ("watch", None), ("watch", Some("web")), ("top", Some("web"))]
    {
        let (master, terminal) = new_terminal(80);
        let mut command = command(&[subcommand, "--host", &host]);
        command.stdin(terminal.try_clone().unwrap()).stdout(terminal).stderr(Stdio::piped());
        // Without a text to await, it is closed before anything is written to it.
        let master = awaited.map(|text| (master, text));
        let child = command.spawn().unwrap();
        // The command holds the terminal open too.
        drop(command);
        if let Some((mut master, text)) = master {
            let reading = tokio::task::spawn_blocking(move || {
                let (mut sent, mut bytes) = (Vec::new(), [0; 4096]);
                while !String::from_utf8_lossy(&sent).contains(text) {
                    let count = master.read(&mut bytes).unwrap();
                    sent.extend_from_slice(&bytes[..count]);
                }
            });
            reading.await.unwrap();
        }
        let ended = in_time(child.wait_with_output()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), &*said), (Some(0), ""), "{subcommand}");
    }
}

#[tokio::test]
async fn a_signal_cuts_no_line_if_the_reader_reads() {
    let engine = Server::builder().start().unwrap();
    let large = "x".repeat(20_000);
    for nth in 0..100 {
        engine.run(ContainerSpec::new(format!("c{nth}")).label("large", &large)).unwrap();
    }
    for _ in 0..ATTEMPTS {
        let before = engine.stats().requests.inspect;
        let mut program = Program::start(&["watch", "--format", "json", "--host", &engine.endpoint()]);
        // The engine runs in the thread of this test, so it must be done before the signal.
        while engine.stats().requests.inspect < before + 100 {
            program.json().await;
        }
        let signalled = Instant::now();
        program.signal(Signal::TERM);
        let ended = program.ended().await;
        let took = signalled.elapsed();
        assert_eq!(ended.code, Some(0));
        let whole = ended.stdout.rfind('\n').map_or(0, |end| end + 1);
        for line in ended.stdout[..whole].lines() {
            serde_json::from_str::<Value>(line)
                .unwrap_or_else(|error| panic!("{error}: {} bytes", line.len()));
        }
        if whole == ended.stdout.len() {
            return;
        }
        assert!(took >= FINISH_LIMIT, "a line was cut after {took:?}");
    }
    panic!("the last line was cut {ATTEMPTS} times");
}

#[tokio::test]
async fn a_signal_ends_programs_with_stalled_readers() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run(ContainerSpec::new("web").label("large", "x".repeat(100_000))).unwrap();
    let (mut fast, _) = Program::watching(&engine).await;
    // The standard output is full from the start, the standard error soon after.
    let stuck = Program::start(&["watch", "-vvv", "--format", "json", "--host", &engine.endpoint()]);
    let ps = Program::start(&["ps", "--format", "json", "--host", &engine.endpoint()]);
    for _ in 0..20 {
        engine.pause(&web).unwrap();
        fast.json().await;
        engine.unpause(&web).unwrap();
        fast.json().await;
    }
    for program in [stuck, ps] {
        program.signal(Signal::INT);
        assert_eq!(program.ended_unread().await.code, Some(0));
    }
}

#[tokio::test]
async fn ps_ends_if_the_engine_stops_answering() {
    let engine = Server::builder()
        .on_request(|request| match request.kind() {
            Kind::List => Verdict::Close,
            _ => Verdict::Pass,
        })
        .start()
        .unwrap();
    let ended = run(&["ps", "--host", &engine.endpoint()]).await;
    assert!(ended.error().contains(&engine.endpoint()), "{ended:?}");
    assert_eq!(ended.stdout, "");
}
