//! A `redis-server` process of a test's own.

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

/// Its configuration, if it has one of its own.
const CONFIGURATION: &str = "redis.conf";

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A real `redis-server` on a free port of the loopback interface, with its files in a
/// temporary folder; it ends with the value.
pub struct RedisProcess {
    port: u16,
    ports: Ports,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Child>,
}

/// What else it listens on.
#[derive(Clone, Copy, Default)]
struct Ports {
    tls: Option<u16>,
    /// The bus of a cluster.
    bus: Option<u16>,
}

impl RedisProcess {
    /// Starts one without persistence.
    pub async fn start() -> Self {
        Self::start_with(&WITHOUT_PERSISTENCE).await
    }

    /// Starts one with these options of its command line.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_on_ports(None, options, Ports::default).await
    }

    /// Starts a server of a cluster that is yet to be made; see [`RedisCluster`].
    ///
    /// [`RedisCluster`]: crate::RedisCluster
    pub(crate) async fn start_for_cluster(options: &[&str]) -> Self {
        let ports = || Ports {
            bus: Some(free_port()),
            ..Ports::default()
        };
        Self::start_on_ports(None, options, ports).await
    }

    /// Starts a sentinel with this configuration, which it goes on writing itself.
    pub(crate) async fn start_sentinel(configuration: &str) -> Self {
        Self::start_on_ports(Some(configuration), &["--sentinel"], Ports::default).await
    }

    /// Starts one without persistence that speaks TLS as well, on a port of its own, with
    /// whoever shows a certificate of `authority`.
    pub async fn start_with_tls(authority: &TestAuthority) -> Self {
        Self::start_with_certificate(authority, &authority.issue("redis")).await
    }

    /// The same, with this certificate.
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
        // Between choosing a port and using it, somebody else may take it.
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

    /// Whether there is a `redis-server` on this machine's `PATH`.
    #[must_use]
    pub fn is_installed() -> bool {
        let version = std::process::Command::new("redis-server")
            .arg("--version")
            .output();
        version.is_ok_and(|output| output.status.success())
    }

    /// The port that the other servers of its cluster speak to.
    pub(crate) fn bus_port(&self) -> u16 {
        self.ports.bus.expect("it was started for a cluster")
    }

    /// Whether its process is there, paused or not.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL over TLS, database 0, for a user with a password (`user:password@`, or nothing).
    #[must_use]
    pub fn tls_url(&self, credentials: &str) -> String {
        let port = self.ports.tls.expect("it was started with TLS");
        format!("rediss://{credentials}127.0.0.1:{port}/0")
    }

    /// Its URL, database 0.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A client of its own, to look at what is stored.
    pub async fn client(&self) -> Client {
        // Without a database: a sentinel has none.
        connected_client(&format!("redis://127.0.0.1:{}", self.port)).await
    }

    /// Sends any command and gives its reply (`CONFIG SET maxmemory 1`, ...).
    pub async fn command(&self, words: &[&str]) -> Value {
        let admin = self.admin().await;
        let reply = admin.send(words).await;
        admin.0.quit().await.expect("the client can leave");
        reply
    }

    /// A client that stays connected, for what would keep a new one out.
    pub async fn admin(&self) -> RedisAdmin {
        RedisAdmin(self.client().await)
    }

    /// A section of INFO.
    pub async fn info(&self, section: &str) -> String {
        let info = self.command(&["INFO", section]).await;
        info.as_string().expect("a text")
    }

    /// Whether it refuses commands because it is still reading its data.
    pub async fn is_loading(&self) -> bool {
        let first = answer(self.port, b"GET -\r\n").await;
        first.is_some_and(|answer| answer.starts_with(b"-LOADING"))
    }

    /// How many clients are connected, not counting the one that asks.
    pub async fn client_count(&self) -> usize {
        let list = self.command(&["CLIENT", "LIST"]).await;
        list.as_str().expect("a list as text").lines().count() - 1
    }

    /// The folder that it works in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it last saved (`SAVE`): the bytes of its database file.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("dump.rdb")).expect("something was saved")
    }

    /// Listens to every command from now on (`MONITOR`).
    pub async fn monitor(&self) -> RedisMonitor {
        RedisMonitor::start(self.port).await
    }

    /// Ends it at once (SIGKILL); what it did not persist is lost.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the process can be killed");
        }
    }

    /// Starts it again on the same port with the same files.
    pub async fn start_again(&mut self) {
        assert!(
            self.try_start_again().await,
            "redis-server did not start again"
        );
    }

    /// Stops it without ending it (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a paused one go on (SIGCONT).
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
        kill(process, signal).expect("the process takes signals");
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
        let mut ended = false;
        eventually(START_TIMEOUT, async || {
            ended = process
                .try_wait()
                .expect("the process can be asked")
                .is_some();
            ended || answers(self.port).await
        })
        .await;
        !ended
    }
}

/// A client that may do everything, and stays connected until it is dropped.
pub struct RedisAdmin(Client);

impl RedisAdmin {
    /// Sends any command and gives its reply.
    pub async fn send(&self, words: &[&str]) -> Value {
        let (name, arguments) = words.split_first().expect("a command has a name");
        let command = CustomCommand::new((*name).to_owned(), None::<u16>, false);
        let arguments = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        let reply = self.0.custom::<Value, String>(command, arguments).await;
        reply.expect("Redis takes the command")
    }
}

/// A client for `url` that has connected.
pub(crate) async fn connected_client(url: &str) -> Client {
    let config = Config::from_url(url).expect("a Redis URL");
    let client = Builder::from_config(config)
        .build()
        .expect("sound settings");
    client.init().await.expect("Redis answers");
    client
}

/// A port of the loopback interface that was free a moment ago.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

/// Whether whatever listens on `port` answers as Redis does (an error is an answer).
async fn answers(port: u16) -> bool {
    let first = answer(port, b"PING\r\n").await;
    first.is_some_and(|answer| matches!(answer.first(), Some(b'+' | b'-')))
}

/// What comes first of the answer to `command`, within a second.
async fn answer(port: u16, command: &[u8]) -> Option<Vec<u8>> {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(command).await?;
        let mut first = Vec::with_capacity(64);
        stream.read_buf(&mut first).await?;
        std::io::Result::Ok(first)
    };
    timeout(Duration::from_secs(1), ask).await.ok()?.ok()
}
