//! What a dropped discovery leaves behind: no descriptor and no task. Alone in its process, which counts them.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use whalewatcher_core::Fleet;
use whalewatcher_discover::{Options, discover};
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::dropping::Holdings;

#[tokio::test]
async fn dropping_leaves_neither_descriptors_nor_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    std::fs::create_dir(&path).unwrap();
    let docker = Server::builder().socket(path.join("docker.sock")).start().unwrap();
    let fleet = Arc::new(Fleet::new());
    let options = || {
        let options = Options::default().with_root(folder.path()).with_home(folder.path());
        options.with_proc(folder.path()).with_endpoints([""; 0])
    };
    let before = Holdings::now();
    for step in ["at once", "settled", "watched"] {
        let discovery = discover(&fleet, options());
        match step {
            "settled" => discovery.settled().await,
            "watched" => {
                discovery.settled().await;
                assert!(fleet.ready(std::time::Duration::MAX).await.is_complete());
            }
            _ => {}
        }
        drop(discovery);
        before.regained(step).await;
    }
    drop(docker);
}
