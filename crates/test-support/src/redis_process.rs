//! A private `redis-server` process for tests.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{Builder, CustomCommand, Value, config::Config},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use crate::{IssuedCertificate, RedisMonitor, TestAuthority, eventually};

pub(crate) const WITHOUT_PERSISTENCE: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// Name of the configuration file in the working folder of the server. Only a sentinel has a
/// configuration file.
const CONFIGURATION: &str = "redis.conf";

/// Timeout for a started server to reply to `PING`.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A real `redis-server` process on a free port of the loopback interface. The server keeps its
/// files in a temporary folder. Dropping this value ends the process.
pub struct RedisProcess {
    port: u16,
    ports: Ports,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Child>,
}

/// Optional ports of a server, in addition to the port for connections without TLS.
#[derive(Clone, Copy, Default)]
struct Ports {
    tls: Option<u16>,
    /// Port of the cluster bus; `None` if the server was not started for a cluster.
    bus: Option<u16>,
}

impl RedisProcess {
    /// Starts a `redis-server` without persistence.
    pub async fn start() -> Self {
        Self::start_with(&WITHOUT_PERSISTENCE).await
    }

    /// Starts a `redis-server` with the command-line options in `options`.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_on_ports(None, options, Ports::default).await
    }

    /// Starts a server with a port for the cluster bus. The server belongs to no cluster until
    /// [`RedisCluster`] adds the server.
    ///
    /// [`RedisCluster`]: crate::RedisCluster
    pub(crate) async fn start_for_cluster(options: &[&str]) -> Self {
        let ports = || Ports {
            bus: Some(free_port()),
            ..Ports::default()
        };
        Self::start_on_ports(None, options, ports).await
    }

    /// Starts a sentinel with a configuration file that contains `configuration`. The sentinel
    /// rewrites this file while it runs.
    pub(crate) async fn start_sentinel(configuration: &str) -> Self {
        Self::start_on_ports(Some(configuration), &["--sentinel"], Ports::default).await
    }

    /// Starts a server without persistence that also serves TLS, on a separate port. Clients must
    /// present a certificate that `authority` issued.
    pub async fn start_with_tls(authority: &TestAuthority) -> Self {
        Self::start_with_certificate(authority, &authority.issue("redis")).await
    }

    /// Starts a server without persistence that also serves TLS, on a separate port, with the
    /// certificate `server`. Clients must present a certificate that `authority` issued.
    pub async fn start_with_certificate(
        authority: &TestAuthority,
        server: &IssuedCertificate,
    ) -> Self {
        let ca_file = authority.ca_file();
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let files = [
            "--tls-ca-cert-file".to_owned(),
            path(&ca_file),
            "--tls-cert-file".to_owned(),
            path(&server.certificate_file),
            "--tls-key-file".to_owned(),
            path(&server.private_key_file),
        ];
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let options = [WITHOUT_PERSISTENCE.as_slice(), &files].concat();
        let ports = || Ports {
            tls: Some(free_port()),
            ..Ports::default()
        };
        Self::start_on_ports(None, &options, ports).await
    }

    async fn start_on_ports(
        configuration: Option<&str>,
        options: &[&str],
        ports: impl Fn() -> Ports,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if let Some(configuration) = configuration {
            std::fs::write(folder.path().join(CONFIGURATION), configuration)
                .expect("the folder can be written");
        }
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self {
            port: 0,
            ports: Ports::default(),
            folder,
            options,
            process: None,
        };
        // Another process may take a port before the server uses it, so each attempt chooses new
        // ports.
        for _ in 0..5 {
            server.port = free_port();
            server.ports = ports();
            if server.try_start_again().await {
                return server;
            }
        }
        panic!(
            "redis-server did not start: see {:?}",
            server.folder.path().join("redis.log")
        );
    }

    /// Returns `true` if the program `redis-server` is installed in a folder of `PATH`.
    #[must_use]
    pub fn is_installed() -> bool {
        let version = std::process::Command::new("redis-server")
            .arg("--version")
            .output();
        version.is_ok_and(|output| output.status.success())
    }

    /// Returns the port of the cluster bus. Panics if the server was not started for a cluster.
    pub(crate) fn bus_port(&self) -> u16 {
        self.ports
            .bus
            .expect("the server was started for a cluster")
    }

    /// Returns `true` if the server was started and not killed. A paused server counts as started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Returns the port on which the server accepts connections without TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the TLS URL of database 0 (`rediss://`). `credentials` is empty or has the form
    /// `user:password@`.
    #[must_use]
    pub fn tls_url(&self, credentials: &str) -> String {
        let port = self.ports.tls.expect("the server was started with TLS");
        format!("rediss://{credentials}127.0.0.1:{port}/0")
    }

    /// Returns the URL of database 0 for connections without TLS (`redis://`).
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Opens a new client of this server, so that a test can inspect the stored data.
    pub async fn client(&self) -> Client {
        // The URL contains no database number, because a sentinel has no databases.
        connected_client(&format!("redis://127.0.0.1:{}", self.port)).await
    }

    /// Sends a command to the server, such as `CONFIG SET maxmemory 1`, and returns the reply.
    pub async fn command(&self, words: &[&str]) -> Value {
        let admin = self.admin().await;
        let reply = admin.send(words).await;
        admin.0.quit().await.expect("the client can disconnect");
        reply
    }

    /// Opens a client that stays connected until it is dropped. Use this client for commands during
    /// a fault that prevents new clients from connecting.
    pub async fn admin(&self) -> RedisAdmin {
        RedisAdmin(self.client().await)
    }

    /// Returns the text of a section of `INFO`, such as `memory`.
    pub async fn info(&self, section: &str) -> String {
        let info = self.command(&["INFO", section]).await;
        info.as_string().expect("a text")
    }

    /// Returns `true` if the server rejects commands because it is still loading its data.
    pub async fn is_loading(&self) -> bool {
        let reply = reply_prefix(self.port, b"GET -\r\n").await;
        reply.is_some_and(|reply| reply.starts_with(b"-LOADING"))
    }

    /// Returns the number of clients that are connected to the server. The client that sends this
    /// request is not counted.
    pub async fn client_count(&self) -> usize {
        let list = self.command(&["CLIENT", "LIST"]).await;
        list.as_str().expect("a list as text").lines().count() - 1
    }

    /// Returns the working folder of the server, which contains the log and the data files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the contents of the database file `dump.rdb`, as written by the last `SAVE`.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("dump.rdb")).expect("the database file was saved")
    }

    /// Starts to collect all commands that the server receives (`MONITOR`).
    pub async fn monitor(&self) -> RedisMonitor {
        RedisMonitor::start(self.port).await
    }

    /// Kills the server process (SIGKILL). Data that was not persisted is lost.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the process can be killed");
        }
    }

    /// Starts the server again, on the same ports and with the same files.
    pub async fn start_again(&mut self) {
        assert!(
            self.try_start_again().await,
            "redis-server did not start again"
        );
    }

    /// Pauses the server process (SIGSTOP). Connections stay open, but commands get no reply.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Resumes the paused server process (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self
            .process
            .as_ref()
            .and_then(Child::id)
            .expect("the process runs");
        let process = Pid::from_raw(i32::try_from(process).expect("a process id"));
        kill(process, signal).expect("the process can receive signals");
    }

    async fn try_start_again(&mut self) -> bool {
        let configuration = self.folder.path().join(CONFIGURATION);
        let more = [
            ("--tls-port", self.ports.tls),
            ("--cluster-port", self.ports.bus),
        ];
        let more = more
            .into_iter()
            .filter_map(|(name, port)| Some([name.to_owned(), port?.to_string()]));
        let process = Command::new("redis-server")
            .args(configuration.exists().then_some(configuration))
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--logfile", "redis.log", "--daemonize", "no"])
            .args(more.flatten())
            .args(&self.options)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed (scripts/setup does it)");
        let process = self.process.insert(process);
        let pid = process.id().expect("the process was not awaited yet");
        let mut ended = false;
        eventually(START_TIMEOUT, async || {
            ended = process
                .try_wait()
                .expect("the process state can be read")
                .is_some();
            ended || is_served_by(self.port, pid).await
        })
        .await;
        !ended
    }
}

