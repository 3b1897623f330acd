//! `tee-session session list`

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;
use tee_session_client::ListedSession;

use super::{Fault, Service, service::client_args, times::time};
use crate::command_line::{
    output::{NAME as BOLD, PLAIN, Table, print_json, stderr, stdout},
    progress::Progress,
};

pub(super) const NAME: &str = "list";

const SUBJECT: &str = "subject";

/// The longest page.
const PAGE: u8 = 100;

const AFTER_HELP: &str = "\
For a service client with the scope admin.

Examples:
  tee-session session list --subject member-4711
  tee-session session list --subject member-4711 --client-id support --client-secret-file secret
  tee-session session list --subject member-4711 --json | jq -r '.sessions[].session_id'

Exit codes: 0 listed, 1 the service refused or was not there, 2 a wrong command line or input.";

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
                .help("Whose sessions"),
        )
        .args(client_args())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let subject = flags.get_one::<String>(SUBJECT).map_or("", String::as_str);
    let sessions = all(subject, service).await?;
    if service.is_json {
        let sessions = sessions.iter().map(|session| {
            json!({
                "session_id": session.session_id.to_string(),
                "created_at": time(session.created_at),
                "last_seen": time(session.last_seen),
                "expires_at": time(session.expires_at),
                "label": session.label,
            })
        });
        print_json(&json!({"sessions": sessions.collect::<Vec<_>>()}))?;
    } else if sessions.is_empty() {
        writeln!(stderr(), "No sessions.")?;
    } else {
        print(&sessions)?;
    }
    Ok(())
}

/// Page by page.
async fn all(subject: &str, service: &Service) -> Result<Vec<ListedSession>, Fault> {
    let client = service.client()?;
    let list = client.list_sessions(subject).limit(PAGE);
    let progress = Progress::new();
    progress.show(&format!("asking {}", service.url));
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
    let head = ["SESSION ID", "CREATED", "LAST SEEN", "EXPIRES", "LABEL"];
    table.line(head.map(|name| (BOLD, name)));
    for session in sessions {
        let id = session.session_id.to_string();
        let times = [session.created_at, session.last_seen, session.expires_at].map(time);
        table.line([
            (PLAIN, &*id),
            (PLAIN, &*times[0]),
            (PLAIN, &*times[1]),
            (PLAIN, &*times[2]),
            (PLAIN, session.label.as_deref().unwrap_or("")),
        ]);
    }
    table.write(&mut stdout())
}
