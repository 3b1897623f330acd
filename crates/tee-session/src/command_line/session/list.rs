//! The command `tee-session session list`: lists the live sessions of a subject.

use std::iter;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;
use tee_session_client::ListedSession;

use super::{Fault, Service, attributes, service::client_args, times::time};
use crate::command_line::{
    output::{NAME as BOLD, PLAIN, Table, print_json, print_note, stdout},
    progress::Progress,
};

pub(super) const NAME: &str = "list";

const SUBJECT: &str = "subject";

/// Number of sessions per page. This is the maximum that the API allows.
const PAGE_SIZE: u8 = 100;

const AFTER_HELP: &str = "\
Requires a service client with the scope admin.

Examples:
  tee-session session list --subject member-4711
  tee-session session list --subject member-4711 --client-id support --client-secret-file secret
  tee-session session list --subject member-4711 --json | jq -r '.sessions[].session_id'

Exit codes: 0 listed, 1 the service refused or was unavailable, 2 invalid command line or input.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("List the sessions of a subject, oldest first")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new(SUBJECT)
                .long("subject")
                .value_name("SUBJECT")
                .allow_hyphen_values(true)
                .required(true)
                .help("Subject whose sessions are listed"),
        )
        .args(client_args())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let subject = flags.get_one::<String>(SUBJECT).map_or("", String::as_str);
    let sessions = load_all_sessions(subject, service).await?;
    if service.is_json {
        let sessions = sessions.iter().map(|session| {
            let mut output = json!({
                "session_id": session.session_id.to_string(),
                "created_at": time(session.created_at),
                "last_seen": time(session.last_seen),
                "expires_at": time(session.expires_at),
            });
            for (name, read) in attributes::listed() {
                output[name] = json!(read(&session.attributes));
            }
            output
        });
        print_json(&json!({"sessions": sessions.collect::<Vec<_>>()}))?;
    } else if sessions.is_empty() {
        print_note("No sessions.");
    } else {
        print(&sessions)?;
    }
    Ok(())
}

/// Loads all sessions of `subject` from the service, page by page.
async fn load_all_sessions(subject: &str, service: &Service) -> Result<Vec<ListedSession>, Fault> {
    let client = service.client()?;
    let list = client.list_sessions(subject).limit(PAGE_SIZE);
    let progress = Progress::new();
    progress.show(&format!("waiting for {}", service.url));
    let mut page = list.send().await?;
    let mut sessions = page.sessions;
    while let Some(next) = page.next {
        progress.show(&format!("{} sessions so far", sessions.len()));
        page = list.after(&next).send().await?;
        sessions.append(&mut page.sessions);
    }
    Ok(sessions)
}

fn print(sessions: &[ListedSession]) -> std::io::Result<()> {
    let mut table = Table::default();
    let head = ["SESSION ID", "CREATED", "LAST SEEN", "EXPIRES"].map(str::to_owned);
    let names = attributes::listed().map(|(name, _)| name.to_uppercase());
    table.push(head.into_iter().chain(names).map(|name| (BOLD, name)));
    for session in sessions {
        let times = [session.created_at, session.last_seen, session.expires_at].map(time);
        let texts = attributes::listed().map(|(_, read)| read(&session.attributes));
        let cells = iter::once(session.session_id.to_string())
            .chain(times)
            .chain(texts.map(|text| text.unwrap_or("").to_owned()));
        table.push(cells.map(|text| (PLAIN, text)));
    }
    table.write(&mut stdout())
}
