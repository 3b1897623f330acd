//! Explanations of failed attempts to connect: the cause, and advice on how to fix it. The log and
//! the diagnosis show the same explanations.

use std::io;

use rustls::CertificateError;

use super::{failed_step::explain, handshake::ConnectFault};
use crate::{RedisFault, RedisSettings, error::UNKNOWN_COMMAND};

/// Explanation of a failed attempt to connect.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) topic: Topic,
    /// Cause of the failed attempt to connect, as a clause that names the server.
    pub(crate) what: String,
    /// Instruction for the operator that describes how to fix the cause of the failed attempt to
    /// connect.
    pub(crate) advice: String,
}

/// Part of the configuration that an explanation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Connection,
    Login,
    Permissions,
    Cluster,
}

impl Explanation {
    /// Explains why an attempt to connect to the server in `settings` failed. If the attempt timed
    /// out or was disconnected, tries the steps of connecting one by one to find the step that
    /// fails.
    pub(crate) async fn find(settings: &RedisSettings, server: &str, fault: ConnectFault) -> Self {
        Self::of(settings, server, explain(settings, fault).await)
    }

    /// Explains why an attempt to connect failed with `fault`, without sending a request to Redis.
    pub(crate) fn of(settings: &RedisSettings, server: &str, fault: ConnectFault) -> Self {
        let topic = match fault {
            ConnectFault::NoCluster => Topic::Cluster,
            _ => Topic::Connection,
        };
        let (what, advice) = match fault {
            ConnectFault::Redis(RedisFault::Refused { command, code }) => {
                return refused(settings, server, command, &code);
            }
            ConnectFault::Unresolved(fault) => (
                format!("the host name in {server} cannot be resolved: {fault}"),
                "fix the host in the Redis URL, or the name resolution of this machine",
            ),
            ConnectFault::Unreachable(fault) if fault.kind() == io::ErrorKind::TimedOut => (
                format!("{server} cannot be reached: the attempt to connect timed out"),
                "fix the host and port in the Redis URL, or allow connections: a firewall, a network \
                 policy or a security group may drop them",
            ),
            ConnectFault::Unreachable(fault) => (
                format!("{server} cannot be reached: {fault}"),
                unreachable(&fault),
            ),
            ConnectFault::Tls(fault) => (
                fault.to_string(),
                "fix the files that the TLS settings for Redis name",
            ),
            fault @ ConnectFault::TlsServerName(_) => (
                fault.to_string(),
                "use a name or an address in the Redis URL that the server's certificate contains",
            ),
            ConnectFault::TlsHandshake(fault) => {
                let (what, advice) = tls_handshake(&fault, settings);
                (
                    format!("the TLS handshake with {server} failed: {what}"),
                    advice,
                )
            }
            ConnectFault::Redis(RedisFault::TimedOut { .. }) => (
                format!("{server} accepts connections, but does not reply"),
                if settings.tls.is_some() {
                    "check whether this port of Redis uses TLS (tls-port); if not, use a Redis URL \
                     that begins with redis: instead of rediss:; and check whether Redis hangs"
                } else {
                    "check whether Redis hangs, and whether the server at this address is Redis"
                },
            ),
            ConnectFault::Redis(RedisFault::Disconnected { reason, .. }) => (
                format!("the connection to {server} was lost: {reason}"),
                disconnected(settings, &reason),
            ),
            ConnectFault::Redis(RedisFault::Redirected { .. }) => (
                format!("{server} is a server of a cluster, which stores only part of the keys"),
                "use a Redis URL that begins with redis-cluster:",
            ),
            ConnectFault::NoCluster => (
                format!("{server} belongs to no cluster with assigned hash slots"),
                "fix the addresses in the Redis URL, or create the cluster: redis-cli --cluster create",
            ),
            fault @ (ConnectFault::NoSentinel { .. } | ConnectFault::UnknownService) => (
                fault.to_string(),
                "fix the addresses of the sentinels and sentinelServiceName in the Redis URL; \
                 tee-session check-config --connect checks each sentinel",
            ),
            fault @ ConnectFault::FailingOver => {
                (fault.to_string(), "wait until the failover has ended")
            }
            fault @ ConnectFault::TooOld { .. } => {
                (fault.to_string(), "upgrade Redis, or use Valkey")
            }
            other => (
                format!("{server} cannot be used: {other}"),
                "check whether the server at this address is Redis",
            ),
        };
        Self::new(topic, what, advice)
    }

    fn new(topic: Topic, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            topic,
            what: what.into(),
            advice: advice.into(),
        }
    }
}

fn unreachable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "start Redis there, or fix the host and port in the Redis URL; if Redis is running, \
             check bind and port in its configuration"
        }
        io::ErrorKind::NotFound => {
            "fix the path in the Redis URL, or set unixsocket in the configuration of Redis"
        }
        io::ErrorKind::PermissionDenied => {
            "allow the user that the service runs as to use the socket: unixsocketperm in the \
             configuration of Redis, and the permissions of the folder"
        }
        _ => "fix the host and port in the Redis URL, or the network to this host",
    }
}

