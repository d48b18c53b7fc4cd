//! The program whalewatcher; all of it is in `whalewatcher-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    whalewatcher_cli::run()
}
