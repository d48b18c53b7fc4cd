//! A build for one engine compiles nothing of the others.

use std::process::Command;

/// All crates that a build of this package takes, in this format of `cargo tree`.
fn tree(format: &str, arguments: &[&str]) -> Vec<String> {
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
            format,
        ])
        .args(arguments)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names are text").lines().map(str::to_owned).collect()
}

/// The names of all crates that a build of this package takes.
fn crates(arguments: &[&str]) -> Vec<String> {
    let all = tree("{p}", arguments);
    all.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Which of these there are.
fn found<'a>(crates: &[String], wanted: &[&'a str]) -> Vec<&'a str> {
    wanted.iter().copied().filter(|name| crates.iter().any(|found| found == name)).collect()
}

const DOCKER: [&str; 2] = ["bollard", "whalewatcher-moby"];
const GRPC: [&str; 2] = ["tonic", "whalewatcher-api"];
const CONTAINERD: [&str; 1] = ["whalewatcher-containerd"];
const CRI: [&str; 1] = ["whalewatcher-cri"];
/// What compiles definitions, and what needs that.
const PROTOC: [&str; 4] = ["containerd-client", "k8s-cri", "prost-build", "tonic-prost-build"];

/// The facade with these features alone.
fn facade(features: &str) -> [&str; 5] {
    ["-p", "whalewatcher", "--no-default-features", "--features", features]
}

#[test]
fn containerd_alone_takes_nothing_of_docker_or_cri() {
    for arguments in [&["-p", "whalewatcher-containerd"][..], &facade("containerd")] {
        let crates = crates(arguments);
        assert_eq!(found(&crates, &DOCKER), [""; 0], "{arguments:?}");
        assert_eq!(found(&crates, &CRI), [""; 0], "{arguments:?}");
        assert_eq!(found(&crates, &GRPC), GRPC, "{arguments:?}");
        assert_eq!(found(&crates, &CONTAINERD), CONTAINERD, "{arguments:?}");
    }
}

#[test]
fn cri_alone_takes_nothing_of_docker_or_containerd() {
    for arguments in [&["-p", "whalewatcher-cri"][..], &facade("cri")] {
        let crates = crates(arguments);
        assert_eq!(found(&crates, &DOCKER), [""; 0], "{arguments:?}");
        assert_eq!(found(&crates, &CONTAINERD), [""; 0], "{arguments:?}");
        assert_eq!(found(&crates, &GRPC), GRPC, "{arguments:?}");
        assert_eq!(found(&crates, &CRI), CRI, "{arguments:?}");
    }
}

#[test]
fn cri_and_containerd_together_spare_an_old_containerd_the_polling() {
    let cri = |features| {
        let all = tree("{p} {f}", &facade(features));
        all.into_iter().find(|line| line.starts_with("whalewatcher-cri ")).expect("it is there")
    };
    let uses_containerd = |line: &str| {
        line.rsplit(' ').next().is_some_and(|features| features.split(',').any(|one| one == "containerd"))
    };
    assert!(uses_containerd(&cri("cri,containerd")), "{}", cri("cri,containerd"));
    assert!(!uses_containerd(&cri("cri")), "{}", cri("cri"));
    let crates = crates(&["-p", "whalewatcher-cri", "--all-features"]);
    assert_eq!(found(&crates, &CONTAINERD), [""; 0]);
    assert_eq!(found(&crates, &DOCKER), [""; 0]);
}

#[test]
fn bollard_is_compiled_where_its_types_are_wanted_only() {
    for arguments in [
        &["-p", "whalewatcher-moby", "--no-default-features", "--features", "tls"][..],
        &facade("moby,serde,tls"),
        &["-p", "whalewatcher-cli"],
    ] {
        assert_eq!(found(&crates(arguments), &DOCKER), ["whalewatcher-moby"], "{arguments:?}");
    }
    for arguments in [&["-p", "whalewatcher-moby"][..], &["-p", "whalewatcher"], &facade("bollard")] {
        assert_eq!(found(&crates(arguments), &DOCKER), DOCKER, "{arguments:?}");
    }
}

#[test]
fn the_program_is_compiled_where_it_is_asked_for_only() {
    const PROGRAM: [&str; 2] = ["clap", "whalewatcher-cli"];
    assert_eq!(found(&crates(&facade("containerd,cri,metrics,moby,serde,tls")), &PROGRAM), [""; 0]);
    assert_eq!(found(&crates(&facade("cli")), &PROGRAM), PROGRAM);
}

#[test]
fn without_containerd_and_cri_nothing_of_grpc_is_compiled() {
    for arguments in [
        &["-p", "whalewatcher"][..],
        &["-p", "whalewatcher-moby", "--all-features"],
        &["-p", "whalewatcher", "--features", "metrics,serde,tls"],
        &["-p", "whalewatcher-testkit"],
    ] {
        let crates = crates(arguments);
        for absent in [&GRPC[..], &CONTAINERD, &CRI] {
            assert_eq!(found(&crates, absent), [""; 0], "{arguments:?}");
        }
    }
}

/// All features but the one that says that it takes protoc.
#[test]
fn nothing_takes_protoc_unless_asked_for() {
    for arguments in [
        &["-p", "whalewatcher-api", "--all-features"][..],
        &["-p", "whalewatcher-containerd"],
        &["-p", "whalewatcher-cri", "--all-features"],
        &["-p", "whalewatcher", "--all-features"],
        &["-p", "whalewatcher-cli", "--all-features"],
        &["-p", "whalewatcher-testkit", "--all-features"],
        &["-p", "xtask"],
        &["-p", "whalewatcher-bench"],
        &["-p", "whalewatcher-integration"],
    ] {
        assert_eq!(found(&crates(arguments), &PROTOC), [""; 0], "{arguments:?}");
    }
    let asked = crates(&["-p", "whalewatcher-containerd", "--features", "containerd-client"]);
    assert!(asked.iter().any(|name| name == "containerd-client"));
}

#[test]
fn core_takes_no_engines_library() {
    let crates = crates(&["-p", "whalewatcher-core", "--all-features"]);
    for absent in [&DOCKER[..], &GRPC, &CONTAINERD, &CRI, &["hyper", "http", "whalewatcher-adapter"]] {
        assert_eq!(found(&crates, absent), [""; 0]);
    }
}
