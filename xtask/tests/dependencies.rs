//! Whoever needs one engine compiles nothing of the others.

use std::process::Command;

/// The names of all crates that a build of this package takes.
fn crates(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(arguments)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Which of these there are.
fn found<'a>(crates: &[String], wanted: &[&'a str]) -> Vec<&'a str> {
    wanted.iter().copied().filter(|name| crates.iter().any(|found| found == name)).collect()
}

const DOCKER: [&str; 2] = ["bollard", "whalewatcher-moby"];
const CONTAINERD: [&str; 5] =
    ["containerd-client", "prost-build", "tonic", "whalewatcher-containerd", "whalewatcher-grpc"];

#[test]
fn containerd_alone_takes_nothing_of_docker() {
    for arguments in [
        &["-p", "whalewatcher-containerd"][..],
        &["-p", "whalewatcher", "--no-default-features", "--features", "containerd"],
    ] {
        let crates = crates(arguments);
        assert_eq!(found(&crates, &DOCKER), [""; 0], "{arguments:?}");
        assert_eq!(found(&crates, &CONTAINERD), CONTAINERD, "{arguments:?}");
        assert_eq!(found(&crates, &["k8s-cri", "whalewatcher-cri"]), [""; 0], "{arguments:?}");
    }
}

const CRI: [&str; 3] = ["k8s-cri", "whalewatcher-cri", "whalewatcher-grpc"];

#[test]
fn cri_alone_takes_nothing_of_docker_nor_of_containerds_own_api() {
    let crates = crates(&["-p", "whalewatcher-cri"]);
    assert_eq!(found(&crates, &CRI), CRI);
    assert_eq!(found(&crates, &DOCKER), [""; 0]);
    assert_eq!(found(&crates, &["containerd-client", "whalewatcher-containerd"]), [""; 0]);
    let with_hints = self::crates(&["-p", "whalewatcher-cri", "--features", "containerd"]);
    assert_eq!(found(&with_hints, &CONTAINERD), CONTAINERD);
}

#[test]
fn without_containerd_no_protoc_is_needed() {
    for arguments in [
        &["-p", "whalewatcher"][..],
        &["-p", "whalewatcher-moby", "--all-features"],
        &["-p", "whalewatcher", "--features", "metrics,serde,tls"],
        &["-p", "whalewatcher-testkit"],
    ] {
        let crates = crates(arguments);
        assert_eq!(found(&crates, &CONTAINERD), [""; 0], "{arguments:?}");
        assert_eq!(found(&crates, &CRI), [""; 0], "{arguments:?}");
    }
    assert_eq!(found(&crates(&["-p", "whalewatcher"]), &DOCKER), DOCKER);
}

#[test]
fn core_takes_no_engines_library() {
    let crates = crates(&["-p", "whalewatcher-core", "--all-features"]);
    assert_eq!(found(&crates, &DOCKER), [""; 0]);
    assert_eq!(found(&crates, &CONTAINERD), [""; 0]);
    assert_eq!(found(&crates, &CRI), [""; 0]);
    assert_eq!(found(&crates, &["hyper", "http"]), [""; 0]);
}
