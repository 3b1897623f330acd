//! Why there is no connection, and what to do about it.

use std::io;

use rustls::CertificateError;

use super::finding::{Check, Finding};
use crate::{
    RedisFault, RedisSettings,
    connection::{ConnectFault, explain},
};

/// Explains the failed attempt to connect to `server`.
pub(super) async fn failed(settings: &RedisSettings, server: &str, fault: ConnectFault) -> Finding {
    let (what, advice) = match explain(settings, fault).await {
        ConnectFault::Redis(RedisFault::Refused { command, code }) => {
            return refused(settings, server, command, &code);
        }
        ConnectFault::Unresolved(fault) => (
            format!("the name in {server} does not resolve: {fault}"),
            "mend the host in the Redis URL, or what resolves names on this machine",
        ),
        ConnectFault::Unreachable(fault) if fault.kind() == io::ErrorKind::TimedOut => (
            format!("{server} cannot be reached: nothing came back"),
            "mend the host and port in the Redis URL, or let connections through: a firewall, a \
             network policy or a security group drops them",
        ),
        ConnectFault::Unreachable(fault) => (
            format!("{server} cannot be reached: {fault}"),
            out_of_reach(&fault),
        ),
        ConnectFault::Tls(fault) => (
            fault.to_string(),
            "mend the files that the settings of TLS to Redis name",
        ),
        fault @ ConnectFault::Name(_) => (
            fault.to_string(),
            "put a name or an address that stands in the server's certificate into the Redis URL",
        ),
        ConnectFault::TlsHandshake(fault) => {
            let (what, advice) = no_tls(&fault, settings);
            (format!("TLS with {server} fails: {what}"), advice)
        }
        ConnectFault::Redis(RedisFault::TimedOut { .. }) => (
            format!("{server} is there, but does not answer"),
            if settings.tls.is_some() {
                "see whether this port of Redis speaks TLS (tls-port), or let the Redis URL begin with \
                 redis: in place of rediss:; and whether Redis hangs"
            } else {
                "see whether Redis hangs, and whether it is Redis that listens there"
            },
        ),
        ConnectFault::Redis(RedisFault::Disconnected { reason, .. }) => (
            format!("{server} does not speak with us: {reason}"),
            disconnected(settings, &reason),
        ),
        other => (
            format!("{server} cannot be used: {other}"),
            "see whether it is Redis that listens there",
        ),
    };
    Finding::error(Check::Connection, server, what, advice)
}

fn out_of_reach(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "start Redis there, or mend the host and port in the Redis URL; if it runs, look at bind \
             and port in its configuration"
        }
        io::ErrorKind::NotFound => {
            "mend the path in the Redis URL, or set unixsocket in the configuration of Redis"
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that the service runs as use the socket: unixsocketperm in the \
             configuration of Redis, and the permissions of the folder"
        }
        _ => "mend the host and port in the Redis URL, or the way there",
    }
}

/// What TLS says, and what to do about it.
fn no_tls(error: &io::Error, settings: &RedisSettings) -> (String, &'static str) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let advice = match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if settings.trusts_machine_only() =>
            {
                "name the authority that issued the certificate of Redis: redis_tls_ca_file"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "redis_tls_ca_file must hold the authority that issued the certificate of Redis"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "put a name that stands in the certificate into the Redis URL, or have Redis show a \
                 certificate for the name that stands there"
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "renew the certificate of Redis; if it is a new one, set this machine's clock"
            }
            _ => "have Redis show a sound certificate",
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "this port speaks no TLS: take the tls-port of Redis, or a URL that begins with redis: in \
             place of rediss:"
        }
        _ => "see whether this port of Redis speaks TLS (tls-port)",
    };
    let what = inner.map_or_else(|| error.to_string(), ToString::to_string);
    (what, advice)
}

fn disconnected(settings: &RedisSettings, reason: &str) -> &'static str {
    if settings.tls.is_none() {
        "if this port speaks TLS (tls-port), let the Redis URL begin with rediss:; else see whether it \
         is Redis that listens there, and whether it takes more connections (maxclients)"
    } else if reason.contains("ertificate") {
        "Redis wants to see a certificate (tls-auth-clients): name one with \
         redis_tls_certificate_file and redis_tls_private_key_file, of an authority that Redis trusts"
    } else {
        "see whether it is Redis that listens there, and whether it takes more connections (maxclients)"
    }
}

fn refused(settings: &RedisSettings, server: &str, command: &str, code: &str) -> Finding {
    let user = settings.user();
    let login = |what: String, advice: String| Finding::error(Check::Login, server, what, advice);
    match (code, command) {
        ("WRONGPASS", _) => login(
            format!("{server} refuses the login of {user}: WRONGPASS"),
            format!(
                "mend the user and password in the Redis URL; in Redis, ACL GETUSER {user} shows whether \
                 the user is there and on"
            ),
        ),
        ("NOAUTH", _) => login(
            format!("{server} wants a login: NOAUTH"),
            "put a user and password into the Redis URL: redis://USER:PASSWORD@HOST, where a percent \
             sign spells what is special in a URL"
                .to_owned(),
        ),
        (_, "AUTH") => login(
            format!("{server} takes no password: {code}"),
            "leave the password out of the Redis URL, or give its user one in Redis: ACL SETUSER"
                .to_owned(),
        ),
        ("NOPERM", "SELECT") => Finding::error(
            Check::Permissions,
            server,
            format!("{user} may not SELECT the database of the Redis URL"),
            format!("in Redis: ACL SETUSER {user} +select; or leave the database out of the URL"),
        ),
        ("NOPERM", _) => Finding::error(
            Check::Permissions,
            server,
            format!("{user} may not {command}"),
            format!(
                "in Redis: ACL SETUSER {user} +{}",
                command.to_ascii_lowercase().replace(' ', "|")
            ),
        ),
        (_, "SELECT") => login(
            format!("{server} has no such database as the Redis URL names"),
            "take a smaller number, or raise databases in the configuration of Redis; a server of a cluster \
             has database 0 alone (a URL that begins with redis-cluster:), and a sentinel none \
             (redis-sentinel:)"
                .to_owned(),
        ),
        ("DENIED", _) => login(
            format!("{server} is in protected mode: DENIED"),
            "give Redis a password, or a user for the service (ACL SETUSER), and put it into the Redis \
             URL"
            .to_owned(),
        ),
        _ => Finding::error(
            Check::Connection,
            server,
            format!("{server} refuses {command}: {code}"),
            "look into the log of Redis",
        ),
    }
}
