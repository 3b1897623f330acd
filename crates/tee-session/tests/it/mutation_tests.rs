//! Test that `docs/mutation-tests.md` lists exactly the faults that the contract suite must detect.
//! The tests of the contract suite add one fault at a time to a correct store.

use std::{fs, path::Path};

#[test]
fn mutation_tests_page_lists_exactly_the_faults_that_the_contract_suite_must_detect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/mutation-tests.md")).unwrap();
    let (_, rows) = page
        .split_once("| fault | detected by |\n|---|---|\n")
        .unwrap();
    let rows: Vec<_> = rows
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();

    let source = root.join("crates/memory-adapter/tests/it/mutants.rs");
    let source = fs::read_to_string(source).unwrap();
    let (_, cases) = source.split_once("\ndetected_faults! {\n").unwrap();
    let (cases, _) = cases.split_once("\n}\n").unwrap();
    // A case has the form `name: Fault, "description", rule`.
    let tested = cases.split_terminator(';').map(|case| {
        let [_, description, rule] = case.split('"').collect::<Vec<_>>()[..] else {
            panic!("an unexpected case: {case}");
        };
        format!(
            "| {description} | `{}` |",
            rule.trim_matches([',', ' ', '\n'])
        )
    });
    assert_eq!(rows, tested.collect::<Vec<_>>());
}
