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

pub(crate) const SLIDING: Server = service("tee-session", Store::Sealed, &[]);
pub(crate) const TOUCH: Server = Server {
    // In a minute a session in use is asked for many times; a run is shorter.
    reads_each_first: true,
    ..service(
        "tee-session, touch 60",
        Store::Sealed,
        &["--session-touch-interval", "60"],
    )
};
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
/// The same with the room that it has by default, and every invalid token answered as such.
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

/// In the order in which a round goes through them.
pub(crate) const ALL: [Server; 9] = [
    CONSTANT,
    SLIDING,
    TOUCH,
    PLAIN,
    NEAR_CACHE,
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
        let mut command = match server.kind {
            Kind::Service(flags) => {
                let mut command = Command::new(&self.service);
                command
                    .args(["--api-port", &port, "--redis-url", &url, "--workers", "2"])
                    .args(["--metrics-port", "0", "--log-level", "INFO"])
                    .args(flags);
                command
            }
            Kind::Peer(name) => {
                let mut command = Command::new(self.peers.join(name));
                command.args([&port, &url]);
                command
            }
            Kind::Nginx => nginx(&port, redis.port, database, folder)?,
            Kind::Python => {
                let mut command = Command::new("bench/target/venv/bin/python");
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

    /// Bytes of its program, where it is one file.
    pub(crate) fn size(&self, server: &Server) -> Option<u64> {
        let file = match server.kind {
            Kind::Service(_) => self.service.clone(),
            Kind::Peer(name) => self.peers.join(name),
            Kind::Nginx => "/usr/sbin/nginx".into(),
            Kind::Python => return None,
        };
        Some(fs::metadata(file).ok()?.len())
    }

    /// Whether the service has the settings that this row is about.
    pub(crate) async fn can_run(&self, server: &Server) -> anyhow::Result<bool> {
        let Kind::Service(flags) = server.kind else {
            return Ok(true);
        };
        let mut command = Command::new(&self.service);
        command.arg("--help");
        let help = Running::output(command).await?;
        let flags = flags.iter().filter(|flag| flag.starts_with("--"));
        Ok(flags.into_iter().all(|flag| help.contains(flag)))
    }

    /// Fails early if something was not built.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let files = ALL.iter().filter_map(|server| match server.kind {
            Kind::Service(_) => Some(self.service.clone()),
            Kind::Peer(name) => Some(self.peers.join(name)),
            Kind::Nginx | Kind::Python => None,
        });
        for file in files {
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

fn nginx(port: &str, redis_port: u16, database: u8, folder: &Path) -> anyhow::Result<Command> {
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
    let mut command = Command::new("/usr/sbin/nginx");
    command.args(["-c", &file, "-e", "stderr"]);
    Ok(command)
}
