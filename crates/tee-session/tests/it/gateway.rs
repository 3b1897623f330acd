//! The gateways, run with the examples in `deploy/gateways`.

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

/// Ports of the examples.
const GATEWAY: u16 = 8080;
const SERVICE: u16 = 8000;
const APP: u16 = 9000;

const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// What includes the example: where nginx writes, and that it stays one process.
const NGINX_MAIN: &str = "
daemon off;
master_process off;
pid @FOLDER@/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path @FOLDER@/body;
    proxy_temp_path @FOLDER@/proxy;
    fastcgi_temp_path @FOLDER@/fastcgi;
    uwsgi_temp_path @FOLDER@/uwsgi;
    scgi_temp_path @FOLDER@/scgi;
    include @FOLDER@/nginx.conf;
}
";

/// What imports the example: several run at the same time.
const CADDY_MAIN: &str = "{
\tadmin off
}
import @FOLDER@/Caddyfile
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

    /// Its command, with what it needs in `folder` beside the example.
    fn command(self, folder: &Path) -> Command {
        let example = folder.join(self.example());
        let main = |text: &str| {
            let file = folder.join("main");
            fs::write(&file, text.replace("@FOLDER@", folder.to_str().unwrap())).unwrap();
            file
        };
        match self {
            Self::Nginx => {
                let mut nginx = Command::new(installed("nginx", "/usr/sbin/nginx"));
                nginx.args(["-e", "stderr", "-p"]).arg(folder);
                nginx.arg("-c").arg(main(NGINX_MAIN));
                nginx
            }
            Self::Caddy => {
                let mut caddy = Command::new(installed("caddy", "/usr/bin/caddy"));
                caddy.args(["run", "--adapter", "caddyfile", "--config"]);
                caddy.arg(main(CADDY_MAIN));
                caddy
                    .env("XDG_DATA_HOME", folder)
                    .env("XDG_CONFIG_HOME", folder);
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

fn installed(name: &str, path: &str) -> PathBuf {
    let program = PathBuf::from(path);
    assert!(
        program.exists(),
        "{name} is missing: scripts/setup installs it"
    );
    program
}

/// A gateway between clients and an app. It ends with the value.
pub(crate) struct GatewayProcess {
    _process: Child,
    _folder: TempDir,
    client: Client,
    base: String,
}

impl GatewayProcess {
    /// Runs the example with these addresses in place of its own, and waits until it listens.
    pub(crate) async fn start(gateway: Gateway, service: SocketAddr, app: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let mut example = fs::read_to_string(Path::new(EXAMPLES).join(gateway.example())).unwrap();
        for (of_example, ours) in [
            (GATEWAY, port),
            (SERVICE, service.port()),
            (APP, app.port()),
        ] {
            example = with_port(gateway, &example, of_example, ours);
        }
        fs::write(folder.path().join(gateway.example()), example).unwrap();
        let process = gateway
            .command(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = Client::builder().redirect(redirect::Policy::none());
        let gateway = Self {
            _process: process,
            _folder: folder,
            client: client.build().unwrap(),
            base: format!("http://127.0.0.1:{port}"),
        };
        eventually(STARTED_WITHIN, async || {
            gateway.request(Method::GET, "/").send().await.is_ok()
        })
        .await;
        gateway
    }

    /// A request of a client, yet to be sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }
}

fn with_port(gateway: Gateway, example: &str, from: u16, to: u16) -> String {
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
