//! `whalewatcher completions` and `whalewatcher man`: what packages install beside the program.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::{Shell as Generator, generate};

use crate::args::{Cli, Shell};
use crate::output::Output;

const NAME: &str = "whalewatcher";

/// Prints the script with which a shell completes the command line.
pub(crate) async fn completions(shell: Shell, output: &Output) -> anyhow::Result<()> {
    let script = script(shell);
    output
        .write(move |writer| {
            writer.begin();
            Ok(writer.write_all(script.as_bytes())?)
        })
        .await
}

/// Returns the generated script, and what completes the names of live containers.
fn script(shell: Shell) -> String {
    let (generator, names) = match shell {
        Shell::Bash => (Generator::Bash, include_str!("names.bash")),
        Shell::Fish => (Generator::Fish, include_str!("names.fish")),
        Shell::Zsh => (Generator::Zsh, include_str!("names.zsh")),
    };
    let mut generated = Vec::new();
    generate(generator, &mut Cli::command(), NAME, &mut generated);
    let generated = String::from_utf8_lossy(&generated);
    match shell {
        Shell::Bash | Shell::Fish => format!("{generated}\n{names}"),
        Shell::Zsh => {
            // The first line is for zsh, and the last ones call the function.
            let (first, rest) = generated.split_once('\n').unwrap_or_default();
            let mut script = format!("{first}\n{names}\n");
            for line in rest.lines() {
                let takes_names = line.starts_with("'*::names -- ");
                let of_names = line.strip_suffix(":_default' \\").filter(|_| takes_names);
                let line = of_names
                    .map_or_else(|| line.to_owned(), |line| format!("{line}:_whalewatcher_names' \\"));
                script += &(line + "\n");
            }
            script
        }
    }
}

/// Writes a manual page for the program and one for each command.
pub(crate) fn man(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write the manual pages to {}", folder.display()))
}
