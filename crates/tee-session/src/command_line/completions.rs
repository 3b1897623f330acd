//! The command `tee-session completions`: prints the completion script for a shell.

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
  bash, this shell:  source <(tee-session completions bash)
  bash, each shell:  tee-session completions bash \\
                       > ~/.local/share/bash-completion/completions/tee-session
  zsh, each shell:   tee-session completions zsh > \"${fpath[1]}/_tee-session\"
  fish, each shell:  tee-session completions fish > ~/.config/fish/completions/tee-session.fish";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the command-line completions for a shell")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new(SHELL)
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("Shell to print the completions for"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if let Some(shell) = matches.get_one::<Shell>(SHELL) {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut super::command(), super::NAME, &mut script);
        if *shell == Shell::Bash {
            script = with_consistent_names(script);
        }
        io::stdout().lock().write_all(&script)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Corrects the names in a completion script for bash. If the name of the binary contains a hyphen,
/// the script of `clap_complete` 4.6 spells this name in two ways: it sets the state for
/// `tee__session`, but looks up the state for `tee__subcmd__session`. As a result, bash completes
/// nothing after a subcommand (clap-rs/clap#6421).
fn with_consistent_names(script: Vec<u8>) -> Vec<u8> {
    let (given, looked_for) = (
        super::NAME.replace('-', "__"),
        super::NAME.replace('-', "__subcmd__"),
    );
    let script = String::from_utf8_lossy(&script);
    script.replace(&looked_for, &given).into_bytes()
}
