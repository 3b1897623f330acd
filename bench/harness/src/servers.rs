//! Servers in the comparison. Each server runs in its usual configuration, with two workers if the
//! number of workers can be set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tee_session_bench_content::TTL_SECONDS;
use tokio::process::Command;

use crate::{redis_server::RedisServer, running::Running, store::Store, wrk::Merges};

/// Paths of the binaries that the benchmark starts.
pub(crate) struct Builds {
    /// Path of the current tee-session binary.
    pub(crate) service: PathBuf,
    /// Path of the tee-session binary of commit 9cb3a1f, or `None` if that binary is not available.
    pub(crate) old_service: Option<PathBuf>,
    /// Folder with the binaries of the other Rust servers in the comparison.
    pub(crate) peers: PathBuf,
}

/// A server in the comparison.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Redis database that contains the sessions of the server. The server `actix-constant` does
    /// not use the database, because its response is constant.
    pub(crate) store: Store,
    pub(crate) kind: Kind,
    /// `true` if all sessions are read before the measurement. Set for servers with a touch
    /// interval or a near cache, because the first read of a session costs more there than later
    /// reads.
    pub(crate) reads_each_first: bool,
    /// Kind of the measured merges of `Set-Cookie` lines. `None` if reads of sessions are measured.
    pub(crate) merges: Option<Merges>,
}

/// Program of a server, which also determines how the server is started.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The current tee-session binary with these command-line flags.
    Service(&'static [&'static str]),
    /// The tee-session binary of commit 9cb3a1f with these command-line flags. That commit was the
    /// last one before the Redis client of the service was replaced by the crate fred.
    OldService(&'static [&'static str]),
    /// Another Rust server of this workspace, given by the name of its binary. The command-line
    /// arguments of the binary are the port and the URL of Redis.
    Peer(&'static str),
    Nginx,
    Python,
}

