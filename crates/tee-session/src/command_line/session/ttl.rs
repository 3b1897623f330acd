//! The command `tee-session session ttl`: prints the remaining lifetime of the session of a token.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{Fault, Service, times::time, token};
use crate::command_line::output::{print_json, stdout};

pub(super) const NAME: &str = "ttl";

const AFTER_HELP: &str = "\
This does not extend the lifetime of the session.

Examples:
  tee-session session ttl --token-file token
  tee-session session ttl --json < token | jq .ttl

Exit codes: 0 printed, 1 no such session or the service was unavailable, 2 invalid command line or
input.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the remaining lifetime of the session of a token")
        .after_help(AFTER_HELP)
        .arg(token::arg())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let token = token::read(flags)?;
    let client = service.client()?;
    let left = service.call(client.session(&token).ttl()).await?;
    let (seconds, end) = (left.ttl.as_secs(), time(left.expires_at));
    if service.is_json {
        print_json(&json!({"ttl": seconds, "expires_at": end}))?;
    } else {
        writeln!(stdout(), "{seconds} s, until {end}")?;
    }
    Ok(())
}
