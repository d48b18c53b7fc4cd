//! The program whalewatcher; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    whalewatcher_cli::run()
}
