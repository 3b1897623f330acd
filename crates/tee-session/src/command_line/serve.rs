//! `tee-session serve`, and what happens without a command.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Failure, setting_flags};
use crate::{settings::Settings, wiring};

pub(super) const NAME: &str = "serve";

const AFTER_HELP: &str = "\
Examples:
  tee-session serve
  tee-session serve --redis-url redis://127.0.0.1:6379/0 --metrics-port 9100
  TSA_REDIS_URL_FILE=/run/secrets/redis-url tee-session serve --config /etc/tee-session.toml

SIGTERM stops it when the requests in flight are answered; a second one at once.

Exit codes: 0 stopped cleanly, 1 failed at run time, 2 bad settings.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serve the API (also what happens without a command)")
        .after_help(AFTER_HELP)
        .args(setting_flags::args())
}

pub(super) fn run(matches: &[&ArgMatches]) -> Result<ExitCode, Failure> {
    let sources = setting_flags::sources(matches)?;
    wiring::serve(Settings::parse(&sources)?)?;
    Ok(ExitCode::SUCCESS)
}
