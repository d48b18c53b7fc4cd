//! The arguments of `completions` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  whalewatcher completions zsh > ~/.zfunc/_whalewatcher
  whalewatcher completions fish > ~/.config/fish/completions/whalewatcher.fish
  source <(whalewatcher completions bash)

Names of live containers are completed too, if the engines answer within 2 s.";

/// Which shell completes the command line.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Where manual pages go.
#[derive(Args)]
pub(crate) struct ManArgs {
    /// Folder to write them to
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}
