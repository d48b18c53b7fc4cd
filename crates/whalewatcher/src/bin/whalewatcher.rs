//! The binary of the program; all code is in `whalewatcher-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    whalewatcher_cli::run()
}
