//! The command line: one flag for each setting, and what to do.

use clap::{Arg, ArgAction, Command, value_parser};
use std::path::PathBuf;

use crate::settings::{KEYS, Problems, Sources};

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
    Serve,
    CheckConfig,
}

/// Reads the command line and the sources of the settings. Prints help, or what is wrong with
/// a flag, by itself and ends the process.
pub(crate) fn parse() -> (Action, Result<Sources, Problems>) {
    let matches = command().get_matches();
    let (action, matches) = match matches.subcommand() {
        Some(("check-config", matches)) => (Action::CheckConfig, matches),
        Some((_, matches)) => (Action::Serve, matches),
        None => (Action::Serve, &matches),
    };
    let file = matches.get_one::<PathBuf>("config").cloned();
    let flags = KEYS.iter().flat_map(|key| key.names()).filter_map(|name| {
        let value = matches.get_one::<String>(&name)?;
        Some((name, value.clone()))
    });
    (action, Sources::read(file, flags.collect()))
}

fn command() -> Command {
    let serve = Command::new("serve").about("Serve the API (also what happens without a command)");
    let check = Command::new("check-config")
        .about("Print each setting with its source, secrets left out, and end");
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
        .subcommands([serve, check])
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
