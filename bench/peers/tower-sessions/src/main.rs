//! Benchmark server with Axum, tower-sessions and the Redis store of tower-sessions.

use anyhow::Context;
use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use tee_session_bench_content::{Login, Stored, TTL_SECONDS, WORKERS, arguments};
use time::Duration;
use tokio::net::TcpListener;
use tower_sessions::{Expiry, Session, SessionManagerLayer, session::Error};
use tower_sessions_redis_store::{
    RedisStore,
    fred::prelude::{ClientLike, Config, Pool},
};

/// Name of the entry in the session that contains the data of the benchmark.
const MEMBER: &str = "login";

async fn log_in(session: Session, Json(login): Json<Login>) -> Response {
    match session.insert(MEMBER, Stored::new(login)).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn read(session: Session) -> Response {
    match session.get::<Stored>(MEMBER).await {
        Ok(Some(stored)) => Json(stored.answer()).into_response(),
        Ok(None) => StatusCode::UNAUTHORIZED.into_response(),
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &Error) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
}

async fn serve(port: u16, redis_url: &str) -> anyhow::Result<()> {
    // Creates one Redis connection per worker. Each connection pipelines its commands.
    let redis = Pool::new(Config::from_url(redis_url)?, None, None, None, WORKERS)?;
    redis.init().await?;
    let sessions = SessionManagerLayer::new(RedisStore::new(redis))
        .with_secure(false)
        // Also saves unchanged sessions, so that each read renews the TTL.
        .with_always_save(true)
        .with_expiry(Expiry::OnInactivity(Duration::seconds(TTL_SECONDS.into())));
    let app = Router::new()
        .route("/login", post(log_in))
        .route("/v1/session", get(read))
        .layer(sessions);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let listener = listener.tap_io(|stream| {
        // An error is ignored, because a socket without TCP_NODELAY still works.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let (port, redis_url) = arguments().context("usage: tower-sessions-peer PORT REDIS_URL")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?
        .block_on(serve(port, &redis_url))
}
