//! The ceiling: Actix that answers a constant, of the size that the others answer with.

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use tee_session_bench_content::{Login, Stored, WORKERS, arguments};

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let (port, _) = arguments().context("usage: actix-constant PORT REDIS_URL")?;
    let answer = web::Bytes::from(serde_json::to_vec(&Stored::new(Login::sample()).answer())?);
    let app = move || {
        let answer = answer.clone();
        let read = web::get().to(move || {
            let answer = answer.clone();
            async {
                HttpResponse::Ok()
                    .content_type("application/json")
                    .body(answer)
            }
        });
        App::new().route("/v1/session", read)
    };
    HttpServer::new(app)
        .workers(WORKERS)
        .tcp_nodelay(true)
        .bind(("127.0.0.1", port))?
        .run()
        .await?;
    Ok(())
}
