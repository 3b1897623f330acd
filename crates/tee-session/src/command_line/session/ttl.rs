//! `tee-session session ttl`

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{Fault, Service, times::time, token};
use crate::command_line::output::{print_json, stdout};

pub(super) const NAME: &str = "ttl";

const AFTER_HELP: &str = "\
Asking does not extend it.

Examples:
  tee-session session ttl --token-file token
  tee-session session ttl --json < token | jq .ttl

Exit codes: 0 it lives, 1 it does not or the service was not there, 2 a wrong command line or input.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Tell how long the session of a token lives if nobody uses it")
        .after_help(AFTER_HELP)
        .arg(token::arg())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let token = token::read(flags)?;
    let client = service.client()?;
    let left = service.ask(client.session(&token).ttl()).await?;
    let (seconds, end) = (left.ttl.as_secs(), time(left.expires_at));
    if service.is_json {
        print_json(&json!({"ttl": seconds, "expires_at": end}))?;
    } else {
        writeln!(stdout(), "{seconds} s, until {end}")?;
    }
    Ok(())
}
