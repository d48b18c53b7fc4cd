//! The help, at the width of an old terminal.

use crate::program::run;

#[tokio::test]
async fn help_fits_80_columns_and_every_command_has_examples() {
    let all = run(&["--help"]).await.stdout;
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = commands.filter_map(|line| line.split(' ').next());
    let commands = names.filter(|name| !name.is_empty() && *name != "help");
    let mut count = 0;
    for arguments in commands.map(|name| vec![name]).chain([vec![]]) {
        for help in ["-h", "--help"] {
            let shown = run(&[&arguments[..], &[help]].concat()).await;
            assert!(shown.stdout.contains("\nExamples:\n  whalewatcher "), "{arguments:?}: {}", shown.stdout);
            for line in shown.stdout.lines() {
                assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
            }
        }
        count += 1;
    }
    assert!(count > 3, "{all}");
}
