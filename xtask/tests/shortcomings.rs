//! The tests that `docs/shortcomings.md` names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn each_shortcoming_has_tests_that_exist() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    let table = fs::read_to_string(workspace.join("docs/shortcomings.md")).expect("the table can be read");
    let mut tests = BTreeSet::new();
    tests_below(&workspace.join("crates"), &mut tests);

    let rows =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let (mut count, mut problems) = (0, Vec::new());
    for (shortcoming, named) in rows.filter(|(first, _)| !matches!(*first, "shortcoming" | "---")) {
        count += 1;
        // What is between an odd backtick and the next one.
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            problems.push(format!("no test: {shortcoming}"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains(*name));
        problems.extend(missing.map(|name| format!("no test is named {name}: {shortcoming}")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count >= 36, "the table lost rows: {count}");
}

/// Collects the names of the tests in the Rust files of a folder.
fn tests_below(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            tests_below(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file can be read");
            tests.extend(tests_in(&text).map(str::to_owned));
        }
    }
}

/// Finds the names of functions that follow an attribute `test`, perhaps after other attributes.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().map(str::trim).filter_map(move |line| {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            return None;
        }
        let signature = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let name = signature.and_then(|signature| signature.split(['(', '<']).next());
        let was_test = is_test;
        is_test &= name.is_none();
        name.filter(|_| was_test)
    })
}

#[test]
fn only_functions_with_the_attribute_are_tests() {
    let text = "#[test]\n#[cfg(unix)]\nfn a() {\n}\nfn b() {}\n    #[tokio::test(start_paused = true)]\n    // why\n    async fn c() {}\n";
    assert_eq!(tests_in(text).collect::<Vec<_>>(), ["a", "c"]);
}
