//! Command line of `tee-session`: parses the arguments, and runs the selected command. Each command
//! is implemented in a separate module.

mod check_config;
mod client;
mod completions;
mod failure;
mod man;
mod output;
mod probe;
mod progress;
mod secret_input;
mod serve;
mod session;
mod setting_flags;

use std::process::ExitCode;

use clap::{ArgMatches, Command, error::ErrorKind};

use self::{failure::Failure, setting_flags::given_settings};

/// Name of the binary.
const NAME: &str = "tee-session";

const ABOUT: &str = "Session broker that keeps upstream login cookies behind opaque bearer tokens";

const AFTER_SHORT_HELP: &str = "\
Without a command, tee-session serves. To try it: start tee-session, and open
http://127.0.0.1:8000/docs in a browser. --help lists all settings, with examples.";

const AFTER_HELP: &str = "\
Settings are read from the built-in defaults, the file given with --config, the environment
(TSA_SESSION_TTL for --session-ttl) and flags; a later source overrides an earlier one. Give
secrets in a file or in the environment: flags are visible in the process list.

To try it without Redis:
  tee-session
  echo '{\"SESSIONID\": \"a1b2c3\"}' | tee-session session create --base-url https://golf.example

Before production, check the settings and Redis:
  tee-session check-config --connect --config /etc/tee-session.toml

Exit codes: 0 stopped cleanly, 1 failed at run time, 2 invalid settings or command line.";

/// Parses the command line, runs the selected command, and returns the exit code of the process. If
/// parsing or the command fails, prints the error.
pub(crate) fn run() -> ExitCode {
    let result = command()
        .try_get_matches()
        .map_err(Failure::from)
        .and_then(|matches| run_command(&matches));
    result.unwrap_or_else(Failure::report)
}

fn run_command(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some((name, subcommand)) = matches.subcommand() else {
        return serve::run(&[matches]);
    };
    match name {
        serve::NAME => serve::run(&[matches, subcommand]),
        check_config::NAME => check_config::run(&[matches, subcommand]),
        probe::NAME => probe::run(matches, subcommand),
        _ => {
            reject_settings(name, matches)?;
            match name {
                client::NAME => client::run(subcommand),
                session::NAME => session::run(subcommand),
                completions::NAME => completions::run(subcommand, &mut command()),
                _ => man::run(subcommand, command()),
            }
        }
    }
}

/// Returns an error if `matches` contains the flag of a service setting. The command `name` reads
/// no settings, so the flag would have no effect.
fn reject_settings(name: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let Some(flag) = given_settings(matches).next() else {
        return Ok(());
    };
    let message = format!("--{flag} is a setting of the service, but {name} takes no settings");
    let error = command().error(ErrorKind::ArgumentConflict, message);
    Err(error.into())
}

/// Returns the root command with all subcommands.
fn command() -> Command {
    let commands = [
        serve::command(),
        check_config::command(),
        probe::command(),
        client::command(),
        session::command(),
        completions::command(),
        man::command(),
    ];
    Command::new(NAME)
        // The name does not depend on the file name of the binary, because manual pages and
        // completions use this name.
        .bin_name(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_SHORT_HELP)
        .after_long_help(AFTER_HELP)
        .subcommands(commands)
        .args(setting_flags::args())
        .max_term_width(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition_of_the_command_line() {
        command().debug_assert();
    }
}