const fn service(name: &'static str, store: Store, flags: &'static [&'static str]) -> Server {
    Server {
        name,
        store,
        kind: Kind::Service(flags),
        reads_each_first: false,
        merges: None,
    }
}

const fn peer(name: &'static str, store: Store, kind: Kind) -> Server {
    Server {
        name,
        store,
        kind,
        reads_each_first: false,
        merges: None,
    }
}

/// Returns a server with the settings of `current` that runs the binary of commit 9cb3a1f.
const fn old(name: &'static str, current: Server) -> Server {
    let Kind::Service(flags) = current.kind else {
        panic!("only the service has an old binary");
    };
    Server {
        name,
        kind: Kind::OldService(flags),
        ..current
    }
}

pub(crate) const SLIDING: Server = service("tee-session", Store::Sealed, &[]);
pub(crate) const OLD_SLIDING: Server = old("tee-session 9cb3a1f", SLIDING);
pub(crate) const TOUCH: Server = Server {
    // In production, a session is read many times per minute. With a touch interval of 60 s, only
    // one of these reads renews the TTL. A measurement is shorter than a minute, so the TTL of each
    // session is renewed by a read before the measurement.
    reads_each_first: true,
    ..service(
        "tee-session, touch 60",
        Store::Sealed,
        &["--session-touch-interval", "60"],
    )
};
const OLD_TOUCH: Server = old("tee-session 9cb3a1f, touch 60", TOUCH);
pub(crate) const PLAIN: Server = service(
    "tee-session, plain records",
    Store::Plain,
    &["--storage-format", "plain"],
);
pub(crate) const NEAR_CACHE: Server = Server {
    reads_each_first: true,
    ..service(
        "tee-session, near cache",
        Store::Sealed,
        // Makes the near cache large enough for all sessions, because look-ups of cached sessions
        // are measured.
        &[
            "--near-cache",
            "true",
            "--near-cache-max-entries",
            "200000",
            "--near-cache-max-bytes",
            "268435456",
            "--session-touch-interval",
            "60",
        ],
    )
};
/// Tee Session, measured with requests that merge `Set-Cookie` lines of a site that sets the same
/// cookies with each answer.
const MERGE_UNCHANGED: Server = Server {
    name: "tee-session, merge without a change",
    merges: Some(Merges::Unchanged),
    ..SLIDING
};
/// Tee Session, measured with requests that merge `Set-Cookie` lines of a site that rotates its
/// session id with each answer.
const MERGE_CHANGED: Server = Server {
    name: "tee-session, merge with a change",
    merges: Some(Merges::Changed),
    ..SLIDING
};
const OLD_NEAR_CACHE: Server = old("tee-session 9cb3a1f, near cache", NEAR_CACHE);
/// Tee Session with a near cache of the default size, and without a limit on invalid tokens. Each
/// request with an invalid token is therefore answered with 401, never with 429.
pub(crate) const NEAR_CACHE_UNLIMITED: Server = service(
    "tee-session, near cache, no limit on invalid tokens",
    Store::Sealed,
    &[
        "--near-cache",
        "true",
        "--session-touch-interval",
        "60",
        "--invalid-token-limit",
        "0",
    ],
);
pub(crate) const CONSTANT: Server = peer(
    "actix-constant",
    Store::Sealed,
    Kind::Peer("actix-constant"),
);
pub(crate) const ACTIX_SESSION: Server = peer(
    "actix-session",
    Store::ActixSession,
    Kind::Peer("actix-session-peer"),
);
pub(crate) const TOWER_SESSIONS: Server = peer(
    "tower-sessions",
    Store::TowerSessions,
    Kind::Peer("tower-sessions-peer"),
);
pub(crate) const NGINX: Server = peer("nginx + Lua", Store::Plain, Kind::Nginx);
pub(crate) const FIRST_SERVICE: Server = peer("first service (Python)", Store::Plain, Kind::Python);

/// All servers in the comparison, in the order in which they run in each round. The old binary runs
/// directly after the new binary with the same settings, because the speed of the machine changes
/// over time.
pub(crate) const ALL: [Server; 14] = [
    CONSTANT,
    SLIDING,
    OLD_SLIDING,
    TOUCH,
    OLD_TOUCH,
    PLAIN,
    NEAR_CACHE,
    OLD_NEAR_CACHE,
    MERGE_UNCHANGED,
    MERGE_CHANGED,
    ACTIX_SESSION,
    TOWER_SESSIONS,
    NGINX,
    FIRST_SERVICE,
];

/// Returns the server that creates the sessions in `store` for the comparison. Returns `None` for
/// stores that are filled in another way.
pub(crate) fn filling(store: Store) -> Option<Server> {
    match store {
        Store::Sealed => Some(SLIDING),
        Store::Plain => Some(PLAIN),
        Store::ActixSession => Some(ACTIX_SESSION),
        Store::TowerSessions => Some(TOWER_SESSIONS),
        Store::FirstService | Store::Bare => None,
    }
}

impl Builds {
    /// Starts `server` on the port `port`, with its sessions in `redis`. Log and configuration of
    /// the server are written to `folder`.
    pub(crate) fn start(
        &self,
        server: &Server,
        port: u16,
        redis: &RedisServer,
        folder: &Path,
    ) -> anyhow::Result<Running> {
        let database = server.store.database();
        let url = redis.url(database);
        let port = port.to_string();
        let program = self.program(server).context("the server has no binary")?;
        let mut command = match server.kind {
            Kind::Service(flags) | Kind::OldService(flags) => {
                let mut command = Command::new(program);
                command
                    .args(["--api-port", &port, "--redis-url", &url, "--workers", "2"])
                    .args(["--metrics-port", "0", "--log-level", "INFO"])
                    // Sets an environment variable instead of a flag, because the binary of commit
                    // 9cb3a1f does not know this setting and refuses unknown flags.
                    .env("TSA_ALLOW_ANONYMOUS_CLIENTS", "true")
                    .args(flags);
                command
            }
            Kind::Peer(_) => {
                let mut command = Command::new(program);
                command.args([&port, &url]);
                command
            }
            Kind::Nginx => nginx(program, &port, redis.port, database, folder)?,
            Kind::Python => {
                let mut command = Command::new(program);
                command
                    .args([
                        "-m",
                        "uvicorn",
                        "--app-dir",
                        "bench/peers/first-service",
                        "main:app",
                    ])
                    .args(["--port", &port, "--loop", "uvloop", "--http", "httptools"])
                    .args(["--no-access-log", "--log-level", "warning"])
                    .env("REDIS_URL", &url);
                command
            }
        };
        // Removes the variable that selects a settings file, because it may be set in the shell.
        command.env_remove("TSA_CONFIG");
        Running::start(command, &folder.join("server.log"))
    }

    /// Returns the path of the program of `server`, or `None` if the server needs the old binary
    /// and that binary is not available.
    fn program(&self, server: &Server) -> Option<PathBuf> {
        Some(match server.kind {
            Kind::Service(_) => self.service.clone(),
            Kind::OldService(_) => self.old_service.clone()?,
            Kind::Peer(name) => self.peers.join(name),
            Kind::Nginx => "/usr/sbin/nginx".into(),
            Kind::Python => "bench/target/venv/bin/python".into(),
        })
    }

    /// Returns the size of the program of `server` in bytes, or `None` if the program is not a
    /// single file.
    pub(crate) fn size(&self, server: &Server) -> Option<u64> {
        if matches!(server.kind, Kind::Python) {
            return None;
        }
        Some(fs::metadata(self.program(server)?).ok()?.len())
    }

    /// Returns the reason why `server` cannot be measured: its binary is not available, or does not
    /// support a flag. Returns `None` if the server can be measured.
    pub(crate) async fn obstacle(&self, server: &Server) -> anyhow::Result<Option<&'static str>> {
        let (Kind::Service(flags) | Kind::OldService(flags)) = server.kind else {
            return Ok(None);
        };
        let Some(program) = self.program(server) else {
            return Ok(Some("its binary was not given with --old-service"));
        };
        let mut command = Command::new(program);
        command.arg("--help");
        let help = Running::output(command).await?;
        let mut flags = flags.iter().filter(|flag| flag.starts_with("--"));
        let lacks = flags.any(|flag| !help.contains(flag));
        Ok(lacks.then_some("this build does not support a required setting"))
    }

    /// Fails if a binary does not exist, or if the current folder is not the root of the
    /// repository.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let built = |server: &&Server| !matches!(server.kind, Kind::Nginx | Kind::Python);
        let files = ALL.iter().filter(built);
        for file in files.filter_map(|server| self.program(server)) {
            if !file.exists() {
                bail!("{} does not exist: scripts/bench builds it", file.display());
            }
        }
        if !Path::new("bench/peers").exists() {
            bail!("run this from the root of the repository, as scripts/bench does");
        }
        Ok(())
    }
}

/// Writes the configuration file of nginx to `folder`, and returns the command that starts nginx.
fn nginx(
    program: PathBuf,
    port: &str,
    redis_port: u16,
    database: u8,
    folder: &Path,
) -> anyhow::Result<Command> {
    let template = fs::read_to_string("bench/peers/nginx-lua/nginx.conf")?;
    let folder = folder
        .to_str()
        .context("the path of the folder is not valid UTF-8")?;
    let text = template
        .replace("@FOLDER@", folder)
        .replace("@PORT@", port)
        .replace("@REDIS_PORT@", &redis_port.to_string())
        .replace("@DATABASE@", &database.to_string())
        .replace("@TTL@", &TTL_SECONDS.to_string());
    let file = format!("{folder}/nginx.conf");
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.args(["-c", &file, "-e", "stderr"]);
    Ok(command)
}
