//! Faults of the file.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use whalewatcher_core::fleet::FleetSubscription;
use whalewatcher_core::history::HistorySettings;
use whalewatcher_core::{Container, EngineWatcher, EventKind, Fleet};
use whalewatcher_testkit::scripted::Engine;
use whalewatcher_testkit::watched::in_time;

use super::file::older;
use super::*;

/// A folder with the path of a journal in it.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    (folder, path)
}

/// The marks and events of a journal, and how many lines were skipped.
fn read(path: &std::path::Path) -> (Vec<String>, usize) {
    let (mut reader, mut all) = (Reader::open(path).unwrap(), Vec::new());
    while let Some(line) = reader.next().unwrap() {
        all.push(match line.what {
            What::Mark(mark) => format!("{mark:?}"),
            What::Event(event) => event.to_string(),
        });
    }
    (all, reader.skipped)
}

fn append(path: &std::path::Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// The line of a start.
fn started(name: &str) -> Vec<u8> {
    let watcher = EngineWatcher::new(Engine::new());
    let container = std::sync::Arc::new(Container::new(name, name, 7));
    let started = Event::new(SystemTime::UNIX_EPOCH, EventKind::Started(container));
    event(&watcher, &started).unwrap().unwrap()
}

#[test]
fn an_incomplete_last_line_is_skipped_and_ended_by_the_next_writer() {
    let (_folder, path) = folder();
    JournalFile::open(&path).unwrap().append(&mark(Mark::Begun)).unwrap();
    let line = started("web");
    append(&path, &line[..line.len() / 2]);
    assert_eq!(read(&path), (vec!["Begun".to_owned()], 0));
    let mut file = JournalFile::open(&path).unwrap();
    file.append(&mark(Mark::Quiet)).unwrap();
    assert_eq!(read(&path), (vec!["Begun".to_owned(), "Quiet".to_owned()], 1));
}

#[test]
fn malformed_lines_are_skipped_and_counted() {
    let (_folder, path) = folder();
    let mut file = JournalFile::open(&path).unwrap();
    file.append(&mark(Mark::Begun)).unwrap();
    append(
        &path,
        b"\n\xff\xfe garbage\n{\"at\":\"noon\"}\n{\"at\":\"2026-01-31T12:00:00Z\",\"event\":\"odd\"}\n",
    );
    append(&path, &[b'x'; 3 * LONGEST_LINE]);
    append(&path, b"\n");
    file.append(&started("web")).unwrap();
    assert_eq!(read(&path), (vec!["Begun".to_owned(), "started container 'web' with PID 7".to_owned()], 4));
}

#[test]
fn a_second_writer_is_refused_until_the_first_one_is_gone() {
    let (_folder, path) = folder();
    let mut first = JournalFile::with_limit(&path, 300).unwrap();
    for _ in 0..20 {
        first.append(&started("web")).unwrap();
        let error = JournalFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("is written by another program; --journal can name another file"), "{error}");
    }
    drop(first);
    JournalFile::open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_stays_as_it_is() {
    let (folder, path) = folder();
    fs::write(&path, "export PATH\n").unwrap();
    assert!(JournalFile::open(&path).unwrap_err().to_string().contains("is no journal"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "export PATH\n");
    let error = JournalFile::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("is not a file"), "{error}");
}

#[test]
fn a_full_file_becomes_the_older_one_and_only_two_are_kept() {
    let (folder, path) = folder();
    let mut file = JournalFile::with_limit(&path, 2000).unwrap();
    file.append(&mark(Mark::Begun)).unwrap();
    for nth in 0..100 {
        file.append(&started(&format!("c{nth}"))).unwrap();
        let (all, skipped) = read(&path);
        assert_eq!((all.last().unwrap(), skipped), (&format!("started container 'c{nth}' with PID 7"), 0));
        for path in [&path, &older(&path)] {
            assert!(fs::metadata(path).map_or(0, |file| file.len()) <= 2000);
        }
    }
    let (all, _) = read(&path);
    assert_eq!((all[0].as_str(), fs::read_dir(folder.path()).unwrap().count()), ("Continued", 2));
    let numbers: Vec<_> = all.iter().filter_map(|line| line.split('\'').nth(1)).collect();
    assert!(numbers.len() > 8 && numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
}

#[tokio::test]
async fn a_full_disk_is_reported_once_and_the_watch_goes_on() {
    let (fleet, engine, notes) = (Fleet::new(), Engine::new(), std::sync::Arc::new(Mutex::new(Vec::new())));
    let reported = notes.clone();
    let report = std::sync::Arc::new(move |note| reported.lock().unwrap().push(note));
    // Others use the device, too.
    let [full, _other] = [(); 2].map(|()| JournalFile::open(std::path::Path::new("/dev/full")).unwrap());
    let recorder = Recorder::start(full, &fleet, HistorySettings::default(), report).unwrap();
    let (_, mut changes) = fleet.subscribe();
    fleet.add(EngineWatcher::new(engine.clone())).unwrap();
    let mut revision = 0;
    for pid in 1..=9 {
        engine.start(Container::new("1", "web", pid));
        next(&mut changes, "started").await;
        engine.exit("1", Some(0));
        revision = next(&mut changes, "exited").await;
    }
    recorder.written(revision).await;
    let notes = notes.lock().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("cannot write the journal: No space left on device"), "{notes:?}");
}

/// Reads the events up to one of this kind, and returns its revision.
async fn next(changes: &mut FleetSubscription, kind: &str) -> u64 {
    loop {
        let change = in_time(changes.next()).await.unwrap();
        if change.event.kind.name() == kind {
            return change.revision;
        }
    }
}

#[tokio::test]
async fn after_a_failure_the_journal_begins_with_what_is_alive() {
    let (fleet, engine) = (Fleet::new(), Engine::new());
    let (_folder, path) = folder();
    engine.start(Container::new("1", "web", 7));
    fleet.add(EngineWatcher::new(engine.clone())).unwrap();
    fleet.ready(std::time::Duration::from_secs(60)).await;
    // As after any failure.
    let file = JournalFile::open(&path).unwrap();
    let recorder = Recorder::start(
        file,
        &fleet,
        HistorySettings::default(),
        std::sync::Arc::new(|note| panic!("{note}")),
    )
    .unwrap();
    let (_, mut changes) = fleet.subscribe();
    engine.exit("1", Some(3));
    let exited = in_time(changes.next()).await.unwrap();
    recorder.written(exited.revision).await;
    let expected = [
        "Begun",
        "started container 'web'/1 with PID 7",
        "synced, 1 alive",
        "exited container 'web'/1 with PID 7, exit code 3",
    ];
    assert_eq!(read(&path).0, expected);
}
