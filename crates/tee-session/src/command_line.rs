//! The command line: the commands, each in a file of its own, and what they have in common.

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

/// What the binary is called.
const NAME: &str = "tee-session";

const ABOUT: &str = "Keeps upstream login cookies behind opaque bearer tokens";

const AFTER_HELP: &str = "\
Settings come from the built-in defaults, the file named by --config, the environment
(TSA_SESSION_TTL for --session-ttl) and flags; the later wins. For secrets prefer a file or the
environment: flags show in the process list.

A first try, without Redis:
  tee-session
  echo '{\"SESSIONID\": \"a1b2c3\"}' | tee-session session create --base-url https://golf.example

Before it goes live:
  tee-session check-config --connect --config /etc/tee-session.toml

Exit codes: 0 stopped cleanly, 1 failed at run time, 2 bad settings or a wrong command line.";

/// Does what the command line says, and tells what is wrong with it.
pub(crate) fn run() -> ExitCode {
    let done = command()
        .try_get_matches()
        .map_err(Failure::from)
        .and_then(|matches| carry_out(&matches));
    done.unwrap_or_else(Failure::tell)
}

fn carry_out(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some((name, of_command)) = matches.subcommand() else {
        return serve::run(&[matches]);
    };
    match name {
        serve::NAME => serve::run(&[matches, of_command]),
        check_config::NAME => check_config::run(&[matches, of_command]),
        probe::NAME => probe::run(matches, of_command),
        _ => {
            refuse_settings(name, matches)?;
            match name {
                client::NAME => client::run(of_command),
                session::NAME => session::run(of_command),
                completions::NAME => completions::run(of_command),
                _ => man::run(of_command),
            }
        }
    }
}

/// Before the other commands, settings would be read by nobody.
fn refuse_settings(name: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let Some(flag) = given_settings(matches).next() else {
        return Ok(());
    };
    let message = format!("--{flag} is a setting of the service, and {name} takes none");
    let error = command().error(ErrorKind::ArgumentConflict, message);
    Err(error.into())
}

/// All of it.
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
        // However the file is called: manual pages and completions go by this name.
        .bin_name(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .subcommands(commands)
        .args(setting_flags::args())
        .max_term_width(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
