//! `tee-session man`: its manual pages.

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
                .help("Write tee-session.1 and one page for each command into this folder"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let command = super::command().disable_help_subcommand(true);
    if let Some(folder) = matches.get_one::<PathBuf>(DIR) {
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("the pages cannot be written into {}", folder.display()))?;
    } else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        io::stdout().lock().write_all(&page)?;
    }
    Ok(ExitCode::SUCCESS)
}
