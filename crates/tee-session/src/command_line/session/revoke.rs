//! `tee-session session revoke`

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use tee_session_client::SessionId;

use super::{
    Fault, Service,
    service::client_args,
    token::{self, TOKEN_FILE},
};
use crate::command_line::output::{print_json, stderr, stdout};

pub(super) const NAME: &str = "revoke";

const SESSION_ID: &str = "session-id";
const SUBJECT: &str = "subject";
const YES: &str = "yes";

const AFTER_HELP: &str = "\
By its token anybody ends a session; by its id, or all of a subject's, a service client with the
scope admin. All of a subject's are ended after a question, or with --yes.

Examples:
  tee-session session revoke --token-file token
  tee-session session revoke --session-id k88fXCPKK0gU1YooURbm9Q
  tee-session session revoke --subject member-4711 --yes \\
    --client-id support --client-secret-file secret

Exit codes: 0 ended, 1 there is no such session, or the service refused or was not there, 2 a wrong
command line or input, or nobody said yes.";

pub(super) fn command() -> Command {
    let id = Arg::new(SESSION_ID)
        .long("session-id")
        .value_name("ID")
        // Some begin with one.
        .allow_hyphen_values(true)
        .conflicts_with_all([TOKEN_FILE, SUBJECT])
        .help("End the session with this id, in place of the one of a token");
    let subject = Arg::new(SUBJECT)
        .long("subject")
        .value_name("SUBJECT")
        .allow_hyphen_values(true)
        .conflicts_with(TOKEN_FILE)
        .help("End all sessions of this subject");
    let yes = Arg::new(YES)
        .long("yes")
        .action(ArgAction::SetTrue)
        .requires(SUBJECT)
        .help("Do not ask");
    Command::new(NAME)
        .about("End the session of a token, the one with an id, or all of a subject's")
        .after_help(AFTER_HELP)
        .arg(token::arg())
        .args([id, subject, yes])
        .args(client_args())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let ended = if let Some(id) = flags.get_one::<String>(SESSION_ID) {
        // Not by the parser of the command line, which would repeat a token that stands there.
        let id: SessionId = id.parse().map_err(|error| {
            Fault::misuse(
                format!("--session-id: {error}"),
                "tee-session session list shows ids",
            )
        })?;
        service.ask(service.client()?.end_session(&id)).await?;
        1
    } else if let Some(subject) = flags.get_one::<String>(SUBJECT) {
        let client = service.client()?;
        if !flags.get_flag(YES) {
            confirm(subject)?;
        }
        service.ask(client.end_sessions(subject)).await?
    } else {
        let token = token::read(flags)?;
        let client = service.client()?;
        service.ask(client.session(&token).delete()).await?;
        1
    };
    if service.is_json {
        print_json(&json!({"revoked": ended}))?;
    } else {
        let sessions = if ended == 1 { "session" } else { "sessions" };
        writeln!(stdout(), "{ended} {sessions} ended")?;
    }
    Ok(())
}

/// Asks whoever sits at the terminal.
fn confirm(subject: &str) -> Result<(), Fault> {
    let refused =
        |what: &str| Fault::misuse(what.to_owned(), "to end them without a question: --yes");
    if !io::stdin().is_terminal() {
        return Err(refused(
            "there is no terminal to ask at, and nothing was ended",
        ));
    }
    let subject = subject.escape_debug();
    write!(stderr(), "End all sessions of {subject}? [y/N] ")?;
    stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(refused("nothing was ended")),
    }
}
