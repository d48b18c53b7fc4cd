//! The command line in a shell, and the manual pages.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use whalewatcher_testkit::docker::Server;

use crate::program::{Ended, PATH, run};

/// Returns whether a shell is installed.
fn is_installed(shell: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(shell).is_file())
}

/// Runs a script in a shell to which the program is known by its name.
async fn in_shell(shell: &str, arguments: &[&str], script: &str) -> Ended {
    let mut paths = vec![Path::new(PATH).parent().unwrap().to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(shell);
    command.args(arguments).arg("-c").arg(script).stdin(Stdio::null());
    Ended::of(command.env("PATH", std::env::join_paths(paths).unwrap()).env("DOCKER_CONFIG", "/no/such"))
        .await
}

/// Returns what bash suggests for a line.
async fn in_bash(line: &str) -> Vec<String> {
    let script = r#"
        source <(whalewatcher completions bash) || exit 1
        COMP_LINE=@LINE@
        COMP_POINT=${#COMP_LINE}
        read -ra COMP_WORDS <<< "$COMP_LINE"
        [[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        complete -p whalewatcher | grep -q -- '-F _whalewatcher_with_names' || exit 2
        _whalewatcher_with_names whalewatcher "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let ended = in_shell("bash", &["--norc"], &script.replace("@LINE@", &format!("'{line}'"))).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    ended.stdout.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes_commands_options_and_names() {
    if !is_installed("bash") {
        return;
    }
    let engine = Server::builder().start().unwrap();
    for name in ["web-1", "web-2", "db"] {
        engine.run(name).unwrap();
    }
    let host = format!("--host {}", engine.endpoint());
    assert_eq!(in_bash("whalewatcher wai").await, ["wait"]);
    assert_eq!(in_bash("whalewatcher wait --time").await, ["--timeout"]);
    assert_eq!(in_bash("whalewatcher wait web --for g").await, ["gone"]);
    assert_eq!(in_bash(&format!("whalewatcher wait {host} web")).await, ["web-1", "web-2"]);
    assert_eq!(in_bash(&format!("whalewatcher {host} ps db ")).await, ["db", "web-1", "web-2"]);
    assert!(in_bash(&format!("whalewatcher ps {host} --project ")).await.iter().all(|word| word != "db"));
}

#[tokio::test]
async fn other_shells_accept_their_scripts() {
    for (shell, arguments, check) in [
        ("fish", &["--no-config"][..], "source"),
        (
            "zsh",
            &["-f"],
            "autoload -U compinit; compinit -u -D; source /dev/stdin; whence -w _whalewatcher_names",
        ),
    ] {
        let script = run(&["completions", shell]).await;
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""));
        assert!(script.stdout.contains("whalewatcher ps --output name"), "{shell}");
        if is_installed(shell) {
            let ended =
                in_shell(shell, arguments, &format!("whalewatcher completions {shell} | {{ {check} }}"))
                    .await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        }
    }
    let zsh = run(&["completions", "zsh"]).await.stdout;
    assert!(
        zsh.starts_with("#compdef whalewatcher\n") && zsh.contains(":_whalewatcher_names' \\\n"),
        "{zsh}"
    );
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["man", folder.path().to_str().unwrap()]).await;
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("whalewatcher.1").contains("whalewatcher\\-wait"), "{}", page("whalewatcher.1"));
    assert!(page("whalewatcher-wait.1").contains("\\-\\-exit\\-code"));
    assert!(!folder.path().join("whalewatcher-man.1").exists());
    let failed = run(&["man", "/dev/null/x"]).await;
    assert!(failed.error().contains("cannot write the manual pages to /dev/null/x"), "{failed:?}");
}
