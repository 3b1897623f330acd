//! Gateways in the comparison. Each one runs with two workers, if their number can be set.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tee_session_bench_content::TTL_SECONDS;
use tokio::{process::Command, task::block_in_place, task::yield_now};

use crate::{
    http::Connection,
    redis_server::{RedisServer, free_port},
    running::Running,
    servers::Builds,
    starting::ALL_CONNECTED_WITHIN,
    store::Store,
};

/// Timeout for the first successful response of a gateway after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// Folder with the configuration files of the gateways.
const TEMPLATES: &str = "bench/peers/upstream";

/// Name of the table row for requests that are sent to the site directly, without a gateway.
pub(crate) const DIRECT: &str = "the site itself";
pub(super) const SERVICE: &str = "tee-session";
pub(super) const ROTATING: &str = "tee-session, rotated cookie";
pub(super) const NGINX: &str = "nginx, no sessions";
pub(super) const PINGORA: &str = "Pingora, no sessions";
pub(super) const NGINX_LUA: &str = "nginx + auth_request + Lua";
pub(super) const CADDY: &str = "Caddy, forward_auth";
pub(super) const ENVOY: &str = "Envoy, ext_authz";
pub(super) const MITMPROXY: &str = "mitmproxy";
pub(super) const FIRST_SERVICE: &str = "first service + httpx (Python)";

/// A gateway in the comparison.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Kind of session record that the gateway reads. A gateway that reads no session ignores the
    /// credentials in the requests.
    pub(super) store: Store,
    pub(super) has_large_pages: bool,
    /// Folder of the requested pages on the site: empty, or `rotating/`, where each answer of the
    /// site sets a new session cookie.
    pub(super) folder: &'static str,
    kind: Kind,
}

enum Kind {
    Site,
    Service,
    /// The gateway nginx, with this configuration file.
    Nginx(&'static str),
    Pingora,
    Caddy,
    Envoy,
    Mitmproxy,
    Python,
}

/// All gateways, in the order in which they run in each round.
pub(super) const ALL: [Peer; 10] = [
    peer(DIRECT, Store::Sealed, true, Kind::Site),
    peer(SERVICE, Store::Sealed, true, Kind::Service),
    Peer {
        folder: "rotating/",
        ..peer(ROTATING, Store::Sealed, false, Kind::Service)
    },
    peer(NGINX, Store::Sealed, true, Kind::Nginx("nginx.conf")),
    peer(PINGORA, Store::Sealed, true, Kind::Pingora),
    peer(
        NGINX_LUA,
        Store::Plain,
        false,
        Kind::Nginx("nginx-lua.conf"),
    ),
    peer(CADDY, Store::Sealed, false, Kind::Caddy),
    peer(ENVOY, Store::Sealed, false, Kind::Envoy),
    peer(MITMPROXY, Store::Sealed, false, Kind::Mitmproxy),
    peer(FIRST_SERVICE, Store::Plain, false, Kind::Python),
];

const fn peer(name: &'static str, store: Store, has_large_pages: bool, kind: Kind) -> Peer {
    Peer {
        name,
        store,
        has_large_pages,
        folder: "",
        kind,
    }
}

/// A started gateway.
pub(super) struct Started {
    pub(super) port: u16,
    /// Processes of the gateway: the gateway itself and, if the gateway checks requests with Tee
    /// Session, the instance of Tee Session. Empty for requests that are sent to the site directly:
    /// the costs of the site are not measured, because they are the same behind all gateways.
    pub(super) processes: Vec<Running>,
    pub(super) first_response_after: Duration,
}

/// Programs, ports and files of one comparison.
pub(super) struct Places<'a> {
    builds: &'a Builds,
    pub(super) redis: &'a RedisServer,
    folder: &'a Path,
    site_port: u16,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        builds: &'a Builds,
        redis: &'a RedisServer,
        folder: &'a Path,
    ) -> anyhow::Result<Self> {
        let site_port = free_port()?;
        Ok(Self {
            builds,
            redis,
            folder,
            site_port,
        })
    }

    pub(super) fn site_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.site_port)
    }

    /// Returns the path of the file with the credentials of the sessions in `store`.
    pub(super) fn credentials(&self, store: Store) -> PathBuf {
        self.folder
            .join(format!("credentials-{}", store.database()))
    }

    /// Starts the site.
    pub(super) fn start_site(&self) -> anyhow::Result<Running> {
        let file = self.configuration("site.conf", 0, 0)?;
        self.run(nginx(&file), "site.log")
    }

    /// Starts an instance of Tee Session that serves the sessions in `store`.
    pub(super) fn start_service(&self, port: u16, store: Store) -> anyhow::Result<Running> {
        let mut command = Command::new(&self.builds.service);
        command
            .args(["--api-port", &port.to_string(), "--workers", "2"])
            .args(["--redis-url", &self.redis.url(store.database())])
            .args(["--metrics-port", "0", "--log-level", "INFO"])
            .args(["--allow-anonymous-clients", "true"])
            .args([
                "--upstream-gateway",
                "true",
                "--upstream-allow-http",
                "true",
            ])
            .args(["--allowed-base-hosts", "127.0.0.1"])
            .args(["--upstream-allowed-networks", "127.0.0.1"])
            .env_remove("TSA_CONFIG");
        if store == Store::Plain {
            command.args(["--storage-format", "plain"]);
        }
        self.run(command, "service.log")
    }

    fn run(&self, command: Command, log: &str) -> anyhow::Result<Running> {
        Running::start(command, &self.folder.join(log))
    }

    /// Writes the configuration file `name` for a gateway on `port`, and returns its path.
    /// `service_port` is the port of the instance of Tee Session to which the gateway sends its
    /// checks of requests.
    fn configuration(&self, name: &str, port: u16, service_port: u16) -> anyhow::Result<PathBuf> {
        let folder = self.folder.to_str().context("a path in UTF-8")?;
        let text = fs::read_to_string(Path::new(TEMPLATES).join(name))?
            .replace("@FOLDER@", folder)
            .replace("@PORT@", &port.to_string())
            .replace("@SITE_PORT@", &self.site_port.to_string())
            .replace("@SERVICE_PORT@", &service_port.to_string())
            .replace("@REDIS_PORT@", &self.redis.port.to_string())
            .replace("@DATABASE@", &Store::Plain.database().to_string())
            .replace("@TTL@", &TTL_SECONDS.to_string());
        let file = self.folder.join(name);
        fs::write(&file, text)?;
        Ok(file)
    }
}