/// A Redis client with all permissions. The client stays connected until this value is dropped.
pub struct RedisAdmin(Client);

impl RedisAdmin {
    /// Sends a command, given as its name and arguments, and returns the reply. Panics if Redis
    /// replies with an error.
    pub async fn send(&self, words: &[&str]) -> Value {
        let (name, arguments) = words.split_first().expect("a command has a name");
        let command = CustomCommand::new((*name).to_owned(), None::<u16>, false);
        let arguments = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        let reply = self.0.custom::<Value, String>(command, arguments).await;
        reply.expect("Redis accepts the command")
    }
}

/// Opens a client for the Redis URL `url`, and waits until the client is connected.
pub(crate) async fn connected_client(url: &str) -> Client {
    let config = Config::from_url(url).expect("a Redis URL");
    let client = Builder::from_config(config)
        .build()
        .expect("valid settings");
    client.init().await.expect("Redis accepts the connection");
    client
}

/// Returns a port of the loopback interface that is free at the time of this call. Another process
/// may take the port before the caller uses it.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

/// Returns `true` if the process `pid` is the Redis server on `port`.
///
/// The server of another test may have taken the port. The function therefore checks the process id
/// in the reply to `INFO server`. If the reply is an error, for example because the server requires
/// a password, the process id is unknown. Such a reply counts as a match.
async fn is_served_by(port: u16, pid: u32) -> bool {
    let Some(reply) = reply_prefix(port, b"INFO server\r\n").await else {
        return false;
    };
    let reply = String::from_utf8_lossy(&reply);
    reply.starts_with('-') || reply.contains(&format!("process_id:{pid}\r\n"))
}

/// Sends the bytes of a command to the server on `port`, and returns the first bytes of the reply.
/// Returns `None` if the connection fails or no reply arrives within one second.
async fn reply_prefix(port: u16, command: &[u8]) -> Option<Vec<u8>> {
    let request = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(command).await?;
        let mut first = Vec::with_capacity(4_096);
        stream.read_buf(&mut first).await?;
        std::io::Result::Ok(first)
    };
    timeout(Duration::from_secs(1), request).await.ok()?.ok()
}
