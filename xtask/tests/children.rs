//! What an interrupted run ends, in a process with no other tests, whose children it would end as well.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

#[test]
fn whatever_was_started_ends_also_if_it_ignores_signals() {
    let scripts = ["exec sleep 1000", "trap '' INT TERM; exec sleep 1000"];
    let children = scripts.map(|script| Command::new("sh").args(["-c", script]).spawn().unwrap());
    xtask::interrupt::end_others();
    for mut child in children {
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
