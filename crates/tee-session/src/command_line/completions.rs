//! `tee-session completions`: what shells complete command lines with.

use std::{io, process::ExitCode};

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
        io::Write::write_all(&mut io::stdout().lock(), &script)?;
    }
    Ok(ExitCode::SUCCESS)
}
