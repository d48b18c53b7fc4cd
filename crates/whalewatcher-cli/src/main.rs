//! The binary of the program; all code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    whalewatcher_cli::run()
}
