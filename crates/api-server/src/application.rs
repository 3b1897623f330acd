//! Builds the HTTP API on top of a session repository, runs the HTTP server, and shuts it down.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    rt,
    web::Data,
};
use socket2::SockRef;
use tee_session_auth_middleware::InvalidTokenLimiter;
use tee_session_domain::{RecentRenewals, RecentTouches, SessionManager, SessionRepository};
use tee_session_near_cache::{NearCache, NearCachedRepository};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing_actix_web::TracingLogger;

use crate::{
    metrics::catalogue, metrics::gauges::StateGauges, metrics::listener, metrics::session_events,
    request::bodies_under_way::BodiesUnderWay, request::caller::WrongSecrets, request::middleware,
    routes, server::bind, server::connection_limits::ConnectionLimits, server::drain::Lifecycle,
    server::http, server::tls::ReloadedCertificate, settings::ApiSettings,
    store::health_monitor::HealthMonitor, store::observed_repository::ObservedRepository,
    store::sessions::Sessions, telemetry::root_span::RequestSpan, upstream::Gateway,
    upstream::gateway::SharedLimits,
};

/// Maximum time at shutdown until all workers have closed their connections to the store.
const CLOSE_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Delay at shutdown, after the accept thread of the server was paused and before the listener is
/// shut down.
///
/// The accept thread executes the pause command asynchronously. If the listener were shut down
/// before the accept thread has paused, the accept thread would log errors during an orderly
/// shutdown.
const PAUSE_DELAY: Duration = Duration::from_millis(50);

/// Maximum total size, in bytes, of all request bodies that are still arriving. The effective limit
/// is at least eight times the maximum size of one body, so that one credential, which may use an
/// eighth of the limit, can send such a body.
const MAX_BYTES_UNDER_WAY: usize = 64 * 1_024 * 1_024;

/// Number of connections above [`ApiSettings::max_connections`] that the API accepts for health
/// probes. Together with the connections that are being closed, at most `max_connections` plus
/// twice this number are open.
pub const RESERVED_CONNECTIONS: usize = 32;

/// The HTTP API on top of a session repository. Its listeners are already bound. Call
/// [`run`](Self::run) to serve requests.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use tee_session_api_server::{ApiSettings, Application};
/// use tee_session_memory_adapter::MemoryRepository;
///
/// let repository = MemoryRepository::default();
/// let application = Application::build(ApiSettings::default(), move || repository.clone())?;
/// println!("listening on {}", application.address());
/// application.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await
/// # }
/// ```
pub struct Application {
    server: Server,
    listener: TcpListener,
    address: SocketAddr,
    metrics: Option<(Server, SocketAddr)>,
    certificate: Option<Arc<ReloadedCertificate>>,
    settings: ApiSettings,
    monitor: Arc<HealthMonitor>,
    lifecycle: Arc<Lifecycle>,
    near_cache: Option<Arc<NearCache>>,
}

