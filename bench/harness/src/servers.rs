//! All that are compared, each started as its users run it: two workers, its own store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tee_session_bench_content::TTL_SECONDS;
use tokio::process::Command;

use crate::{redis_server::RedisServer, running::Running, store::Store};

/// What is started, and from where.
pub(crate) struct Builds {
    /// The service's binary.
    pub(crate) service: PathBuf,
    /// The service's binary of commit 9cb3a1f, if there is one.
    pub(crate) old_service: Option<PathBuf>,
    /// Folder with those of the peers.
    pub(crate) peers: PathBuf,
}

/// One that is compared.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Where its sessions are; the ceiling has none.
    pub(crate) store: Store,
    pub(crate) kind: Kind,
    /// Is about sessions that are in use: each is read before.
    pub(crate) reads_each_first: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Ours, with these flags.
    Service(&'static [&'static str]),
    /// The same of commit 9cb3a1f, which had a Redis client of its own.
    OldService(&'static [&'static str]),
    /// A binary of this workspace that takes a port and a URL of Redis.
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
    }
}

const fn peer(name: &'static str, store: Store, kind: Kind) -> Server {
    Server {
        name,
        store,
        kind,
        reads_each_first: false,
    }
}

/// `current`, run with the binary of commit 9cb3a1f.
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
    // In a minute a session in use is asked for many times; a run is shorter.
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
        // Room for all of them: what is measured is a hot set.
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
const OLD_NEAR_CACHE: Server = old("tee-session 9cb3a1f, near cache", NEAR_CACHE);
/// The near cache with the room that it has by default, and every invalid token answered as such.
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

/// In the order in which a round goes through them. An old binary comes right after the new one: the
/// less time between them, the less the machine has changed.
pub(crate) const ALL: [Server; 12] = [
    CONSTANT,
    SLIDING,
    OLD_SLIDING,
    TOUCH,
    OLD_TOUCH,
    PLAIN,
    NEAR_CACHE,
    OLD_NEAR_CACHE,
    ACTIX_SESSION,
    TOWER_SESSIONS,
    NGINX,
    FIRST_SERVICE,
];

/// The server that fills a store.
pub(crate) fn that_fills(store: Store) -> Option<Server> {
    match store {
        Store::Sealed => Some(SLIDING),
        Store::Plain => Some(PLAIN),
        Store::ActixSession => Some(ACTIX_SESSION),
        Store::TowerSessions => Some(TOWER_SESSIONS),
        Store::FirstService | Store::Bare => None,
    }
}

impl Builds {
    /// Starts `server` on `port`, its sessions in `redis`; what it writes goes to `folder`.
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
        let program = self.program(server).context("no binary of this server")?;
        let mut command = match server.kind {
            Kind::Service(flags) | Kind::OldService(flags) => {
                let mut command = Command::new(program);
                command
                    .args(["--api-port", &port, "--redis-url", &url, "--workers", "2"])
                    .args(["--metrics-port", "0", "--log-level", "INFO"])
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
        // Nothing of the shell that it was started from.
        command.env_remove("TSA_CONFIG");
        Running::start(command, &folder.join("server.log"))
    }

    /// The program of a server; none if it was not built.
    fn program(&self, server: &Server) -> Option<PathBuf> {
        Some(match server.kind {
            Kind::Service(_) => self.service.clone(),
            Kind::OldService(_) => self.old_service.clone()?,
            Kind::Peer(name) => self.peers.join(name),
            Kind::Nginx => "/usr/sbin/nginx".into(),
            Kind::Python => "bench/target/venv/bin/python".into(),
        })
    }

    /// Bytes of its program, where it is one file.
    pub(crate) fn size(&self, server: &Server) -> Option<u64> {
        if matches!(server.kind, Kind::Python) {
            return None;
        }
        Some(fs::metadata(self.program(server)?).ok()?.len())
    }

    /// Why a server cannot be measured; `None` if it can.
    pub(crate) async fn obstacle(&self, server: &Server) -> anyhow::Result<Option<&'static str>> {
        let (Kind::Service(flags) | Kind::OldService(flags)) = server.kind else {
            return Ok(None);
        };
        let Some(program) = self.program(server) else {
            return Ok(Some("--old-service does not name its binary"));
        };
        let mut command = Command::new(program);
        command.arg("--help");
        let help = Running::output(command).await?;
        let mut flags = flags.iter().filter(|flag| flag.starts_with("--"));
        let lacks = flags.any(|flag| !help.contains(flag));
        Ok(lacks.then_some("this build lacks the setting"))
    }

    /// Fails early if something was not built.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let built = |server: &&Server| !matches!(server.kind, Kind::Nginx | Kind::Python);
        let files = ALL.iter().filter(built);
        for file in files.filter_map(|server| self.program(server)) {
            if !file.exists() {
                bail!("{} is not there: scripts/bench builds it", file.display());
            }
        }
        if !Path::new("bench/peers").exists() {
            bail!("run this from the root of the repository, as scripts/bench does");
        }
        Ok(())
    }
}

fn nginx(
    program: PathBuf,
    port: &str,
    redis_port: u16,
    database: u8,
    folder: &Path,
) -> anyhow::Result<Command> {
    let template = fs::read_to_string("bench/peers/nginx-lua/nginx.conf")?;
    let folder = folder.to_str().context("a folder whose name is no text")?;
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
