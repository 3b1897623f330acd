//! Benchmark server with Actix Web and actix-session. The session key is in a signed cookie, and
//! each request renews the TTL of the session in Redis.

use actix_session::{
    Session, SessionMiddleware,
    config::{PersistentSession, TtlExtensionPolicy},
    storage::RedisSessionStore,
};
use actix_web::{
    App, HttpResponse, HttpServer,
    cookie::{Key, time::Duration},
    web,
};
use anyhow::Context;
use tee_session_bench_content::{Login, Stored, TTL_SECONDS, WORKERS, arguments};

/// Name of the entry in the session that contains the data of the benchmark.
const MEMBER: &str = "login";

async fn log_in(session: Session, login: web::Json<Login>) -> actix_web::Result<HttpResponse> {
    session.insert(MEMBER, Stored::new(login.into_inner()))?;
    Ok(HttpResponse::Created().finish())
}

async fn read(session: Session) -> actix_web::Result<HttpResponse> {
    Ok(match session.get::<Stored>(MEMBER)? {
        Some(stored) => HttpResponse::Ok().json(stored.answer()),
        None => HttpResponse::Unauthorized().finish(),
    })
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let (port, redis_url) = arguments().context("usage: actix-session-peer PORT REDIS_URL")?;
    // All workers share one Redis connection that reconnects automatically, as in the documentation
    // of actix-session.
    let store = RedisSessionStore::new(redis_url).await?;
    // The signing key is fixed, so that cookies stay valid after a restart of the server.
    let key = Key::from(&[7; 64]);
    let app = move || {
        let lifecycle = PersistentSession::default()
            .session_ttl(Duration::seconds(TTL_SECONDS.into()))
            .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_content_security(actix_session::config::CookieContentSecurity::Signed)
            .cookie_secure(false)
            .session_lifecycle(lifecycle)
            .build();
        App::new()
            .wrap(sessions)
            .route("/login", web::post().to(log_in))
            .route("/v1/session", web::get().to(read))
    };
    HttpServer::new(app)
        .workers(WORKERS)
        .tcp_nodelay(true)
        .bind(("127.0.0.1", port))?
        .run()
        .await?;
    Ok(())
}
