//! Tests that the documentation and the Rust client list every problem code of the service.

use std::{env, fmt::Write, fs};

use tee_session_auth_middleware::ProblemCode;

const UPDATE: &str = "UPDATE_DOCS=1 scripts/test up_to_date updates the list";

/// Maximum length of a comment line of the Rust client in characters, without its indentation.
const MAX_LINE_LEN: usize = 96;

/// Checks that the text of the file `path` from `head` to `end` is `list`. If the environment
/// variable `UPDATE_DOCS` is set, writes `list` to the file instead.
fn check(path: &str, head: &str, end: &str, list: &str) {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    let file = fs::read_to_string(&path).unwrap();
    let (before, after) = file.split_once(head).unwrap();
    let (current, after) = after.split_once(end).unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, [before, head, list, end, after].concat()).unwrap();
    } else {
        assert_eq!(current, list, "{UPDATE}");
    }
}

#[test]
fn documented_problem_codes_are_up_to_date() {
    let mut rows = String::new();
    for code in ProblemCode::ALL {
        let (status, name, advice) = (code.status().as_u16(), code.name(), code.advice());
        writeln!(rows, "| {status} | `{name}` | {advice} |").unwrap();
    }
    let head = "| status | `code` | what to do |\n|---|---|---|\n";
    check("docs/http-api.md", head, "\n\n", rows.trim_end());
}

#[test]
fn problem_codes_of_the_rust_client_are_up_to_date() {
    let mut codes = String::new();
    for code in ProblemCode::ALL {
        let advice = format!("HTTP status {}. {}", code.status().as_u16(), code.advice());
        write_comment(&mut codes, &advice);
        let name = code.name();
        writeln!(codes, "    {} = \"{name}\",", upper_camel_case(name)).unwrap();
    }
    let (head, end) = ("\nproblem_codes! {\n", "\n}\n");
    check(
        "crates/client/src/problem/codes.rs",
        head,
        end,
        codes.trim_end(),
    );
}

/// Appends `text` to `output` as a doc comment, wrapped to [`MAX_LINE_LEN`].
fn write_comment(output: &mut String, text: &str) {
    let mut line = String::from("///");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > MAX_LINE_LEN {
            writeln!(output, "    {line}").unwrap();
            line.truncate("///".len());
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(output, "    {line}").unwrap();
}

fn upper_camel_case(snake_case: &str) -> String {
    let words = snake_case.split('_');
    words
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
