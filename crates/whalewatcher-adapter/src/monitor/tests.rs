//! The clock is paused, so no delay is waited for; what happens in the file system is real.

use std::cell::Cell;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::pin::pin;

use futures_util::FutureExt;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;

/// Longer than any socket is tried.
const LONG: Duration = Duration::from_secs(60);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    (folder, path)
}

/// Asserts that the monitor waits, and no longer after the change.
async fn waits_for<T>(monitor: &SocketMonitor, change: impl FnOnce() -> T) -> T {
    let mut listening = pin!(monitor.listening());
    tokio::select! {
        () = listening.as_mut() => panic!("nothing listens there"),
        () = sleep(LONG) => {}
    }
    let changed = change();
    listening.await;
    changed
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_bound_is_noticed_wherever_its_path_leads() {
    let (folder, path) = folder();
    let _listener = waits_for(&SocketMonitor::new(&path), || UnixListener::bind(&path).unwrap()).await;

    let moved = folder.path().join("moved");
    let monitor = SocketMonitor::new(&moved);
    waits_for(&monitor, || fs::rename(&path, &moved).unwrap()).await;

    let (deep, linked) = (folder.path().join("a/b/c/s"), folder.path().join("link"));
    let create = || {
        fs::create_dir_all(deep.parent().unwrap()).unwrap();
        UnixListener::bind(&deep).unwrap()
    };
    let _listener = waits_for(&SocketMonitor::new(&deep), create).await;
    let monitor = SocketMonitor::new(&linked);
    waits_for(&monitor, || symlink("a/../a/b/c/s", &linked).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_replaced_folder_or_link_is_followed() {
    let (folder, _) = folder();
    let [old, new, link] = ["old", "new", "link"].map(|name| folder.path().join(name));
    fs::create_dir(&old).unwrap();
    fs::create_dir(&new).unwrap();
    symlink(&old, &link).unwrap();
    let _listener = UnixListener::bind(new.join("s")).unwrap();
    let path = link.join("s");
    waits_for(&SocketMonitor::new(&path), || {
        fs::remove_file(&link).unwrap();
        symlink("new", &link).unwrap();
    })
    .await;
    let path = old.join("s");
    waits_for(&SocketMonitor::new(&path), || {
        fs::remove_dir(&old).unwrap();
        fs::rename(&new, &old).unwrap();
    })
    .await;
    // The folder of a link's target comes and goes.
    let [target, socket] = ["target", "socket"].map(|name| folder.path().join(name));
    symlink(target.join("s"), &socket).unwrap();
    waits_for(&SocketMonitor::new(&socket), || {
        fs::create_dir(&target).unwrap();
        UnixListener::bind(target.join("s")).unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_below_an_open_folder_is_noticed() {
    let (folder, path) = folder();
    let open = fs::File::open(folder.path()).unwrap();
    let below = format!("/proc/self/fd/{}/s", open.as_raw_fd());
    // Its link names another folder by now.
    fs::rename(folder.path(), folder.path().with_extension("moved")).unwrap();
    fs::create_dir(folder.path()).unwrap();
    let moved = folder.path().with_extension("moved");
    let _listener = waits_for(&SocketMonitor::new(&below), || {
        drop(UnixListener::bind(&path).unwrap());
        UnixListener::bind(moved.join("s")).unwrap()
    })
    .await;
    fs::remove_dir_all(moved).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_folders_of_several_paths_are_watched_together() {
    let (folder, path) = folder();
    let mut folders = Folders::new().unwrap();
    let other = folder.path().join("a/b/s");
    folders.add(&path).unwrap();
    folders.add(&other).unwrap();
    fs::write(folder.path().join("none"), "").unwrap();
    assert!(folders.changed().now_or_never().is_none());
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    folders.changed().await.unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    folders.changed().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_bound_before_the_watch_begins_is_noticed() {
    let (_folder, path) = folder();
    let monitor = SocketMonitor::new(&path);
    drop(monitor.begin_attempt());
    let _listener = UnixListener::bind(&path).unwrap();
    monitor.listening().await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_the_last_attempt_connected_to_is_left_alone_until_another_one_is_bound() {
    let (_folder, path) = folder();
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let monitor = SocketMonitor::new(&path);
    let (_stream, bound) = socket::connect(&path).await.unwrap();
    monitor.begin_attempt().record(bound);
    listener.accept().unwrap();
    waits_for(&monitor, || {
        assert!(listener.accept().is_err(), "it is not even tried");
        fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_socket_is_tried_for_a_while_only() {
    let (_folder, path) = folder();
    drop(UnixListener::bind(&path).unwrap());
    let monitor = SocketMonitor::new(&path);
    for _ in 0..2 {
        drop(monitor.begin_attempt());
        tokio::select! {
            () = monitor.listening() => panic!("nothing listens there"),
            () = sleep(LONG) => {}
        }
        let socket = monitor.other_socket().unwrap();
        assert!(monitor.noticed_since(socket).unwrap().elapsed() >= LONG);
    }
    waits_for(&monitor, || {
        fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap()
    })
    .await;
}

/// The kernel reports no change when a bound socket begins to listen.
#[tokio::test(start_paused = true)]
async fn a_socket_that_listens_later_than_it_is_bound_is_noticed() {
    let (_folder, path) = folder();
    let bound = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&bound, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let monitor = SocketMonitor::new(&path);
    // The first attempt comes too early.
    monitor.listening().await;
    drop(monitor.begin_attempt());
    let mut listening = pin!(monitor.listening());
    tokio::select! {
        () = listening.as_mut() => panic!("it does not listen yet"),
        () = sleep(SETTLED / 2) => {}
    }
    listen(&bound, 1).unwrap();
    let noticed = Instant::now();
    listening.await;
    assert!(noticed.elapsed() <= TRY_EVERY, "by the paused clock");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_socket_is_not_tried_and_other_files_are_ignored() {
    let (folder, path) = folder();
    fs::write(&path, "").unwrap();
    let monitor = SocketMonitor::new(&path);
    let opened = Cell::new(0);
    let open = |path: &Path| {
        opened.set(opened.get() + 1);
        Folders::watch(path)
    };
    let mut watching = pin!(monitor.watch(open));
    for nth in 0..100 {
        fs::write(folder.path().join(nth.to_string()), "").unwrap();
        let mut steps = 0;
        while steps < 5 {
            assert!(watching.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
            steps += 1;
        }
    }
    assert_eq!(opened.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_changes_all_the_time_is_read_at_intervals() {
    let (_folder, path) = folder();
    let monitor = SocketMonitor::new(&path);
    let opened = Cell::new(0);
    let open = |path: &Path| {
        opened.set(opened.get() + 1);
        Folders::watch(path)
    };
    let changing = async {
        for _ in 0..1000 {
            fs::write(&path, "").unwrap();
            sleep(Duration::from_millis(1)).await;
            fs::remove_file(&path).unwrap();
        }
    };
    tokio::select! {
        _ = monitor.watch(open) => panic!("nothing listens there"),
        () = changing => {}
    }
    assert!(opened.get() <= 101, "{} times in a second", opened.get());
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_watched_the_back_off_remains() {
    let (_folder, path) = folder();
    let _listener = UnixListener::bind(&path).unwrap();
    let monitor = SocketMonitor::new(&path);
    let limited = |_: &Path| Err(io::Error::from_raw_os_error(24));
    assert_eq!(monitor.watch(limited).await.unwrap_err().raw_os_error(), Some(24));
    // A link that leads to itself.
    let endless = path.with_file_name("endless");
    symlink(&endless, &endless).unwrap();
    let endless = SocketMonitor::new(&endless);
    tokio::select! {
        () = endless.listening() => panic!("it leads nowhere"),
        () = sleep(LONG) => {}
    }
}
