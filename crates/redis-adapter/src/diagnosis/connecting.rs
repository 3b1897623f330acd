//! Why there is no connection, and what to do about it.

use super::{
    finding::{Check, Finding},
    reach,
};
use crate::{RedisFault, RedisSettings, connection::ConnectFault};

/// Explains the failed attempt to connect to `server`.
pub(super) async fn failed(
    settings: &RedisSettings,
    server: &str,
    fault: &ConnectFault,
) -> Finding {
    let error =
        |what: String, advice: &str| Finding::error(Check::Connection, server, what, advice);
    match fault {
        ConnectFault::Redis(RedisFault::Refused { command, code }) => {
            refused(settings, server, command, code)
        }
        // Only another look, step by step, shows how far an attempt comes.
        ConnectFault::Redis(RedisFault::TimedOut { .. } | RedisFault::Disconnected { .. })
        | ConnectFault::Unresolved(_)
            if let Some(finding) = reach::obstacle(settings, server).await =>
        {
            finding
        }
        ConnectFault::Redis(RedisFault::TimedOut { .. }) => error(
            format!("{server} is there, but does not answer"),
            if settings.tls.is_some() {
                "see whether this port of Redis speaks TLS (tls-port), or let the Redis URL begin with \
                 redis: in place of rediss:; and whether Redis hangs"
            } else {
                "see whether Redis hangs, and whether it is Redis that listens there"
            },
        ),
        ConnectFault::Redis(RedisFault::Disconnected { reason, .. }) => error(
            format!("{server} does not speak with us: {reason}"),
            disconnected(settings, reason),
        ),
        ConnectFault::Tls(fault) => error(
            fault.to_string(),
            "mend the files that the settings of TLS to Redis name",
        ),
        other => error(
            format!("{server} cannot be used: {other}"),
            "see whether it is Redis that listens there",
        ),
    }
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
