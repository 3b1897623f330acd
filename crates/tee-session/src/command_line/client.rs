//! The command `tee-session client new`: generates the secret of a new service client, and prints
//! the secret and the setting that registers the client.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind};
use serde_json::{Value, json};
use tee_session_api_server::{ClientSecret, Scope, ServiceClient};

use super::{Failure, output::print_json};

pub(super) const NAME: &str = "client";

const AFTER_HELP: &str = "\
The secret is printed only once and is not stored; the service stores only its SHA-256. A client may
have several secrets, so that a secret can be replaced without an interruption.

Examples:
  tee-session client new --id booking-api --scope create
  tee-session client new --id support --scope admin --scope revoke
  tee-session client new --id booking-api --scope create --json | jq -j .secret > secret

Exit codes: 0 created, 1 not created, 2 invalid command line.";

pub(super) fn command() -> Command {
    let new = Command::new("new")
        .about("Create a client: print its secret once, and the setting that registers it")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("id")
                .long("id")
                .required(true)
                .help("Id of the client: visible ASCII without a colon"),
        )
        .arg(
            Arg::new("scope")
                .long("scope")
                .required(true)
                .action(ArgAction::Append)
                .value_parser(Scope::ALL.map(Scope::as_str))
                .help("Scope of the client; repeat the flag for several scopes"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON, for programs"),
        );
    Command::new(NAME)
        .about("Manage service clients: the programs that may create, inspect and end sessions")
        .subcommand_required(true)
        .subcommand(new)
}

/// Creates a service client. Prints the secret of the client and the entry for the setting
/// `service_clients`. The secret is not stored.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let flags = matches.subcommand_matches("new").unwrap_or(matches);
    let id = flags.get_one::<String>("id").cloned().unwrap_or_default();
    let scopes = flags.get_many::<String>("scope").unwrap_or_default();
    let scopes: Vec<String> = scopes.cloned().collect();
    check_id(&id)?;
    let secret = ClientSecret::generate();
    let sha256 = secret.sha256();
    let entry = json!({"id": id, "secret_sha256": sha256, "scopes": scopes});
    if flags.get_flag("json") {
        let output = json!({"secret": secret.expose_secret(), "service_client": entry});
        print_json(&output)?;
    } else {
        write_as_text(&entry, &id, secret.expose_secret())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the id of a client. clap does not check the id, because the error message of clap would
/// repeat it. The user may have typed a secret with the id, as in `curl --user id:secret`.
fn check_id(id: &str) -> Result<(), clap::Error> {
    // The hash and the scope are valid, so an error is an error of the id.
    let client = ServiceClient::new(id, &["0".repeat(64)], vec![Scope::Create]);
    let error = |error| {
        let message = format!("invalid value for '--id <ID>': {error}\n");
        clap::Error::raw(ErrorKind::ValueValidation, message)
    };
    client.map(drop).map_err(error)
}

fn write_as_text(entry: &Value, id: &str, secret: &str) -> io::Result<()> {
    let (quoted_id, scopes) = (&entry["id"], &entry["scopes"]);
    let sha256 = &entry["secret_sha256"];
    // A client id may contain a single quote, which would end the quoted text in the shell.
    let (in_shell, name) = (
        quoted(&format!("[{entry}]")),
        quoted(&format!("{id}:<secret>")),
    );
    write!(
        io::stdout().lock(),
        "The secret of {quoted_id}, shown only once (the service stores only its SHA-256):\n\n  \
         {secret}\n\n\
         In the settings file:\n\n  \
         [[service_clients]]\n  id = {quoted_id}\n  secret_sha256 = {sha256}\n  scopes = {scopes}\n\n\
         Or in the environment, alone or added to the list in this variable:\n\n  \
         TSA_SERVICE_CLIENTS={in_shell}\n\n\
         Or in the file of service_clients_file, alone or added to its list:\n\n  \
         [{entry}]\n\n\
         The client authenticates with HTTP Basic: curl -u {name} ...\n",
    )
}

/// Quotes `text` as one word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_quoting_escapes_single_quotes() {
        assert_eq!(quoted("plain"), "'plain'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
