//! Example of an application with a route that `BearerAuth` protects, on the embedded store.
//!
//! ```sh
//! cargo run -p tee-session-auth-middleware --example protected_app -- 8080
//! TOKEN=$(curl -s -X POST localhost:8080/login)
//! curl -H "Authorization: Bearer $TOKEN" localhost:8080/members
//! ```

use std::{env, io};

use actix_web::{App, HttpResponse, HttpServer, error, web};
use tee_session_auth_middleware::{BearerAuth, CurrentSession};
use tee_session_domain::{BaseUrl, Cookies, SessionManager, SessionPolicy};
use tee_session_memory_adapter::MemoryRepository;

type Sessions = SessionManager<MemoryRepository>;

/// Simulates a login at the upstream site: stores the cookies of the upstream site and returns a
/// session token.
async fn login(sessions: web::Data<Sessions>) -> actix_web::Result<String> {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]);
    let base_url = BaseUrl::new("https://golf.example").map_err(error::ErrorBadRequest)?;
    let cookies = cookies.map_err(error::ErrorBadRequest)?;
    let new = sessions.store(cookies, base_url).await;
    let new = new.map_err(error::ErrorServiceUnavailable)?;
    Ok(new.token.expose_secret().to_owned())
}

async fn members(session: CurrentSession) -> HttpResponse {
    let site = session.session.base_url.as_str();
    HttpResponse::Ok().body(format!(
        "logged in at {site}, session {}\n",
        session.session_id()
    ))
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let port = env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(8080);
    let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
    let sessions = web::Data::new(sessions);
    HttpServer::new(move || {
        let auth = BearerAuth::new(sessions.clone());
        App::new()
            .app_data(sessions.clone())
            .route("/login", web::post().to(login))
            .route("/members", web::get().to(members).wrap(auth))
    })
    .workers(1)
    .bind(("127.0.0.1", port))?
    .run()
    .await
}
