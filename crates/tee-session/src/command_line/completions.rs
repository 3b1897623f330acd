//! `tee-session completions`: what shells complete command lines with.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Failure;

pub(super) const NAME: &str = "completions";

const SHELL: &str = "shell";

const AFTER_HELP: &str = "\
Examples:
  bash, for this shell:  source <(tee-session completions bash)
  bash, for good:        tee-session completions bash \\
                           > ~/.local/share/bash-completion/completions/tee-session
  zsh, for good:         tee-session completions zsh > \"${fpath[1]}/_tee-session\"
  fish, for good:        tee-session completions fish > ~/.config/fish/completions/tee-session.fish";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print what a shell completes command lines with")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new(SHELL)
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("Which shell"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if let Some(shell) = matches.get_one::<Shell>(SHELL) {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut super::command(), super::NAME, &mut script);
        if *shell == Shell::Bash {
            script = with_one_name(script);
        }
        io::stdout().lock().write_all(&script)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `clap_complete` 4.6 looks for the states of a binary with a hyphen in its name under another name
/// than it gives them, so that nothing is completed behind a command (clap-rs/clap#6421).
fn with_one_name(script: Vec<u8>) -> Vec<u8> {
    let (given, looked_for) = (
        super::NAME.replace('-', "__"),
        super::NAME.replace('-', "__subcmd__"),
    );
    let script = String::from_utf8_lossy(&script);
    script.replace(&looked_for, &given).into_bytes()
}
