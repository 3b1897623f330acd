//! Booking sites with a login and TLS, for tests. One site is written in PHP and runs behind nginx.
//! The other site uses Django.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use tee_session_test_support::{IssuedCertificate, TestAuthority, eventually, free_port};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{gateway::path_of_installed, python_packages};

const STARTED_WITHIN: Duration = Duration::from_secs(20);

const PHP_SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/php/booking_site.php");

/// Path of the PHP script of a site that books with a `GET` request and records each booking.
const COUNTING_PHP_SITE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/upstream/booking.php");

/// Configuration of nginx, which adds TLS to the server of PHP.
const NGINX: &str = "
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
    server {
        listen 127.0.0.1:@PORT@ ssl;
        ssl_certificate @CERTIFICATE@;
        ssl_certificate_key @KEY@;
        location / {
            proxy_pass http://127.0.0.1:@PHP@;
            proxy_set_header Host $http_host;
        }
    }
}
";

/// A running booking site. Dropping the value stops its processes.
pub(crate) struct BookingSite {
    /// Base URL of the site, without a trailing slash.
    pub(crate) base: String,
    /// Certificate authority that issued the certificate of the site.
    pub(crate) authority: TestAuthority,
    _processes: Vec<Child>,
    directory: TempDir,
}

fn bookings_in(directory: &TempDir) -> PathBuf {
    directory.path().join("bookings")
}

impl BookingSite {
    /// Starts `php/booking_site.php`.
    pub(crate) async fn of_php() -> Self {
        Self::of_php_script(PHP_SITE).await
    }

    /// Starts `upstream/booking.php`.
    pub(crate) async fn of_counting_php() -> Self {
        Self::of_php_script(COUNTING_PHP_SITE).await
    }

    async fn of_php_script(script: &str) -> Self {
        let (authority, directory) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        let (php_port, port) = (free_port(), free_port());
        let mut php = Command::new(path_of_installed("php", "/usr/bin/php"));
        php.arg("-d")
            .arg(format!("session.save_path={}", directory.path().display()));
        php.args(["-S", &format!("127.0.0.1:{php_port}"), script]);
        php.env("BOOKINGS", bookings_in(&directory));
        let php = spawn(&mut php);

        let configuration =
            nginx_configuration(&directory, &authority.issue("site"), php_port, port);
        let mut nginx = Command::new(path_of_installed("nginx", "/usr/sbin/nginx"));
        nginx.args(["-e", "stderr", "-p"]).arg(directory.path());
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let nginx = spawn(nginx.arg("-c").arg(file));
        for port in [php_port, port] {
            eventually(STARTED_WITHIN, async || {
                TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await;
        }
        Self {
            base: format!("https://127.0.0.1:{port}"),
            authority,
            _processes: vec![php, nginx],
            directory,
        }
    }

    /// Starts `python/django_site.py`.
    pub(crate) async fn of_django() -> Self {
        let (authority, directory) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        let certificate = authority.issue("site");
        let mut django = python_packages::script("django_site.py");
        django.args([certificate.certificate_file, certificate.private_key_file]);
        django.env("BOOKINGS", bookings_in(&directory));
        let mut django = spawn(django.stdout(Stdio::piped()));
        let mut lines = BufReader::new(django.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("a port");
        Self {
            base: format!("https://127.0.0.1:{port}"),
            authority,
            _processes: vec![django],
            directory,
        }
    }

    /// Returns the lines that the site has written: one for each booking, such as `book 7`, and one
    /// for each player added to a booking, such as `partner 1`.
    pub(crate) fn bookings(&self) -> Vec<String> {
        let text = fs::read_to_string(bookings_in(&self.directory)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn nginx_configuration(
    directory: &TempDir,
    certificate: &IssuedCertificate,
    php_port: u16,
    port: u16,
) -> String {
    let text = NGINX.replace("@DIRECTORY@", directory.path().to_str().unwrap());
    let text = text.replace(
        "@CERTIFICATE@",
        certificate.certificate_file.to_str().unwrap(),
    );
    let text = text.replace("@KEY@", certificate.private_key_file.to_str().unwrap());
    text.replace("@PHP@", &php_port.to_string())
        .replace("@PORT@", &port.to_string())
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap()
}
