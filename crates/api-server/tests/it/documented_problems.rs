//! Test that the documentation lists every problem code.

use std::{env, fmt::Write, fs};

use tee_session_auth_middleware::ProblemCode;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http-api.md");

const HEAD: &str = "| status | `code` | what to do |\n|---|---|---|\n";

/// Returns the table of all problem codes as the page must contain it.
fn table() -> String {
    let mut table = HEAD.to_owned();
    for code in ProblemCode::ALL {
        let (status, name, advice) = (code.status().as_u16(), code.name(), code.advice());
        writeln!(table, "| {status} | `{name}` | {advice} |").unwrap();
    }
    table
}

#[test]
fn documented_problem_codes_are_up_to_date() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, after) = page.split_once(HEAD).unwrap();
    let (rows, after) = after.split_once("\n\n").unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, format!("{before}{}\n{after}", table())).unwrap();
        return;
    }
    assert_eq!(
        format!("{HEAD}{rows}\n"),
        table(),
        "UPDATE_DOCS=1 scripts/test up_to_date updates docs/http-api.md"
    );
}