impl Application {
    /// Binds the listeners and builds the application.
    ///
    /// Each worker thread calls `connect` once, on the worker's own runtime, to create the
    /// repository of the worker. `connect` may also return clones of one repository that all
    /// workers share.
    ///
    /// # Errors
    /// Fails in each of these cases:
    /// - A listener cannot be bound to the configured address.
    /// - The settings have [conflicts](ApiSettings::conflicts).
    /// - The TLS certificate or the private key cannot be used.
    /// - Metrics are enabled, but other code in this process has already installed a metrics
    ///   recorder.
    ///
    /// # Panics
    /// Panics if metrics are enabled and `build` is called outside an Actix system
    /// (`actix_web::rt`).
    pub fn build<R, F>(settings: ApiSettings, connect: F) -> io::Result<Self>
    where
        R: SessionRepository,
        F: Fn() -> R + Clone + Send + 'static,
    {
        if let Some(conflict) = settings.conflicts().first() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, *conflict));
        }
        let certificate = settings.tls.clone().map(ReloadedCertificate::load);
        let certificate = certificate.transpose()?;
        let tls = certificate.as_ref().map(ReloadedCertificate::server_config);
        let tls = tls.transpose()?;
        let listener = bind::listen(settings.address, ["api_host", "api_port"])?;
        // The metrics recorder is installed before any metric is registered, because a metric that
        // is registered without a recorder records nothing.
        let metrics_address = settings.metrics_address;
        let recorded = metrics_address.map(|_| catalogue::install());
        let recorded = recorded.transpose()?;
        let monitor = Arc::new(HealthMonitor::new());
        let lifecycle = Arc::new(Lifecycle::new());
        let limiter = settings.invalid_token_limit.map(|limit| {
            let proxies = settings.trusted_proxies.clone();
            Arc::new(InvalidTokenLimiter::new(limit, proxies))
        });
        let wrong_secrets = settings.invalid_token_limit.map(|limit| {
            let proxies = settings.trusted_proxies.clone();
            InvalidTokenLimiter::new(limit, proxies)
        });
        let wrong_secrets = Arc::new(WrongSecrets(wrong_secrets));
        let near_cache = settings.near_cache.as_ref().map(NearCache::new);
        let upstream_limits = settings.upstream.as_ref().map(SharedLimits::new);
        let metrics = metrics_address.zip(recorded).map(|(address, recorded)| {
            let (lifecycle, monitor) = (Arc::clone(&lifecycle), Arc::clone(&monitor));
            let state = StateGauges::new(lifecycle, monitor, near_cache.clone())
                .with_upstream(upstream_limits.clone());
            listener::listen(address, recorded, state)
        });
        let metrics = metrics.transpose()?;
        // The limit is raised if necessary, so that a body of the maximum size fits into the share
        // of one credential.
        let max_upstream = settings
            .upstream
            .as_ref()
            .map_or(0, |u| u.max_request_bytes);
        // All sessions together may use half of the limit, and one session may use an eighth of the
        // limit.
        let max_body = settings.max_body_bytes.max(max_upstream);
        let max_bytes = MAX_BYTES_UNDER_WAY.max(max_body.saturating_mul(8));
        let bodies = Arc::new(BodiesUnderWay::new(settings.max_in_flight, max_bytes));
        let worker = Worker {
            near_cache: near_cache.clone(),
            settings: settings.clone(),
            monitor: Arc::clone(&monitor),
            lifecycle: Arc::clone(&lifecycle),
            recent_touches: settings.policy.recent_touches().map(Arc::new),
            recent_renewals: Arc::new(settings.policy.recent_renewals()),
        };
        let address = listener.local_addr()?;
        let workers = settings.workers;
        let counted = Arc::clone(&lifecycle);
        let limits = Arc::new(ConnectionLimits::new(
            settings.max_connections,
            settings.max_connections_per_address,
            RESERVED_CONNECTIONS,
            settings.trusted_proxies.clone(),
        ));
        let listener_of_workers = listener.try_clone()?;
        let server = http::serve(
            listener_of_workers,
            workers,
            tls,
            counted,
            limits,
            move || {
                let sessions = worker.start(connect());
                let origins = &worker.settings.cors_allowed_origins;
                let gateway = Gateway::new(&worker.settings, upstream_limits.as_ref());
                App::new()
                    .app_data(Data::new(upstream_limits.clone()))
                    .app_data(Data::new(worker.settings.clone()))
                    .app_data(Data::new(Arc::clone(&worker.monitor)))
                    .app_data(Data::new(Arc::clone(&worker.lifecycle)))
                    .app_data(Data::new(Arc::clone(&bodies)))
                    .app_data(Data::new(Arc::clone(&wrong_secrets)))
                    .configure(routes::configure::<R>(
                        sessions,
                        limiter.clone(),
                        origins,
                        gateway,
                    ))
                    .wrap(from_fn(middleware::observe))
                    .wrap(TracingLogger::<RequestSpan>::new())
            },
        )?;
        Ok(Self {
            server,
            listener,
            address,
            metrics,
            certificate,
            settings,
            monitor,
            lifecycle,
            near_cache,
        })
    }

    /// Returns the near cache (copies of sessions in the memory of this process), or `None` if no
    /// near cache is configured.
    ///
    /// The caller must connect the near cache to an invalidation feed of the store, which reports
    /// every change of a session. While the invalidation feed is down, every request reads from the
    /// repository.
    #[must_use]
    pub fn near_cache(&self) -> Option<Arc<NearCache>> {
        self.near_cache.clone()
    }

    /// Returns the address on which the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address that serves `/metrics`. Returns `None` if metrics are disabled.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// Serves requests until `stop` completes, and then shuts down gracefully.
    ///
    /// The graceful shutdown has three steps:
    /// - `/health/ready` returns 503 at once. Requests are still served for `shutdown_delay`.
    /// - No new connections are accepted, and the server waits for requests in flight.
    /// - Each worker closes its connections to the store. The second and the third step take at
    ///   most `shutdown_timeout` together.
    ///
    /// # Errors
    /// Fails if the HTTP server ends with an error or panics.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        tracing::info!(
            address = %self.address,
            metrics_address = self.metrics_address().map(tracing::field::display),
            tls = self.certificate.is_some(),
            store = self.settings.store.as_str(),
            upstream_gateway = self.settings.upstream.is_some(),
            "Starting up"
        );
        let url = url_of(self.address, self.certificate.is_some());
        tracing::info!("Listening on {url}, try {url}/docs");
        let watch = self
            .certificate
            .map(|certificate| rt::spawn(certificate.watch()));
        let handle = self.server.handle();
        let server = rt::spawn(self.server);
        let metrics_handle = self.metrics.map(|(server, _)| {
            let handle = server.handle();
            rt::spawn(server);
            handle
        });
        tokio::pin!(server);
        tokio::select! {
            ended = &mut server => return ended.map_err(io::Error::other)?,
            () = stop => {}
        }

        tracing::info!("Shutting down");
        self.monitor.start_draining();
        sleep(self.settings.shutdown_delay).await;
        drain(
            &handle,
            &self.lifecycle,
            &self.listener,
            self.settings.shutdown_timeout,
        )
        .await;
        if let Some(metrics) = metrics_handle {
            metrics.stop(false).await;
        }
        if let Some(watch) = watch {
            watch.abort();
        }
        server.await.map_err(io::Error::other)?
    }
}

