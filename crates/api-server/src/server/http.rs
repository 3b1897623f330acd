//! The HTTP/1.1 server: connections, bounded in what they may hold up, in front of an
//! application.

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
    bounded_stream::{BoundedStream, HEAD_TIMEOUT},
    lifecycle::{Counted, Lifecycle},
};

/// Names the listener in the framework's own messages.
const NAME: &str = "tee-session";

/// A client has so long to close its side once the server has closed its own.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A TLS handshake has to be through after this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// When nothing is in flight any more, idle connections end at once.
const GRACEFUL_STOP_SECONDS: u64 = 1;

/// Serves what `application` makes, which each worker calls once on its own thread, to the
/// connections of `listener`, counted in `lifecycle`; over TLS if there is a configuration for it.
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
                async { Ok(connection(peer_of(&io), io, counted)) }
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

/// HTTP/1.1 on connections of one kind, which close when `stopped` ends.
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
        // The connection itself ends when it idles: without a timer for each request.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // The framework's own server, too, lets its connections know of a stop in this way.
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

/// Counted rather than logged: anybody who can connect causes as many as they like.
fn count_failure(kind: &'static str) {
    counter!("tee_session_connection_failures_total", "kind" => kind).increment(1);
}

/// A bounded connection and the address of its peer.
type Connection<T> = (BoundedStream<T>, Option<SocketAddr>);

fn connection<T>(peer: Option<SocketAddr>, io: T, counted: Counted) -> Connection<T> {
    (BoundedStream::new(io, counted), peer)
}

/// Answers are written whole: nothing is won by waiting for more.
fn peer_of(io: &TcpStream) -> Option<SocketAddr> {
    let _ = io.set_nodelay(true);
    io.peer_addr().ok()
}

async fn handshake(
    acceptor: TlsAcceptor,
    io: TcpStream,
    counted: Counted,
) -> Result<Connection<TlsStream<TcpStream>>, DispatchError> {
    let peer = peer_of(&io);
    let shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(io)).await;
    let io = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match io {
        Ok(io) => Ok(connection(peer, io, counted)),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            count_failure("tls_handshake");
            Err(DispatchError::Io(error))
        }
    }
}