/// Returns the text of the TLS error that made the handshake fail, and advice on how to fix the
/// cause.
fn tls_handshake(error: &io::Error, settings: &RedisSettings) -> (String, &'static str) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let advice = match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if settings.trusts_machine_only() =>
            {
                "set redis_tls_ca_file to the authority that issued the certificate of Redis"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "redis_tls_ca_file must contain the authority that issued the certificate of Redis"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "use a name in the Redis URL that the certificate of Redis contains, or have Redis \
                 present a certificate for the name in the URL"
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "renew the certificate of Redis; if it is new, set the clock of this machine"
            }
            _ => "have Redis present a valid certificate",
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "this port does not use TLS: use the tls-port of Redis, or a Redis URL that begins \
             with redis: instead of rediss:"
        }
        _ => "check whether this port of Redis uses TLS (tls-port)",
    };
    let what = inner.map_or_else(|| error.to_string(), ToString::to_string);
    (what, advice)
}

fn disconnected(settings: &RedisSettings, reason: &str) -> &'static str {
    if settings.tls.is_none() {
        "if this port uses TLS (tls-port), use a Redis URL that begins with rediss:; otherwise \
         check whether the server is Redis, and whether it accepts more connections (maxclients)"
    } else if reason.contains("ertificate") {
        "Redis requires a client certificate (tls-auth-clients): set redis_tls_certificate_file \
         and redis_tls_private_key_file to a pair that was issued by an authority that Redis trusts"
    } else {
        "check whether the server is Redis, and whether it accepts more connections (maxclients)"
    }
}

fn refused(settings: &RedisSettings, server: &str, command: &str, code: &str) -> Explanation {
    let user = settings.user();
    let login = |what: String, advice: String| Explanation::new(Topic::Login, what, advice);
    match (code, command) {
        ("WRONGPASS", _) => login(
            format!("{server} refuses the login of {user}: WRONGPASS"),
            format!(
                "fix the user and password in the Redis URL; in Redis, ACL GETUSER {user} shows \
                 whether the user exists and is on"
            ),
        ),
        ("NOAUTH", _) => login(
            format!("{server} requires a login: NOAUTH"),
            "add a user and password to the Redis URL: redis://USER:PASSWORD@HOST, with special \
             characters percent-encoded"
                .to_owned(),
        ),
        (_, "AUTH") => login(
            format!("{server} does not accept a password: {code}"),
            "remove the password from the Redis URL, or give its user one in Redis: ACL SETUSER"
                .to_owned(),
        ),
        ("NOPERM", "SELECT") => Explanation::new(
            Topic::Permissions,
            format!("{user} lacks permission to SELECT the database in the Redis URL"),
            format!("in Redis: ACL SETUSER {user} +select; or remove the database from the URL"),
        ),
        ("NOPERM", _) => Explanation::new(
            Topic::Permissions,
            format!("{user} lacks permission for {command}"),
            format!(
                "in Redis: ACL SETUSER {user} +{}",
                command.to_ascii_lowercase().replace(' ', "|")
            ),
        ),
        (_, "SELECT") => login(
            format!("{server} does not have the database in the Redis URL"),
            "use a smaller number, or raise databases in the configuration of Redis; a server of a \
             cluster has only database 0 (a URL that begins with redis-cluster:), and a sentinel \
             has none (redis-sentinel:)"
                .to_owned(),
        ),
        ("ERR", "CLUSTER SLOTS") => Explanation::new(
            Topic::Cluster,
            format!("{server} is not a server of a cluster"),
            "use a Redis URL that begins with redis: instead of redis-cluster:",
        ),
        (UNKNOWN_COMMAND, "SENTINEL MASTER") => Explanation::new(
            Topic::Connection,
            format!("{server} is not a sentinel"),
            "name the sentinels in the Redis URL (their port is usually 26379), or use a Redis URL that \
             begins with redis: instead of redis-sentinel:",
        ),
        (UNKNOWN_COMMAND, _) => Explanation::new(
            Topic::Connection,
            format!("{server} does not know {command}: it stores no data, or the command was renamed"),
            "if the server is a sentinel, use a Redis URL that begins with redis-sentinel: and names the \
             service; otherwise remove rename-command from the configuration of Redis",
        ),
        ("READONLY", _) => Explanation::new(
            Topic::Connection,
            format!("{server} is a replica, which accepts no writes"),
            "name the primary in the Redis URL, or the sentinels that monitor it (redis-sentinel:)",
        ),
        ("LOADING", _) => Explanation::new(
            Topic::Connection,
            format!("{server} is loading its data"),
            "wait until Redis has loaded its data; redis-cli INFO persistence shows the progress",
        ),
        ("DENIED", _) => login(
            format!("{server} is in protected mode: DENIED"),
            "set a password in Redis, or create a user for the service (ACL SETUSER), and add it \
             to the Redis URL"
                .to_owned(),
        ),
        _ => Explanation::new(
            Topic::Connection,
            format!("{server} refuses {command}: {code}"),
            "check the log of Redis",
        ),
    }
}
