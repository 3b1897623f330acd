//! Benchmark server with Actix Web and a constant response, which has the same size as the
//! responses of the other servers. Its throughput is the upper limit in the comparison.

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use tee_session_bench_content::{Login, Stored, WORKERS, arguments};

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let (port, _) = arguments().context("usage: actix-constant PORT REDIS_URL")?;
    let body = web::Bytes::from(serde_json::to_vec(&Stored::new(Login::sample()).answer())?);
    let app = move || {
        let body = body.clone();
        let read = web::get().to(move || {
            let body = body.clone();
            async {
                HttpResponse::Ok()
                    .content_type("application/json")
                    .body(body)
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
