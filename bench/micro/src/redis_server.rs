//! Redis server of the benchmark. The crate `tee-session-test-support` also starts Redis servers,
//! but is not used here. It enables features of dependencies that the service does not enable, so
//! that CI would compile most dependencies twice.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// Timeout for the server to reply to `PING` after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// A `redis-server` without persistence, which is killed when this value is dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    address: SocketAddr,
}

impl RedisServer {
    /// Starts `redis-server` on a free port of the loopback interface, and waits until the server
    /// replies.
    ///
    /// # Errors
    /// Fails if the server does not start or does not reply in time.
    pub fn start() -> anyhow::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &address.port().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server")?;
        let server = Self { process, address };
        let started = Instant::now();
        while server.ping().is_err() {
            ensure!(started.elapsed() < STARTED_WITHIN, "Redis does not reply");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Returns the URL of database 0 of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    fn ping(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(STARTED_WITHIN))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply)?;
        if reply == *b"+PONG\r\n" {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Errors mean that the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
