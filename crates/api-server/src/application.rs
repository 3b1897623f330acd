//! The application: built, run, stopped.

use std::{
    future::Future,
    io,
    net::{Shutdown, SocketAddr, TcpListener},
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
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tee_session_auth_middleware::InvalidTokenLimiter;
use tee_session_domain::{RecentRenewals, RecentSlides, SessionManager, SessionRepository};
use tee_session_near_cache::{NearCache, NearCachedRepository};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing_actix_web::TracingLogger;

use crate::{
    health_monitor::HealthMonitor, http_server, lifecycle::Lifecycle, metrics_listener,
    metrics_recorder, observed_repository::ObservedRepository, request_observer,
    root_span::RequestSpan, routes, session_events, settings::ApiSettings,
    state_gauges::StateGauges, tls::ReloadedCertificate,
};

/// Taking leave of the store may take so long.
const LEAVE_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that accepts connections hears of a pause a moment after it was asked for; one whose
/// listener is shut down before that logs errors, as if the stop were none.
const PAUSE_SETTLES: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted; more are not completed.
const LISTEN_BACKLOG: i32 = 1_024;

const OPEN_TO_ALL: &str = "without service clients everybody could create sessions: add a client, \
     or listen on a loopback address";

const CACHE_WITHOUT_TOUCH_INTERVAL: &str = "a near cache needs a touch interval: where every access \
     slides its session in the store, every access changes it, and no copy is good for the next";

/// The HTTP API over a repository, bound to its address and ready to run.
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
    /// Binds the listeners. `connect` is called on each worker thread, on its own runtime, and
    /// gives the worker its repository; clones of one that all workers share will do too.
    ///
    /// # Errors
    /// When an address cannot be bound, or is not a loopback address and there are no service
    /// clients; when the certificate for TLS cannot be used; with a near cache and without a touch
    /// interval.
    ///
    /// # Panics
    /// With metrics, outside an Actix system (`actix_web::rt`).
    pub fn build<R, F>(settings: ApiSettings, connect: F) -> io::Result<Self>
    where
        R: SessionRepository,
        F: Fn() -> R + Clone + Send + 'static,
    {
        if settings.service_clients.is_empty() && !settings.address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, OPEN_TO_ALL));
        }
        if settings.near_cache.is_some() && settings.policy.touch_interval().is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                CACHE_WITHOUT_TOUCH_INTERVAL,
            ));
        }
        let certificate = settings.tls.clone().map(ReloadedCertificate::load);
        let certificate = certificate.transpose()?;
        let tls = certificate.as_ref().map(ReloadedCertificate::server_config);
        let tls = tls.transpose()?;
        let listener = listen(settings.address)?;
        // Before anything that counts is made.
        let metrics_address = settings.metrics_address;
        let recorded = metrics_address.map(|_| metrics_recorder::install());
        let recorded = recorded.transpose()?;
        let monitor = Arc::new(HealthMonitor::new());
        let lifecycle = Arc::new(Lifecycle::new());
        let limiter = settings.invalid_token_limit.map(|limit| {
            let proxies = settings.trusted_proxies.clone();
            Arc::new(InvalidTokenLimiter::new(limit, proxies))
        });
        let near_cache = settings.near_cache.as_ref().map(NearCache::new);
        let metrics = metrics_address.zip(recorded).map(|(address, recorded)| {
            let (lifecycle, monitor) = (Arc::clone(&lifecycle), Arc::clone(&monitor));
            let state = StateGauges::new(lifecycle, monitor, near_cache.clone());
            metrics_listener::listen(address, recorded, state)
        });
        let metrics = metrics.transpose()?;
        let worker = Worker {
            near_cache: near_cache.clone(),
            settings: settings.clone(),
            monitor: Arc::clone(&monitor),
            lifecycle: Arc::clone(&lifecycle),
            recent_slides: settings.policy.recent_slides().map(Arc::new),
            recent_renewals: Arc::new(settings.policy.recent_renewals()),
        };
        let address = listener.local_addr()?;
        let workers = settings.workers;
        let counted = Arc::clone(&lifecycle);
        let server = http_server::serve(listener.try_clone()?, workers, tls, counted, move || {
            let sessions = worker.start(connect());
            let origins = &worker.settings.cors_allowed_origins;
            App::new()
                .app_data(Data::new(worker.settings.clone()))
                .app_data(Data::new(Arc::clone(&worker.monitor)))
                .app_data(Data::new(Arc::clone(&worker.lifecycle)))
                .configure(routes::configure::<R>(sessions, limiter.clone(), origins))
                .wrap(from_fn(request_observer::observe))
                .wrap(TracingLogger::<RequestSpan>::new())
        })?;
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

    /// Who must hear of changes in the store, if there is a near cache: until it does, every
    /// request asks the repository.
    #[must_use]
    pub fn near_cache(&self) -> Option<Arc<NearCache>> {
        self.near_cache.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics` is, if anywhere.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `stop` ends, and then stops: `/health/ready` turns 503 at once; requests
    /// are served for `shutdown_delay` more; then no connection is taken any more, requests in
    /// flight have `shutdown_timeout` to finish, and each worker takes leave of the store.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        tracing::info!(
            address = %self.address,
            metrics_address = self.metrics_address().map(tracing::field::display),
            tls = self.certificate.is_some(),
            store = self.settings.store.as_str(),
            "Starting up"
        );
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

/// Ends within `within`.
async fn drain(
    handle: &ServerHandle,
    lifecycle: &Lifecycle,
    listener: &TcpListener,
    within: Duration,
) {
    let started = Instant::now();
    lifecycle.close_connections();
    handle.pause().await;
    sleep(PAUSE_SETTLES).await;
    // A paused listener still completes handshakes; whoever comes now is better told at once.
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
    let leaving = LEAVE_STORE_TIMEOUT.min(within / 4);
    let is_quiet = timeout_at(started + within - leaving, lifecycle.quiet())
        .await
        .is_ok();
    if !is_quiet {
        tracing::warn!("Requests still in flight after shutdown_timeout are cut off");
    }
    // Before the workers end: what lives on their runtimes is dropped with them, unawaited.
    let _ = timeout(leaving, lifecycle.leave_store()).await;
    // A graceful stop cannot be cut short, so it is asked for only when nothing holds it up.
    handle.stop(is_quiet).await;
}

/// A listener that restarts at once after a stop, with room for a burst of connections.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What each worker starts with.
#[derive(Clone)]
struct Worker {
    settings: ApiSettings,
    monitor: Arc<HealthMonitor>,
    lifecycle: Arc<Lifecycle>,
    recent_slides: Option<Arc<RecentSlides>>,
    recent_renewals: Arc<RecentRenewals>,
    near_cache: Option<Arc<NearCache>>,
}

impl Worker {
    /// On the worker's own thread: watches over its repository and gives it to the routes.
    fn start<R: SessionRepository>(&self, repository: R) -> routes::Sessions<R> {
        let observation = self.monitor.register();
        let repository =
            ObservedRepository::new(repository, self.settings.store, Arc::clone(&observation));
        let repository = NearCachedRepository::new(repository, self.near_cache.clone());
        let sessions = SessionManager::new(repository, self.settings.policy)
            .with_token_format(self.settings.token_format)
            .with_recent_slides(self.recent_slides.clone())
            .with_recent_renewals(Arc::clone(&self.recent_renewals))
            .with_observer(session_events::count);
        let sessions = Data::new(sessions);

        let monitor = Arc::clone(&self.monitor);
        let watched = sessions.clone();
        rt::spawn(async move { monitor.observe(watched.repository(), observation).await });

        let lifecycle = Arc::clone(&self.lifecycle);
        let used = sessions.clone();
        rt::spawn(async move {
            let _in_store = lifecycle.worker_in_store();
            lifecycle.store_to_be_left().await;
            used.repository().close().await;
        });
        sessions
    }
}
