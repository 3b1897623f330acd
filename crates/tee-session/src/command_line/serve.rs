//! The command `tee-session serve`: runs the service. If no command is given, `serve` is run.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Failure, setting_flags};
use crate::{settings::Settings, wiring};

pub(super) const NAME: &str = "serve";

const AFTER_HELP: &str = "\
Examples:
  tee-session serve
  tee-session serve --metrics-port 9100 --redis-url redis://127.0.0.1:6379/0 \\
    --service-clients-file /etc/tee-session/service-clients.json
  TSA_REDIS_URL_FILE=/run/secrets/redis-url tee-session serve --config /etc/tee-session.toml

SIGTERM stops the service after the requests in flight; a second one, at least half a second later,
stops it at once. SIGHUP without a terminal, SIGUSR1 and SIGUSR2 are ignored. A changed
service_clients_file or TLS certificate is read again within a second.

Exit codes: 0 stopped cleanly, 1 failed at run time, 2 invalid settings.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serve the API (default if no command is given)")
        .after_help(AFTER_HELP)
        .args(setting_flags::args())
}

pub(super) fn run(matches: &[&ArgMatches]) -> Result<ExitCode, Failure> {
    let sources = setting_flags::sources(matches)?;
    wiring::serve(Settings::parse(&sources)?)?;
    Ok(ExitCode::SUCCESS)
}
