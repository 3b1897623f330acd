//! The command line: one flag for each setting, and what to do.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tee_session_api_server::Scope;

use crate::{
    probe::Probe,
    settings::{KEYS, Problems, Sources},
};

const ABOUT: &str = "Keeps upstream login cookies behind opaque bearer tokens";

const AFTER_HELP: &str = "\
Settings come from the built-in defaults, the file named by --config, the environment
(TSA_SESSION_TTL for --session-ttl) and flags; the later wins. For secrets prefer a file or the
environment: flags show in the process list.

A first try, without Redis:
  tee-session
  curl -s -X POST -H 'Content-Type: application/json' \\
    -d '{\"cookies\": {\"SESSIONID\": \"a1b2c3\"}, \"base_url\": \"https://golf.example\"}' \\
    http://127.0.0.1:8000/v1/sessions

Exit codes: 0 stopped cleanly, 1 failed at run time, 2 bad settings.";

/// What to do.
pub(crate) enum Action {
    Serve(Sources),
    CheckConfig(Sources),
    NewClient(NewClient),
    Probe(Probe),
}

/// A service client to make.
pub(crate) struct NewClient {
    pub(crate) id: String,
    pub(crate) scopes: Vec<String>,
}

/// Reads the command line and, where they matter, the sources of the settings. Prints help, or
/// what is wrong with a flag, by itself and ends the process.
pub(crate) fn parse() -> Result<Action, Problems> {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("client", client)) => Ok(new_client(client)),
        Some(("probe", flags)) => Probe::new(flags, || sources(flags)).map(Action::Probe),
        Some(("check-config", flags)) => sources(flags).map(Action::CheckConfig),
        Some((_, flags)) => sources(flags).map(Action::Serve),
        None => sources(&matches).map(Action::Serve),
    }
}

fn sources(matches: &ArgMatches) -> Result<Sources, Problems> {
    let file = matches.get_one::<PathBuf>("config").cloned();
    let flags = KEYS.iter().flat_map(|key| key.names()).filter_map(|name| {
        let value = matches.get_one::<String>(&name)?;
        Some((name, value.clone()))
    });
    Sources::read(file, flags.collect())
}

fn new_client(matches: &ArgMatches) -> Action {
    let flags = matches.subcommand_matches("new").unwrap_or(matches);
    let scopes = flags.get_many::<String>("scope").unwrap_or_default();
    Action::NewClient(NewClient {
        id: flags.get_one::<String>("id").cloned().unwrap_or_default(),
        scopes: scopes.cloned().collect(),
    })
}

fn command() -> Command {
    let serve = Command::new("serve").about("Serve the API (also what happens without a command)");
    let check = Command::new("check-config")
        .about("Print each setting with its source, secrets left out, and end");
    let client = Command::new("client")
        .about("Service clients: the programs that may create sessions")
        .subcommand_required(true)
        .subcommand(
            Command::new("new")
                .about("Make a client: print its secret, once, and the setting that lets it in")
                .arg(
                    Arg::new("id")
                        .long("id")
                        .required(true)
                        .help("Its name: visible ASCII without a colon"),
                )
                .arg(
                    Arg::new("scope")
                        .long("scope")
                        .required(true)
                        .action(ArgAction::Append)
                        .value_parser(Scope::ALL.map(Scope::as_str))
                        .help("What it may do; several times for several scopes"),
                ),
        );
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Settings file (TOML) [env: TSA_CONFIG]")
        .value_parser(value_parser!(PathBuf))
        .global(true);
    let settings = KEYS.iter().flat_map(|key| {
        key.names().map(|name| {
            let is_file = name != key.name;
            Arg::new(name.clone())
                .long(name.replace('_', "-"))
                .value_name(if is_file { "FILE" } else { key.value_name })
                .help(if is_file {
                    key.file_help()
                } else {
                    key.full_help()
                })
                .help_heading("Settings")
                .action(ArgAction::Set)
                .allow_hyphen_values(true)
                .hide(is_file)
                .global(true)
        })
    });
    Command::new("tee-session")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .subcommands([serve, check, client, Probe::command()])
        .arg(config)
        .args(settings)
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
