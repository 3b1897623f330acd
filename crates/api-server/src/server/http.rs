//! HTTP/1.1 server: accepts connections, optionally with TLS, applies deadlines and limits to them,
//! and serves their requests.

use std::{
    cell::RefCell,
    fmt, io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{
    HttpService, KeepAlive, Request, Response,
    body::{BodySize, MessageBody},
    error::DispatchError,
};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service,
    map_config,
};
use actix_web::{
    Error,
    dev::{AppConfig, Server},
    http::{ConnectionType, Version},
    rt::net::TcpStream,
    web::Bytes,
};
use metrics::counter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use crate::server::{
    client_stream::ClientStream,
    connection::{Connection, Served},
    connection_limits::{ConnectionLimits, Place},
    drain::{CountGuard, Lifecycle},
    linger::{LINGER_READ_TIMEOUT, linger},
};

/// Name of the HTTP listener in log messages of the framework.
const NAME: &str = "tee-session";

/// Maximum time for which the server waits for a client to close a connection, after the server has
/// closed its own side of the connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time for a TLS handshake with a client.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout, in seconds, for a graceful stop of the framework's server. The application requests a
/// graceful stop only after all requests have completed, so only idle connections remain.
const GRACEFUL_STOP_SECONDS: u64 = 1;

/// Creates a server that serves an application on the connections of `listener`.
///
/// Each worker thread calls `application` once, to create its own instance of the application.
/// Connections are counted in `lifecycle` and limited by `limits`. If `tls` is `Some`, connections
/// use TLS.
pub(crate) fn serve<F, I, S, B>(
    listener: TcpListener,
    workers: usize,
    tls: Option<Arc<ServerConfig>>,
    lifecycle: Arc<Lifecycle>,
    limits: Arc<ConnectionLimits>,
    application: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + Unpin + 'static,
{
    let server = Server::build()
        .workers(workers.max(1))
        .shutdown_timeout(GRACEFUL_STOP_SECONDS)
        // At its own limit, the framework stops accepting connections, so that even health probes
        // wait. `ConnectionLimits` makes room instead.
        .max_concurrent_connections(usize::MAX)
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let stopped = move || {
        let stopping = stopping.clone();
        async move { stopping.notified().await }
    };
    let admission = Admission { lifecycle, limits };
    let server = match tls {
        None => server.listen(NAME, listener, move || {
            let admission = admission.clone();
            let lifecycle = Arc::clone(&admission.lifecycle);
            fn_service(move |io: TcpStream| {
                let accepted = admission.admit(&io).map(|admitted| admitted.stream(io));
                async { accepted.ok_or_else(refused) }
            })
            .and_then(http(application(), lifecycle, stopped.clone()))
        })?,
        Some(config) => {
            let acceptor = TlsAcceptor::from(config);
            server.listen(NAME, listener, move || {
                let acceptor = acceptor.clone();
                let admission = admission.clone();
                let lifecycle = Arc::clone(&admission.lifecycle);
                fn_service(move |io: TcpStream| {
                    handshake(acceptor.clone(), admission.admit(&io), io)
                })
                .and_then(http(application(), lifecycle, stopped.clone()))
            })?
        }
    };
    Ok(server.run())
}

/// Creates the HTTP/1.1 service that serves `application` on connections with the stream type `T`.
/// `stopped` returns a future that completes when the server stops. All connections are closed at
/// that time.
fn http<T, I, S, B, F>(
    application: I,
    lifecycle: Arc<Lifecycle>,
    stopped: impl Fn() -> F + 'static,
) -> impl ServiceFactory<Accepted<T>, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + Unpin + 'static,
    F: Future<Output = ()> + 'static,
{
    let application = apply_fn_factory(application, move |request: Request, service| {
        let lifecycle = Arc::clone(&lifecycle);
        let served = request.conn_data::<Connection>();
        let served = served.map(|connection| connection.serve(request.head()));
        let response = Service::call(service, request);
        async move {
            let response = response.await.inspect_err(|_| {
                // The request panicked, so the state of the connection is unknown.
                if let Some(served) = &served {
                    served.connection().close_after_response();
                }
            })?;
            Ok(finish(response.into(), served, &lifecycle))
        }
    })
    .map_err(|error: Error| error.error_response());
    let service = HttpService::build()
        // With `KeepAlive::Os`, the framework sets no keep-alive timer. `ClientStream` closes idle
        // connections instead.
        .keep_alive(KeepAlive::Os)
        // Zero turns the timer of the framework off. `ClientStream` limits the time for a head.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A TCP FIN has two meanings: the client no longer waits for its response, or the client
        // has no further requests but still reads. `ClientStream` decides which requests are
        // answered after a FIN.
        .h1_allow_half_closed(false)
        // The `HttpServer` of the framework notifies its connections of a graceful stop in the same
        // way.
        .graceful_shutdown_signal(stopped)
        .on_connect_ext(|io: &ClientStream<T>, extensions| {
            extensions.insert(io.connection());
        })
        .h1(map_config(application, |()| AppConfig::default()))
        .map_err(|error| {
            count_failure(match &error {
                DispatchError::Parse(_) => "unreadable_request",
                _ => "broken",
            });
            error
        });
    apply_fn_factory(service, |(stream, peer): Accepted<T>, service| {
        let (connection, io) = (stream.connection(), stream.io());
        let served = Service::call(service, (stream, peer));
        async move {
            let served = served.await;
            let is_broken = matches!(served, Err(DispatchError::Io(_)));
            // The framework has dropped its stream, so this is the last reference.
            if let Some(io) = Rc::into_inner(io).map(RefCell::into_inner)
                && !is_broken
                && connection.has_answered_within(LINGER_READ_TIMEOUT)
            {
                tokio::select! {
                    () = linger(io) => {}
                    () = connection.place().closing() => {}
                }
            }
            served
        }
    })
}

/// Adds `Connection: close` to a response if the connection must close after the response. The
/// request counts as served when the whole response, with its body, was handed to the framework.
fn finish<B>(
    mut response: Response<B>,
    served: Option<Served>,
    lifecycle: &Lifecycle,
) -> Response<ServedBody<B>> {
    if let Some(served) = &served {
        let connection = served.connection();
        connection.begin_response();
        let head = response.head_mut();
        // The framework reuses the heads of earlier responses, with their version, and sets the
        // right version later. Without this line, a reused HTTP/1.0 head would close the
        // connection.
        head.version = Version::HTTP_11;
        let response_closes = head.connection_type() == ConnectionType::Close;
        if response_closes || lifecycle.is_closing_connections() || connection.must_close() {
            connection.close_after_response();
            head.set_connection_type(ConnectionType::Close);
        }
    }
    response.map_body(|_, body| ServedBody {
        body,
        _served: served,
    })
}

/// Body of a response. The request counts as served when the body is dropped.
struct ServedBody<B> {
    body: B,
    _served: Option<Served>,
}

impl<B: MessageBody + Unpin> MessageBody for ServedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// Counts a failed client connection. `kind` is the value of the metric label `kind`. Connection
/// failures are logged only at level `DEBUG`, because any client could fill the log with them.
fn count_failure(kind: &'static str) {
    tracing::debug!(kind, "Client connection failed");
    counter!("tee_session_connection_failures_total", "kind" => kind).increment(1);
}

/// A stream of a client connection, and the address of the connection's peer. The address is `None`
/// if it cannot be determined.
type Accepted<T> = (ClientStream<T>, Option<SocketAddr>);

/// Counts new client connections, and checks them against the limits.
#[derive(Clone)]
struct Admission {
    lifecycle: Arc<Lifecycle>,
    limits: Arc<ConnectionLimits>,
}

impl Admission {
    /// Counts a new connection towards the limits. Returns `None` if the connection must be
    /// refused.
    fn admit(&self, io: &TcpStream) -> Option<Admitted> {
        let peer = io.peer_addr().ok();
        let place = self.limits.admit(peer.map(|peer| peer.ip()))?;
        // Responses are written at once, so Nagle's algorithm would only delay them.
        let _ = io.set_nodelay(true);
        Some(Admitted {
            peer,
            place,
            counted: self.lifecycle.connection(),
        })
    }
}

/// A new client connection that the limits allow.
struct Admitted {
    peer: Option<SocketAddr>,
    place: Place,
    counted: CountGuard,
}

impl Admitted {
    fn stream<T>(self, io: T) -> Accepted<T> {
        (ClientStream::new(io, self.place, self.counted), self.peer)
    }
}

/// Returns the error for a connection that the limits refuse. The connection is then closed.
fn refused() -> DispatchError {
    DispatchError::Io(io::ErrorKind::ConnectionRefused.into())
}

async fn handshake(
    acceptor: TlsAcceptor,
    admitted: Option<Admitted>,
    io: TcpStream,
) -> Result<Accepted<TlsStream<TcpStream>>, DispatchError> {
    let admitted = admitted.ok_or_else(refused)?;
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(io)) => accepted,
        // The connection must make room for another connection.
        () = admitted.place.closing() => return Err(refused()),
    };
    let io = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match io {
        Ok(io) => Ok(admitted.stream(io)),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            count_failure("tls_handshake");
            Err(DispatchError::Io(error))
        }
    }
}
