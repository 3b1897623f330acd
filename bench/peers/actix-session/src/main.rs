//! Actix with actix-session: a signed cookie, Redis, a time to live that each request extends.

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
    // A connection that reconnects by itself and is shared, as its documentation has it.
    let store = RedisSessionStore::new(redis_url).await?;
    // The same at each start: cookies outlive the process.
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
