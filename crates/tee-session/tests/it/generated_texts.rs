//! Tests of the generated shell completions and manual pages, with the programs bash and man.

use std::{collections::BTreeSet, process::Output};

use rstest::rstest;
use tokio::process::Command;

use crate::service::binary;

async fn run_tee_session(arguments: &[&str]) -> String {
    let output = binary().args(arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn run_program(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().await;
    output.unwrap_or_else(|error| panic!("{program} is missing: run scripts/setup: {error}"))
}

/// Returns the completions that bash offers after the command line `words`. Calls the completion
/// function that `script` registers for `tee-session`.
async fn bash_completions(script: &str, words: &str) -> BTreeSet<String> {
    let count = words.split(' ').count();
    let program = format!(
        "{script}\nregistered=$(complete -p tee-session) || exit 1\n\
         function=${{registered#*-F }} function=${{function%% *}}\n\
         COMP_WORDS=({words} '') COMP_CWORD={count}\n\
         \"$function\" tee-session '' \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = run_program("bash", &["--norc", "--noprofile", "-c", &program]).await;
    assert!(output.status.success(), "{output:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completion_offers_commands_and_flags() {
    let script = run_tee_session(&["completions", "bash"]).await;
    let commands = bash_completions(&script, "tee-session").await;
    for command in [
        "serve",
        "check-config",
        "session",
        "client",
        "man",
        "--session-ttl",
    ] {
        assert!(
            commands.contains(command),
            "{command} is not among {commands:?}"
        );
    }
    let flags = bash_completions(&script, "tee-session session show").await;
    assert!(flags.contains("--reveal"), "{flags:?}");
    assert!(!flags.contains("--session-ttl"), "{flags:?}");
}

#[rstest]
#[case("zsh", "#compdef tee-session")]
#[case("fish", "complete -c tee-session")]
#[case("elvish", "set edit:completion:arg-completer[tee-session]")]
#[case(
    "powershell",
    "Register-ArgumentCompleter -Native -CommandName 'tee-session'"
)]
#[tokio::test]
async fn completions_command_prints_a_completion_script_for_zsh_fish_elvish_and_powershell(
    #[case] shell: &str,
    #[case] expected: &str,
) {
    let script = run_tee_session(&["completions", shell]).await;
    assert!(script.contains(expected), "{script}");
}

/// Returns the manual page in the file `page` as the program man displays it. Panics if man prints
/// a warning.
async fn render_with_man(page: &str) -> String {
    let output = run_program("man", &["--warnings=all", "-P", "cat", "-l", page]).await;
    assert!(output.status.success(), "{output:?}");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(warnings.trim().is_empty(), "{page}: {warnings}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    run_tee_session(&["man", "--dir", path]).await;
    let pages = std::fs::read_dir(path).unwrap();
    let pages: BTreeSet<_> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in [
        "",
        "-serve",
        "-check-config",
        "-client-new",
        "-session-create",
        "-session-revoke",
        "-completions",
        "-man",
    ] {
        assert!(
            pages.contains(&format!("tee-session{name}.1")),
            "{name} is not among {pages:?}"
        );
    }
    for page in &pages {
        let shown = render_with_man(&format!("{path}/{page}")).await;
        assert!(shown.contains("SYNOPSIS"), "{page}: {shown}");
    }
    let create = render_with_man(&format!("{path}/tee-session-session-create.1")).await;
    // `man` justifies the text with additional spaces.
    let create: Vec<_> = create.split_whitespace().collect();
    let create = create.join(" ");
    for text in ["--token-out", "Examples:", "Exit codes: 0 created"] {
        assert!(create.contains(text), "{text} is missing in {create}");
    }
}

#[tokio::test]
async fn man_command_prints_the_manual_page_of_the_main_command() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("tee-session.1");
    std::fs::write(&page, run_tee_session(&["man"]).await).unwrap();
    let shown = render_with_man(page.to_str().unwrap()).await;
    for text in ["tee-session-session(1)", "--session-ttl", "Exit codes"] {
        assert!(shown.contains(text), "{text} is missing in {shown}");
    }
}

#[tokio::test]
async fn man_command_fails_if_the_output_directory_does_not_exist() {
    let output = binary()
        .args(["man", "--dir", "/nonexistent"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("cannot be written into /nonexistent"),
        "{message}"
    );
}