/// Waits before the next attempt to reach the started `processes`. Fails if one of them has exited.
pub(super) async fn pause(processes: &mut [Running]) -> anyhow::Result<()> {
    for process in processes {
        process.check()?;
    }
    block_in_place(|| thread::sleep(Duration::from_millis(1)));
    // Lets the async runtime handle signals.
    yield_now().await;
    Ok(())
}

impl Peer {
    /// Starts the gateway, and waits until it returns the page `path`.
    pub(super) async fn start(&self, places: &Places<'_>, path: &str) -> anyhow::Result<Started> {
        let port = free_port()?;
        let began = Instant::now();
        let (port, mut processes) = self.processes(places, port)?;
        let credentials = fs::read_to_string(places.credentials(self.store))?;
        let credential = credentials.lines().next().context("no session")?;
        loop {
            if let Ok(mut connection) = Connection::open(port).await
                && let Ok(response) = connection.fetch(path, credential).await
                && response.status == 200
            {
                break;
            }
            if began.elapsed() > STARTED_WITHIN {
                bail!("no response within {STARTED_WITHIN:?}");
            }
            pause(&mut processes).await?;
        }
        let first_response_after = began.elapsed();
        tokio::time::sleep(ALL_CONNECTED_WITHIN).await;
        Ok(Started {
            port,
            processes,
            first_response_after,
        })
    }

    fn processes(&self, places: &Places<'_>, port: u16) -> anyhow::Result<(u16, Vec<Running>)> {
        let text = port.to_string();
        let site = places.site_port.to_string();
        let command = match self.kind {
            Kind::Site => return Ok((places.site_port, Vec::new())),
            Kind::Service => {
                let service = places.start_service(port, self.store)?;
                return Ok((port, vec![service]));
            }
            Kind::Nginx(name) => nginx(&places.configuration(name, port, 0)?),
            Kind::Pingora => {
                let mut command = Command::new(places.builds.peers.join("pingora-peer"));
                command.args([&text, &site]);
                command
            }
            Kind::Caddy | Kind::Envoy => return self.with_service(places, port),
            Kind::Mitmproxy => {
                let confdir = places.folder.join("mitmproxy");
                let mut command = Command::new("bench/target/upstream-venv/bin/mitmdump");
                command
                    .args(["--quiet", "--listen-host", "127.0.0.1"])
                    .args(["--listen-port", &text])
                    .args(["--mode", &format!("reverse:http://127.0.0.1:{site}")])
                    .args(["--set", &format!("confdir={}", confdir.display())]);
                command
            }
            Kind::Python => {
                let mut command = Command::new("bench/target/venv/bin/python");
                command
                    .args(["-m", "uvicorn", "--app-dir", "bench/peers/first-service"])
                    .args(["gateway:app", "--port", &text])
                    .args(["--loop", "uvloop", "--http", "httptools"])
                    .args(["--no-access-log", "--log-level", "warning"])
                    .env("REDIS_URL", places.redis.url(self.store.database()))
                    .env("SITE", places.site_url());
                command
            }
        };
        let gateway = places.run(command, "gateway.log")?;
        Ok((port, vec![gateway]))
    }

    /// Starts the gateway (Caddy or Envoy) on `port`, and the instance of Tee Session that checks
    /// each request for the gateway. Returns `port` and both processes.
    fn with_service(&self, places: &Places<'_>, port: u16) -> anyhow::Result<(u16, Vec<Running>)> {
        let service_port = free_port()?;
        let service = places.start_service(service_port, self.store)?;
        let command = if matches!(self.kind, Kind::Caddy) {
            let file = places.configuration("Caddyfile", port, service_port)?;
            let mut caddy = Command::new("/usr/bin/caddy");
            caddy
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(file)
                .env("XDG_DATA_HOME", places.folder)
                .env("XDG_CONFIG_HOME", places.folder);
            caddy
        } else {
            let file = places.configuration("envoy.yaml", port, service_port)?;
            let mut envoy = Command::new("bench/target/upstream-venv/bin/envoy");
            envoy
                .args(["--disable-hot-restart", "--concurrency", "2"])
                .args(["--log-level", "error", "--config-path"])
                .arg(file);
            envoy
        };
        let gateway = places.run(command, "gateway.log")?;
        Ok((port, vec![gateway, service]))
    }
}

fn nginx(file: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(file).args(["-e", "stderr"]);
    command
}
