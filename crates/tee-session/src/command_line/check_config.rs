//! The command `tee-session check-config`: prints the effective settings. With `--connect`, also
//! checks whether Redis can be used with these settings.

mod connection;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::anyhow;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use tee_session_api_server::{ServiceClient, certificate_warnings};

use self::connection::Report;
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
with the command to run by hand. If redis_url is not set, --connect fails.

Warnings are printed for settings that have no effect, such as an environment variable with a
misspelled name or upstream_login_paths without upstream_gateway. Warnings are also printed for a
certificate in tls_certificate_file or redis_tls_certificate_file that has expired, expires soon
(less than 14 days and less than a sixth of its lifetime are left) or is not valid yet. Of each
service client, the id, the scopes and the number of secrets are printed.

Examples:
  tee-session check-config --config /etc/tee-session.toml
  tee-session check-config --connect --redis-url-file /run/secrets/redis-url
  tee-session check-config --connect --json | jq -r '.redis.findings[] | select(.verdict != \"ok\")'

Exit codes: 0 usable (there may be warnings), 1 Redis cannot be used, or --connect without redis_url,
2 invalid settings.";

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
    let connects = is_given(CONNECT);
    let report = match &settings.redis {
        Some(redis) if connects => Some(Report::of(redis, &settings.api)?),
        _ => None,
    };
    if is_json {
        let mut output = json!({
            "settings": settings_as_json(&sources),
            "service_clients": clients_as_json(&settings.service_clients),
            "warnings": warnings,
        });
        if connects {
            output["store"] = json!(settings.api.store.as_str());
            output["redis"] = json!(report.as_ref().map(Report::as_json));
        }
        print_json(&output)?;
    } else if let Some(report) = &report {
        report.write(&mut stdout())?;
    }
    match report {
        Some(report) if !report.is_usable() => Ok(ExitCode::FAILURE),
        None if connects => Err(no_redis(&sources).into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Returns the error for `--connect` if `redis_url` is not set. The user may have misspelled the
/// environment variable with the Redis URL, so the error lists the unknown environment variables.
fn no_redis(sources: &Sources) -> anyhow::Error {
    let unknown = sources.unknown_variables();
    let unknown = if unknown.is_empty() {
        String::new()
    } else {
        let names = unknown.join(", ");
        format!(". These environment variables are not settings: {names}")
    };
    anyhow!(
        "redis_url is not set, so there is no Redis to check, and the service would keep sessions in \
         its memory (the embedded store): set redis_url (TSA_REDIS_URL or TSA_REDIS_URL_FILE), or \
         leave out --connect{unknown}"
    )
}

/// Returns warnings about valid settings, and about certificates that have expired, expire soon, or
/// are not valid yet.
fn warnings(settings: &Settings) -> Vec<String> {
    let tls = settings.api.tls.as_ref();
    let files = [
        (
            "tls_certificate_file",
            tls.map(|files| files.certificate_file.as_path()),
        ),
        (
            "redis_tls_certificate_file",
            settings.redis_certificate_file.as_deref(),
        ),
    ];
    let of_certificates = files.into_iter().flat_map(|(setting, file)| {
        // The settings are valid, so the file was readable. If it has changed since, there is
        // nothing to warn about.
        let found = file.and_then(|file| certificate_warnings(file).ok());
        let found = found.into_iter().flatten();
        found.map(move |warning| format!("{setting}: {warning}"))
    });
    let warnings = settings.warnings.iter().cloned();
    warnings.chain(of_certificates).collect()
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
