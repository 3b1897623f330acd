//! Gateways (nginx, Caddy, Envoy) as child processes, which run with the example configurations in
//! `deploy/gateways`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, redirect};
use tee_session_test_support::{eventually, free_port};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::python_packages;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/gateways");

/// Port on which the gateway listens in the example configurations.
const GATEWAY: u16 = 8080;
/// Port of Tee Session in the example configurations.
const SERVICE: u16 = 8000;
/// Port of the app in the example configurations.
const APP: u16 = 9000;

const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// Main configuration of nginx for the tests. Includes the example `nginx.conf`, keeps nginx in one
/// process, and sets the directories that nginx writes to.
const NGINX_MAIN: &str = "
daemon off;
master_process off;
pid @DIRECTORY@/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path @DIRECTORY@/body;
    proxy_temp_path @DIRECTORY@/proxy;
    fastcgi_temp_path @DIRECTORY@/fastcgi;
    uwsgi_temp_path @DIRECTORY@/uwsgi;
    scgi_temp_path @DIRECTORY@/scgi;
    include @DIRECTORY@/nginx.conf;
}
";

/// Main configuration of Caddy for the tests. Imports the example `Caddyfile`. Turns off the admin
/// endpoint, because several Caddy processes run at the same time and would all use its default
/// port.
const CADDY_MAIN: &str = "{
\tadmin off
}
import @DIRECTORY@/Caddyfile
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateway {
    Nginx,
    Caddy,
    Envoy,
}

impl Gateway {
    fn example(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Caddy => "Caddyfile",
            Self::Envoy => "envoy.yaml",
        }
    }

    /// Returns the command that starts the gateway with the example configuration in `directory`.
    /// For nginx and Caddy, also writes the main configuration into `directory`.
    fn command(self, directory: &Path) -> Command {
        let example = directory.join(self.example());
        let main = |text: &str| {
            let file = directory.join("main");
            fs::write(
                &file,
                text.replace("@DIRECTORY@", directory.to_str().unwrap()),
            )
            .unwrap();
            file
        };
        match self {
            Self::Nginx => {
                let mut nginx = Command::new(path_of_installed("nginx", "/usr/sbin/nginx"));
                nginx.args(["-e", "stderr", "-p"]).arg(directory);
                nginx.arg("-c").arg(main(NGINX_MAIN));
                nginx
            }
            Self::Caddy => {
                let mut caddy = Command::new(path_of_installed("caddy", "/usr/bin/caddy"));
                caddy.args(["run", "--adapter", "caddyfile", "--config"]);
                caddy.arg(main(CADDY_MAIN));
                caddy
                    .env("XDG_DATA_HOME", directory)
                    .env("XDG_CONFIG_HOME", directory);
                caddy
            }
            Self::Envoy => {
                let mut envoy = Command::new(python_packages::program("envoy"));
                envoy.args(["--disable-hot-restart", "--concurrency", "1"]);
                envoy
                    .args(["--log-level", "error", "--config-path"])
                    .arg(example);
                envoy
            }
        }
    }
}

pub(crate) fn path_of_installed(name: &str, path: &str) -> PathBuf {
    let program = PathBuf::from(path);
    assert!(
        program.exists(),
        "{name} is missing: scripts/setup installs it"
    );
    program
}

/// A running gateway, which checks requests with Tee Session before it forwards them to an app.
/// Dropping the value stops the gateway.
pub(crate) struct GatewayProcess {
    _process: Child,
    _directory: TempDir,
    client: Client,
    base: String,
}

impl GatewayProcess {
    /// Starts the gateway with its example configuration, and waits until the gateway accepts
    /// requests. Replaces the ports in the example by a free port for the gateway, and by the ports
    /// of `service` and `app`.
    pub(crate) async fn start(gateway: Gateway, service: SocketAddr, app: SocketAddr) -> Self {
        let directory = TempDir::new().unwrap();
        let port = free_port();
        let mut example = fs::read_to_string(Path::new(EXAMPLES).join(gateway.example())).unwrap();
        for (of_example, ours) in [
            (GATEWAY, port),
            (SERVICE, service.port()),
            (APP, app.port()),
        ] {
            example = replace_port(gateway, &example, of_example, ours);
        }
        fs::write(directory.path().join(gateway.example()), example).unwrap();
        let process = gateway
            .command(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = Client::builder().redirect(redirect::Policy::none());
        let gateway = Self {
            _process: process,
            _directory: directory,
            client: client.build().unwrap(),
            base: format!("http://127.0.0.1:{port}"),
        };
        eventually(STARTED_WITHIN, async || {
            gateway.request(Method::GET, "/").send().await.is_ok()
        })
        .await;
        gateway
    }

    /// Builds a request to the gateway. The caller must send the request.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }
}

fn replace_port(gateway: Gateway, example: &str, from: u16, to: u16) -> String {
    let address = |port: u16| match gateway {
        Gateway::Nginx | Gateway::Caddy => format!("127.0.0.1:{port}"),
        Gateway::Envoy => format!("address: 127.0.0.1, port_value: {port} "),
    };
    assert!(
        example.contains(&address(from)),
        "the example has port {from}"
    );
    example.replace(&address(from), &address(to))
}
