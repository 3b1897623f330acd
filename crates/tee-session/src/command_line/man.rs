//! The command `tee-session man`: prints the manual page of `tee-session`, or writes one page for
//! each command into a directory.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_mangen::Man;

use super::Failure;

pub(super) const NAME: &str = "man";

const DIR: &str = "dir";

const AFTER_HELP: &str = "\
Examples:
  tee-session man | man -l -
  tee-session man --dir /usr/local/share/man/man1 && man tee-session-session-create";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the manual page, or write one for each command")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new(DIR)
                .long("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Write tee-session.1 and one page for each command into this directory"),
        )
}

/// Prints or writes the manual pages for `root` (the root command with all subcommands).
pub(super) fn run(matches: &ArgMatches, root: Command) -> Result<ExitCode, Failure> {
    let root = root.disable_help_subcommand(true);
    if let Some(directory) = matches.get_one::<PathBuf>(DIR) {
        clap_mangen::generate_to(root, directory).with_context(|| {
            format!(
                "the manual pages cannot be written into {}",
                directory.display()
            )
        })?;
    } else {
        let mut page = Vec::new();
        Man::new(root).render(&mut page)?;
        io::stdout().lock().write_all(&page)?;
    }
    Ok(ExitCode::SUCCESS)
}