/// Stops accepting connections, waits for requests in flight, closes the connections to the store
/// and stops the server. Waiting and closing take at most `max_duration` together. Requests that
/// are not finished in time are aborted.
async fn drain(
    handle: &ServerHandle,
    lifecycle: &Lifecycle,
    listener: &TcpListener,
    max_duration: Duration,
) {
    let started = Instant::now();
    lifecycle.close_connections();
    handle.pause().await;
    sleep(PAUSE_DELAY).await;
    // The kernel still completes the handshakes of new connections to a paused listener. Once the
    // listener is shut down, the kernel refuses new connections at once.
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
    let close_store_timeout = CLOSE_STORE_TIMEOUT.min(max_duration / 4);
    let drained_by = started + max_duration - close_store_timeout;
    let is_drained = timeout_at(drained_by, lifecycle.wait_until_quiet())
        .await
        .is_ok();
    if !is_drained {
        tracing::warn!("Requests still in flight after shutdown_timeout are aborted");
    }
    // The store is closed before the workers stop, because a stopping worker drops the tasks on its
    // runtime without awaiting them.
    let _ = timeout(close_store_timeout, lifecycle.close_store()).await;
    // A graceful stop waits for requests in flight and cannot be interrupted. A graceful stop is
    // therefore requested only if no request is in flight.
    handle.stop(is_drained).await;
}

/// Returns the URL at which a program on this machine reaches a listener on `address`. An
/// unspecified address, such as `0.0.0.0`, becomes the loopback address.
fn url_of(mut address: SocketAddr, uses_tls: bool) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let scheme = if uses_tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// State from which each worker thread creates its session manager.
#[derive(Clone)]
struct Worker {
    settings: ApiSettings,
    monitor: Arc<HealthMonitor>,
    lifecycle: Arc<Lifecycle>,
    recent_touches: Option<Arc<RecentTouches>>,
    recent_renewals: Arc<RecentRenewals>,
    near_cache: Option<Arc<NearCache>>,
}

impl Worker {
    /// Creates the session manager of one worker thread. Must be called on that worker thread.
    ///
    /// Spawns two tasks on the worker thread: one monitors the health of the store, the other
    /// closes the store at shutdown.
    fn start<R: SessionRepository>(&self, repository: R) -> Sessions<R> {
        let observation = self.monitor.register();
        let repository =
            ObservedRepository::new(repository, self.settings.store, Arc::clone(&observation));
        let repository = NearCachedRepository::new(repository, self.near_cache.clone());
        let sessions = SessionManager::new(repository, self.settings.policy)
            .with_token_format(self.settings.token_format)
            .with_recent_touches(self.recent_touches.clone())
            .with_recent_renewals(Arc::clone(&self.recent_renewals))
            .with_observer(session_events::count);
        let sessions = Data::new(sessions);

        let monitor = Arc::clone(&self.monitor);
        let watched = sessions.clone();
        rt::spawn(async move { monitor.observe(watched.repository(), observation).await });

        let lifecycle = Arc::clone(&self.lifecycle);
        let used = sessions.clone();
        rt::spawn(async move {
            let _uses_store = lifecycle.worker_using_store();
            lifecycle.store_close_requested().await;
            used.repository().close().await;
        });
        sessions
    }
}
