//! A build for one engine compiles nothing of the others.

use std::process::Command;

/// All crates that a build of this package takes, in this format of `cargo tree`.
fn tree(format: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none", "--format"])
        .arg(format)
        .args(arguments)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names are text").lines().map(str::to_owned).collect()
}

/// Checks that a build with these arguments takes all of some crates and none of others.
fn takes(arguments: &str, present: &[&[&str]], absent: &[&[&str]]) {
    let all = tree("{p}", &arguments.split(' ').collect::<Vec<_>>());
    let is_there = |name: &&str| all.iter().any(|line| line.split(' ').next() == Some(*name));
    for name in present.concat() {
        assert!(is_there(&name), "`{arguments}` takes no {name}");
    }
    for name in absent.concat() {
        assert!(!is_there(&name), "`{arguments}` takes {name}");
    }
}

const MOBY: &[&str] = &["whalewatcher-moby"];
const BOLLARD: &[&str] = &["bollard"];
const GRPC: &[&str] = &["tonic", "whalewatcher-api"];
const CONTAINERD: &[&str] = &["whalewatcher-containerd"];
const CRI: &[&str] = &["whalewatcher-cri"];
const PROGRAM: &[&str] = &["clap", "whalewatcher-cli"];
/// What compiles definitions, and what needs that.
const PROTOC: &[&str] = &["containerd-client", "k8s-cri", "prost-build", "tonic-prost-build"];

/// The facade with these features alone.
fn facade(features: &str) -> String {
    format!("-p whalewatcher --no-default-features --features {features}")
}

#[test]
fn containerd_alone_takes_nothing_of_docker_or_cri() {
    for arguments in ["-p whalewatcher-containerd", &facade("containerd")] {
        takes(arguments, &[GRPC, CONTAINERD], &[MOBY, BOLLARD, CRI]);
    }
}

#[test]
fn cri_alone_takes_nothing_of_docker_or_containerd() {
    for arguments in ["-p whalewatcher-cri", &facade("cri")] {
        takes(arguments, &[GRPC, CRI], &[MOBY, BOLLARD, CONTAINERD]);
    }
}

#[test]
fn podman_takes_the_docker_adapter_without_bollard() {
    for arguments in ["-p whalewatcher-podman", &facade("podman")] {
        takes(arguments, &[MOBY, &["whalewatcher-podman"]], &[BOLLARD, GRPC, CONTAINERD, CRI]);
    }
    takes("-p whalewatcher-moby --all-features", &[], &[&["whalewatcher-podman"]]);
}

#[test]
fn cri_and_containerd_together_spare_an_old_containerd_the_polling() {
    let uses_containerd = |features| {
        let facade = facade(features);
        let all = tree("{p} {f}", &facade.split(' ').collect::<Vec<_>>());
        let line = all.into_iter().find(|line| line.starts_with("whalewatcher-cri ")).expect("it is there");
        line.rsplit(' ').next().is_some_and(|features| features.split(',').any(|one| one == "containerd"))
    };
    assert!(uses_containerd("cri,containerd"));
    assert!(!uses_containerd("cri"));
    takes("-p whalewatcher-cri --all-features", &[], &[CONTAINERD, MOBY, BOLLARD]);
}

#[test]
fn bollard_is_compiled_where_its_types_are_wanted_only() {
    for arguments in [
        "-p whalewatcher-moby --no-default-features --features tls",
        &facade("moby,serde,tls"),
        "-p whalewatcher-cli",
    ] {
        takes(arguments, &[MOBY], &[BOLLARD]);
    }
    for arguments in ["-p whalewatcher-moby", "-p whalewatcher", &facade("bollard")] {
        takes(arguments, &[MOBY, BOLLARD], &[]);
    }
}

#[test]
fn the_program_is_compiled_where_it_is_asked_for_only() {
    takes(&facade("containerd,cri,metrics,moby,serde,tls"), &[], &[PROGRAM]);
    takes(&facade("cli"), &[PROGRAM], &[]);
}

#[test]
fn without_containerd_and_cri_nothing_of_grpc_is_compiled() {
    for arguments in [
        "-p whalewatcher",
        "-p whalewatcher-moby --all-features",
        "-p whalewatcher --features metrics,serde,tls",
        "-p whalewatcher-testkit",
    ] {
        takes(arguments, &[], &[GRPC, CONTAINERD, CRI]);
    }
}

/// All features but the one that says that it takes protoc.
#[test]
fn nothing_takes_protoc_unless_asked_for() {
    for arguments in [
        "-p whalewatcher-api --all-features",
        "-p whalewatcher-containerd",
        "-p whalewatcher-cri --all-features",
        "-p whalewatcher --all-features",
        "-p whalewatcher-cli --all-features",
        "-p whalewatcher-testkit --all-features",
        "-p xtask",
    ] {
        takes(arguments, &[], &[PROTOC]);
    }
    // Their drivers' clients are generated without it.
    for arguments in ["-p whalewatcher-bench", "-p whalewatcher-integration"] {
        takes(arguments, &[&["protox"]], &[&["containerd-client", "k8s-cri"]]);
    }
    takes("-p whalewatcher-containerd --features containerd-client", &[&["containerd-client"]], &[]);
}

#[test]
fn core_takes_no_engines_library() {
    let absent = [MOBY, BOLLARD, GRPC, CONTAINERD, CRI, &["hyper", "http", "whalewatcher-adapter"]];
    takes("-p whalewatcher-core --all-features", &[], &absent);
}
