//! A real Redis server for a test: a running server, a new process or a new container.

use std::{env, time::Duration};

use fred::{
    clients::Client,
    interfaces::KeysInterface,
    types::{Expiration, SetOptions},
};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};
use url::Url;

use crate::{Fault, FaultProxy, RedisProcess, redis_process::connected_client};

const CONTAINER_START_TIMEOUT: Duration = Duration::from_secs(60);

/// A real Redis server for one test. The first available source is used:
///
/// 1. `TEST_REDIS_URL`: a running server (`redis://[user:password@]host:port[/db]`);
/// 2. `redis-server` on `PATH`: a private process;
/// 3. Docker: a private container of the image in `TEST_REDIS_IMAGE` (default `redis:7.4`).
///
/// If `TEST_REDIS` is `container`, only Docker is used. If no source is available, the test panics
/// with a message that says what to install. The test is never skipped.
pub struct TestRedis {
    url: String,
    server: Server,
}

enum Server {
    /// A server that was already running. Other programs may use the server too, so a test must not
    /// stop it. To simulate a fault, the test connects through this proxy, which can close the
    /// connections.
    Running(FaultProxy),
    Process(Box<RedisProcess>),
    Container(Box<ContainerAsync<GenericImage>>),
}

impl TestRedis {
    /// Finds a running Redis server or starts a new one, as described for [`TestRedis`].
    pub async fn start() -> Self {
        if env::var("TEST_REDIS").is_ok_and(|kind| kind == "container") {
            return Self::container().await;
        }
        if let Ok(url) = env::var("TEST_REDIS_URL") {
            return Self::running(&url).await;
        }
        if RedisProcess::is_installed() {
            let process = RedisProcess::start().await;
            return Self {
                url: process.url(),
                server: Server::Process(Box::new(process)),
            };
        }
        Self::container().await
    }

    /// Returns the URL of the Redis server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Opens a new client of this server, so that a test can inspect the stored data.
    pub async fn client(&self) -> Client {
        connected_client(&self.url).await
    }

    /// Makes the Redis server permanently unreachable under [`url`](Self::url).
    pub async fn lose(&mut self) {
        match &mut self.server {
            Server::Running(proxy) => proxy.cut(),
            Server::Process(process) => process.kill().await,
            Server::Container(container) => container.stop().await.expect("the container stops"),
        }
    }

    /// Makes the Redis server hang: connections stay open, but commands get no reply.
    pub async fn hang(&self) {
        match &self.server {
            Server::Running(proxy) => proxy.set(Fault::Stall),
            Server::Process(process) => process.pause(),
            Server::Container(container) => {
                container
                    .pause()
                    .await
                    .expect("the container can be paused");
            }
        }
    }

    /// Overwrites the value of the key with `value` and keeps the TTL of the key. Does nothing if
    /// there is no such key.
    pub async fn overwrite(&self, key: &str, value: &str) {
        let client = self.client().await;
        let (keep, exists) = (Some(Expiration::KEEPTTL), Some(SetOptions::XX));
        let written = client
            .set::<(), _, _>(key, value, keep, exists, false)
            .await;
        written.expect("Redis accepts the command");
    }

    async fn running(url: &str) -> Self {
        let mut url = Url::parse(url).expect("TEST_REDIS_URL is a URL");
        let host = url
            .host_str()
            .expect("TEST_REDIS_URL contains a host")
            .to_owned();
        let proxy = FaultProxy::to(format!("{host}:{}", url.port().unwrap_or(6379))).await;
        url.set_ip_host(proxy.address().ip())
            .expect("a Redis URL can have an IP address");
        url.set_port(Some(proxy.address().port()))
            .expect("a Redis URL can have a port");
        Self {
            url: url.to_string(),
            server: Server::Running(proxy),
        }
    }

    async fn container() -> Self {
        let image = env::var("TEST_REDIS_IMAGE").unwrap_or_else(|_| "redis:7.4".to_owned());
        let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
        let container = GenericImage::new(name, tag)
            .with_exposed_port(6379.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
            .with_startup_timeout(CONTAINER_START_TIMEOUT)
            .start()
            .await
            .unwrap_or_else(|error| {
                panic!(
                    "no Redis for this test: install redis-server (scripts/setup does), or set \
                     TEST_REDIS_URL to a running server, or make Docker able to run the image \
                     {image} (TEST_REDIS_IMAGE sets another): {error}"
                )
            });
        let host = container
            .get_host()
            .await
            .expect("the container has a host");
        let port = container
            .get_host_port_ipv4(6379)
            .await
            .expect("the port is published");
        Self {
            url: format!("redis://{host}:{port}/0"),
            server: Server::Container(Box::new(container)),
        }
    }
}
