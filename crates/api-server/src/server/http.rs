//! HTTP/1.1 server: accepts connections, optionally with TLS, applies deadlines to them, and serves
//! their requests.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_http::{
    HttpService, KeepAlive, Request, Response, body::MessageBody, error::DispatchError,
};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::{
    Error,
    dev::{AppConfig, Server},
    rt::net::TcpStream,
};
use metrics::counter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use crate::{
    server::connection_deadlines::{BoundedStream, HEAD_TIMEOUT},
    server::drain::{CountGuard, Lifecycle},
};

/// Name of the listener in log messages of the framework.
const NAME: &str = "tee-session";

/// Maximum time for which the server waits for a client to close a connection, after the server has
/// closed its own side of the connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout, in seconds, for a graceful stop of the framework's server. The application requests a
/// graceful stop only after all requests have completed, so only idle connections remain.
const GRACEFUL_STOP_SECONDS: u64 = 1;

/// Creates a server that serves an application on the connections of `listener`.
///
/// Each worker thread calls `application` once, to create its own instance of the application.
/// Connections are counted in `lifecycle`. If `tls` is `Some`, connections use TLS.
pub(crate) fn serve<F, I, S, B>(
    listener: TcpListener,
    workers: usize,
    tls: Option<Arc<ServerConfig>>,
    lifecycle: Arc<Lifecycle>,
    application: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let server = Server::build()
        .workers(workers.max(1))
        .shutdown_timeout(GRACEFUL_STOP_SECONDS)
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let stopped = move || {
        let stopping = stopping.clone();
        async move { stopping.notified().await }
    };
    let server = match tls {
        None => server.listen(NAME, listener, move || {
            let lifecycle = Arc::clone(&lifecycle);
            fn_service(move |io: TcpStream| {
                let counted = lifecycle.connection();
                async { Ok(connection(prepare(&io), io, counted)) }
            })
            .and_then(http(application(), stopped.clone()))
        })?,
        Some(config) => {
            let acceptor = TlsAcceptor::from(config);
            server.listen(NAME, listener, move || {
                let acceptor = acceptor.clone();
                let lifecycle = Arc::clone(&lifecycle);
                fn_service(move |io: TcpStream| {
                    handshake(acceptor.clone(), io, lifecycle.connection())
                })
                .and_then(http(application(), stopped.clone()))
            })?
        }
    };
    Ok(server.run())
}

/// Creates the HTTP/1.1 service that serves `application` on connections with the stream type `T`.
/// `stopped` returns a future that completes when the server stops. The connections are then
/// closed.
fn http<T, I, S, B, F>(
    application: I,
    stopped: impl Fn() -> F + 'static,
) -> impl ServiceFactory<Connection<T>, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    F: Future<Output = ()> + 'static,
{
    let application = application
        .into_factory()
        .map_err(|error| error.error_response());
    HttpService::build()
        // With `KeepAlive::Os`, the framework sets no keep-alive timer. `BoundedStream` closes idle
        // connections instead.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that no longer waits for its response closes its connection (TCP FIN). With
        // half-closed connections, such a client could not be distinguished from one that still
        // reads.
        .h1_allow_half_closed(false)
        // The `HttpServer` of the framework notifies its connections of a graceful stop in the same
        // way.
        .graceful_shutdown_signal(stopped)
        .on_connect_ext(|io: &BoundedStream<T>, extensions| {
            extensions.insert(io.connection());
        })
        .h1(map_config(application, |()| AppConfig::default()))
        .map_err(|error| {
            count_failure(match &error {
                DispatchError::Parse(_) => "unreadable_request",
                _ => "broken",
            });
            error
        })
}

/// Counts a failed client connection by `kind`. Connection failures are not logged, because any
/// client could fill the log with them.
fn count_failure(kind: &'static str) {
    counter!("tee_session_connection_failures_total", "kind" => kind).increment(1);
}

/// A client connection with deadlines, and the address of the connection's peer. The address is
/// `None` if it cannot be determined.
type Connection<T> = (BoundedStream<T>, Option<SocketAddr>);

fn connection<T>(peer: Option<SocketAddr>, io: T, counted: CountGuard) -> Connection<T> {
    (BoundedStream::new(io, counted), peer)
}

/// Sets `TCP_NODELAY` on a new connection, and returns the address of the connection's peer.
/// Returns `None` if the address cannot be determined.
fn prepare(io: &TcpStream) -> Option<SocketAddr> {
    // Responses are written at once, so Nagle's algorithm would only delay them.
    let _ = io.set_nodelay(true);
    io.peer_addr().ok()
}

async fn handshake(
    acceptor: TlsAcceptor,
    io: TcpStream,
    counted: CountGuard,
) -> Result<Connection<TlsStream<TcpStream>>, DispatchError> {
    let peer = prepare(&io);
    let accepted = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(io)).await;
    let io = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match io {
        Ok(io) => Ok(connection(peer, io, counted)),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            count_failure("tls_handshake");
            Err(DispatchError::Io(error))
        }
    }
}
