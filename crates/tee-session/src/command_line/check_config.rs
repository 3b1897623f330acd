//! The command `tee-session check-config`: prints the effective settings. With `--connect`, also
//! checks whether Redis can be used with these settings.

mod connection;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use tee_session_api_server::ServiceClient;
use time::format_description::well_known::Rfc3339;

use self::connection::Store;
use super::{
    Failure,
    output::{DIMMED, DOUBTFUL, NAME as BOLD, PLAIN, Table, print_json, printable, stdout},
    setting_flags,
};
use crate::settings::{Settings, Sources};

pub(super) const NAME: &str = "check-config";

const CONNECT: &str = "connect";
const JSON: &str = "json";

const AFTER_HELP: &str = "\
With --connect it also checks the Redis of redis_url (all primaries of a cluster; all sentinels and
their primary), and reports what is wrong and how to fix it: connection, TLS, login, version,
permissions (each command is sent for a key that does not exist), eviction, persistence and clock.
No key is written. If the Redis user has no permission for a check, the check is reported as unseen,
with the command to run by hand.

Warnings are printed for settings that have no effect, such as an environment variable with a
misspelled name, and for a TLS certificate that has expired or expires within 14 days. Of each service
client, the id, the scopes and the number of secrets are printed.

Examples:
  tee-session check-config --config /etc/tee-session.toml
  tee-session check-config --connect --redis-url-file /run/secrets/redis-url
  tee-session check-config --connect --json | jq -r '.redis.findings[] | select(.verdict != \"ok\")'

Exit codes: 0 usable (there may be warnings), 1 Redis cannot be used, 2 invalid settings.";

pub(super) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new(NAME)
        .about("Print each setting with its source, without secrets, and check Redis")
        .after_help(AFTER_HELP)
        .arg(flag(CONNECT).help("Also check Redis, and report how to fix what is wrong"))
        .arg(flag(JSON).help("Print JSON, for programs"))
        .args(setting_flags::args())
}

pub(super) fn run(matches: &[&ArgMatches]) -> Result<ExitCode, Failure> {
    let sources = setting_flags::sources(matches)?;
    let settings = Settings::parse(&sources)?;
    let is_given = |name| matches.last().is_some_and(|matches| matches.get_flag(name));
    let is_json = is_given(JSON);
    let warnings = warnings(&settings);
    if !is_json {
        write_settings(&sources)?;
        write_clients(&settings.service_clients)?;
        write_warnings(&warnings)?;
    }
    let store = if is_given(CONNECT) {
        Some(Store::examine(&settings)?)
    } else {
        None
    };
    if is_json {
        let mut output = json!({
            "settings": settings_as_json(&sources),
            "service_clients": clients_as_json(&settings.service_clients),
            "warnings": warnings,
        });
        if let Some(store) = &store {
            output["store"] = json!(store.name());
            output["redis"] = store.as_json();
        }
        print_json(&output)?;
    } else if let Some(store) = &store {
        store.write(&mut stdout())?;
    }
    let is_usable = store.is_none_or(|store| store.is_usable());
    Ok(if is_usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns warnings about valid settings, and about a TLS certificate that has expired or expires
/// within 14 days.
fn warnings(settings: &Settings) -> Vec<String> {
    let tls = settings.api.tls.as_ref();
    let expires_at = tls.and_then(|files| files.expires_soon().ok()?);
    let sentence = expires_at.map(|expires_at| {
        let expires_at = expires_at.format(&Rfc3339).unwrap_or_default();
        format!(
            "The certificate in tls_certificate_file expires at {expires_at}: renew it (less than \
             14 days are left, or it has expired)"
        )
    });
    settings.warnings.iter().cloned().chain(sentence).collect()
}

fn write_clients(clients: &[ServiceClient]) -> io::Result<()> {
    let mut out = stdout();
    let mut table = Table::default();
    for client in clients {
        let secrets = match client.secret_count() {
            1 => "1 secret".to_owned(),
            count => format!("{count} secrets"),
        };
        table.line([
            (PLAIN, "service client"),
            (BOLD, client.id()),
            (PLAIN, &scopes(client).join(", ")),
            (DIMMED, &secrets),
        ]);
    }
    if !clients.is_empty() {
        writeln!(out)?;
    }
    table.write(&mut out)?;
    out.flush()
}

/// Returns all service clients as JSON, without their secrets.
fn clients_as_json(clients: &[ServiceClient]) -> Vec<Value> {
    let clients = clients.iter().map(|client| {
        json!({
            "id": client.id(),
            "scopes": scopes(client),
            "secrets": client.secret_count(),
        })
    });
    clients.collect()
}

fn scopes(client: &ServiceClient) -> Vec<&'static str> {
    client.scopes().iter().map(|scope| scope.as_str()).collect()
}

fn write_warnings(warnings: &[String]) -> io::Result<()> {
    let mut out = stdout();
    for warning in warnings {
        let warning = printable(warning);
        writeln!(out, "\n{DOUBTFUL}warning{DOUBTFUL:#} {warning}")?;
    }
    out.flush()
}

fn write_settings(sources: &Sources) -> io::Result<()> {
    let mut table = Table::default();
    for setting in sources.shown() {
        let value = match setting.value {
            None if setting.is_secret && setting.is_set => "(set, not shown)",
            None => "(not set)",
            Some(value) => value,
        };
        let value_style = if setting.is_set { PLAIN } else { DIMMED };
        let source = setting.source.to_string();
        table.line([
            (BOLD, setting.name),
            (value_style, value),
            (DIMMED, &source),
        ]);
    }
    let mut out = stdout();
    table.write(&mut out)?;
    out.flush()
}

/// Returns all settings as JSON. The value of a secret is null, even if it is set.
fn settings_as_json(sources: &Sources) -> Vec<Value> {
    let settings = sources.shown().map(|setting| {
        json!({
            "key": setting.name,
            "value": setting.value,
            "is_set": setting.is_set,
            "is_secret": setting.is_secret,
            "source": setting.source.to_string(),
        })
    });
    settings.collect()
}
