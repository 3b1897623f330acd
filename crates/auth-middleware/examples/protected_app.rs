//! Example of an application with a route that `BearerAuth` protects, on the embedded store.
//!
//! ```sh
//! cargo run -p tee-session-auth-middleware --example protected_app -- 8080
//! TOKEN=$(curl -s -X POST localhost:8080/login)
//! curl -H "Authorization: Bearer $TOKEN" localhost:8080/members
//! curl -X POST -H "Authorization: Bearer $TOKEN" localhost:8080/logout
//! ```

use std::{env, error::Error};

use actix_web::{App, HttpResponse, HttpServer, web};
use tee_session_auth_middleware::{AuthError, BearerAuth, BearerToken, CurrentSession};
use tee_session_domain::{Cookies, Login, SessionManager, SessionPolicy};
use tee_session_memory_adapter::MemoryRepository;

type Sessions = SessionManager<MemoryRepository>;

/// Stores the upstream login as a session, and returns a token. While the store is unavailable, `?`
/// makes the response a 503 with `Retry-After`.
async fn log_in(
    sessions: web::Data<Sessions>,
    upstream: web::Data<Login>,
) -> Result<String, AuthError> {
    let new = sessions.store_login(Login::clone(&upstream)).await?;
    Ok(new.token.expose_secret().to_owned())
}

async fn log_out(
    sessions: web::Data<Sessions>,
    token: BearerToken,
) -> Result<HttpResponse, AuthError> {
    sessions.delete(&token).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn members(session: CurrentSession) -> HttpResponse {
    let site = session.session.base_url.as_str();
    HttpResponse::Ok().body(format!(
        "logged in at {site}, session {}\n",
        session.session_id()
    ))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(8080);
    let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
    let sessions = web::Data::new(sessions);
    // A real application logs in at the upstream site for each of its users.
    let cookies = Cookies::from_pairs([("SESSIONID", "a1b2c3")])?;
    let upstream = web::Data::new(Login::new(cookies, "https://golf.example".parse()?));
    HttpServer::new(move || {
        let auth = BearerAuth::new(sessions.clone());
        App::new()
            .app_data(sessions.clone())
            .app_data(upstream.clone())
            .route("/login", web::post().to(log_in))
            .route("/logout", web::post().to(log_out))
            .route("/members", web::get().to(members).wrap(auth))
    })
    .workers(1)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
