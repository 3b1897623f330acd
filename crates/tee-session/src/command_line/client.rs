//! `tee-session client new`: a secret for a service client, and its hash for the settings.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use tee_session_api_server::{ClientSecret, Scope, ServiceClient};

use super::{Failure, output::print_json};

pub(super) const NAME: &str = "client";

const AFTER_HELP: &str = "\
The secret is printed this once and kept nowhere; the service keeps its SHA-256 only. A client may
have several secrets, so that it changes them without an interruption.

Examples:
  tee-session client new --id booking-api --scope create
  tee-session client new --id support --scope admin --scope revoke
  tee-session client new --id booking-api --scope create --json | jq -j .secret > secret

Exit codes: 0 made, 1 not made, 2 a wrong command line.";

pub(super) fn command() -> Command {
    let new = Command::new("new")
        .about("Make a client: print its secret, once, and the setting that lets it in")
        .after_help(AFTER_HELP)
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
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON, for programs"),
        );
    Command::new(NAME)
        .about("Service clients: the programs that may create sessions")
        .subcommand_required(true)
        .subcommand(new)
}

/// Makes the client and prints it. The secret is stored nowhere.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let flags = matches.subcommand_matches("new").unwrap_or(matches);
    let id = flags.get_one::<String>("id").cloned().unwrap_or_default();
    let scopes = flags.get_many::<String>("scope").unwrap_or_default();
    let scopes: Vec<String> = scopes.cloned().collect();
    let secret = ClientSecret::generate();
    let sha256 = secret.sha256();
    let parsed: Result<Vec<Scope>, _> = scopes.iter().map(|scope| scope.parse()).collect();
    ServiceClient::new(
        id.clone(),
        &[&sha256],
        parsed.context("the client cannot be made")?,
    )
    .context("the client cannot be made")?;
    let entry = json!({"id": id, "secret_sha256": sha256, "scopes": scopes});
    if flags.get_flag("json") {
        let told = json!({"secret": secret.expose_secret(), "service_client": entry});
        print_json(&told)?;
    } else {
        write_for_people(&entry, &id, secret.expose_secret())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_for_people(entry: &Value, id: &str, secret: &str) -> io::Result<()> {
    let (quoted_id, scopes) = (&entry["id"], &entry["scopes"]);
    let sha256 = &entry["secret_sha256"];
    // A name may hold a quote, which ends a string of the shell.
    let (in_shell, name) = (
        quoted(&format!("[{entry}]")),
        quoted(&format!("{id}:<secret>")),
    );
    write!(
        io::stdout().lock(),
        "The secret of {quoted_id}, shown this once (the service keeps its SHA-256 only):\n\n  \
         {secret}\n\n\
         In the settings file:\n\n  \
         [[service_clients]]\n  id = {quoted_id}\n  secret_sha256 = {sha256}\n  scopes = {scopes}\n\n\
         Or in the environment, alone or within the list that stands there:\n\n  \
         TSA_SERVICE_CLIENTS={in_shell}\n\n\
         It logs in with HTTP Basic: curl -u {name} ...\n",
    )
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_shell_keeps_its_quotes() {
        assert_eq!(quoted("plain"), "'plain'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
