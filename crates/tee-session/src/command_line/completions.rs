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

/// Prints the completions for `root` (the root command with all subcommands).
pub(super) fn run(matches: &ArgMatches, root: &mut Command) -> Result<ExitCode, Failure> {
    if let Some(shell) = matches.get_one::<Shell>(SHELL) {
        let name = root.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(*shell, root, &name, &mut script);
        if *shell == Shell::Bash {
            script = with_consistent_names(script, &name);
        }
        io::stdout().lock().write_all(&script)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a completion script for bash use one name for each state. A state is the command that the
/// user has typed so far.
///
/// `name` is the name of the binary. If `name` contains a hyphen, `clap_complete` 4.6 writes it in
/// two forms: as `tee__session` where the script sets the state, and as `tee__subcmd__session`
/// where the script looks up the state. Bash would then complete nothing after a subcommand
/// (clap-rs/clap#6421).
fn with_consistent_names(script: Vec<u8>, name: &str) -> Vec<u8> {
    let (given, looked_for) = (name.replace('-', "__"), name.replace('-', "__subcmd__"));
    let script = String::from_utf8_lossy(&script);
    script.replace(&looked_for, &given).into_bytes()
}
