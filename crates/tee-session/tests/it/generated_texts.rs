//! Completions and manual pages: what is made of the command line, taken by what it is made for.

use std::{collections::BTreeSet, process::Output};

use rstest::rstest;
use tokio::process::Command;

use crate::service::binary;

async fn printed(arguments: &[&str]) -> String {
    let output = binary().args(arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().await;
    output.unwrap_or_else(|error| panic!("{program} is not there: run scripts/setup: {error}"))
}

/// What bash offers behind `words`, by the function that it registers for the binary.
async fn completed(script: &str, words: &str) -> BTreeSet<String> {
    let count = words.split(' ').count();
    let program = format!(
        "{script}\nregistered=$(complete -p tee-session) || exit 1\n\
         function=${{registered#*-F }} function=${{function%% *}}\n\
         COMP_WORDS=({words} '') COMP_CWORD={count}\n\
         \"$function\" tee-session '' \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = run("bash", &["--norc", "--noprofile", "-c", &program]).await;
    assert!(output.status.success(), "{output:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_loads_the_completions_and_offers_commands_and_flags() {
    let script = printed(&["completions", "bash"]).await;
    let commands = completed(&script, "tee-session").await;
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
    let flags = completed(&script, "tee-session session show").await;
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
async fn other_shells_have_completions_as_well(#[case] shell: &str, #[case] said: &str) {
    let script = printed(&["completions", shell]).await;
    assert!(script.contains(said), "{script}");
}

/// As `man` shows it, without a warning of the formatter.
async fn shown_by_man(page: &str) -> String {
    let output = run("man", &["--warnings=all", "-P", "cat", "-l", page]).await;
    assert!(output.status.success(), "{output:?}");
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(warned.trim().is_empty(), "{page}: {warned}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn man_shows_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    printed(&["man", "--dir", path]).await;
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
        let shown = shown_by_man(&format!("{path}/{page}")).await;
        assert!(shown.contains("SYNOPSIS"), "{page}: {shown}");
    }
    let create = shown_by_man(&format!("{path}/tee-session-session-create.1")).await;
    for said in ["--token-out", "Examples:", "Exit codes: 0 created"] {
        assert!(create.contains(said), "{said} is missing in {create}");
    }
}

#[tokio::test]
async fn the_page_that_is_printed_is_the_one_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("tee-session.1");
    std::fs::write(&page, printed(&["man"]).await).unwrap();
    let shown = shown_by_man(page.to_str().unwrap()).await;
    for said in ["tee-session-session(1)", "--session-ttl", "Exit codes"] {
        assert!(shown.contains(said), "{said} is missing in {shown}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let output = binary()
        .args(["man", "--dir", "/nonexistent"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("cannot be written into /nonexistent"),
        "{told}"
    );
}
