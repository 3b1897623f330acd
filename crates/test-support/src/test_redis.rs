//! A real Redis, wherever one is to be had.

use std::{env, time::Duration};

use fred::clients::Client;
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};
use url::Url;

use crate::{FaultProxy, RedisProcess, redis_process::connected_client};

const CONTAINER_START_TIMEOUT: Duration = Duration::from_secs(60);

/// A real Redis for one test, found in this order:
///
/// 1. `TEST_REDIS_URL`, a server that runs already (`redis://[user:password@]host:port[/db]`);
/// 2. a `redis-server` on `PATH`: a process of the test's own;
/// 3. Docker: a container of the test's own, of the image that `TEST_REDIS_IMAGE` names
///    (`redis:7.4` if it is not set).
///
/// `TEST_REDIS=container` goes straight to Docker. When there is none, the test fails and says
/// what to install; it is never skipped.
pub struct TestRedis {
    url: String,
    server: Server,
}

enum Server {
    /// Shared with others: only the way to it can be cut.
    Running(FaultProxy),
    Process(Box<RedisProcess>),
    Container(Box<ContainerAsync<GenericImage>>),
}

impl TestRedis {
    /// Finds or starts one.
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

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of its own, to look at what is stored.
    pub async fn client(&self) -> Client {
        connected_client(&self.url).await
    }

    /// Makes it unreachable, for good.
    pub async fn lose(&mut self) {
        match &mut self.server {
            Server::Running(proxy) => proxy.cut(),
            Server::Process(process) => process.kill().await,
            Server::Container(container) => container.stop().await.expect("the container stops"),
        }
    }

    async fn running(url: &str) -> Self {
        let mut url = Url::parse(url).expect("TEST_REDIS_URL is a URL");
        let host = url
            .host_str()
            .expect("TEST_REDIS_URL names a host")
            .to_owned();
        let proxy = FaultProxy::to(format!("{host}:{}", url.port().unwrap_or(6379))).await;
        url.set_ip_host(proxy.address().ip())
            .expect("a Redis URL takes an address");
        url.set_port(Some(proxy.address().port()))
            .expect("a Redis URL takes a port");
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
                    "no Redis for this test: install redis-server (scripts/setup does it), or \
                     set TEST_REDIS_URL to one that runs, or let Docker run the image {image} \
                     (TEST_REDIS_IMAGE names another): {error}"
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
