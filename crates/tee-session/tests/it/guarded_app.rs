//! A web app behind a gateway, for the tests of the gateways. The response of the app describes the
//! request that the app received.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    rt::System,
    web::{self, Bytes, Data, PayloadConfig},
};
use serde_json::json;

const MAX_BODY_BYTES: usize = 16 * 1_024 * 1_024;

/// Path of requests that the test app answers with the status 500.
pub(crate) const BROKEN: &str = "/broken";

/// A running app on a free port. Dropping the value stops the app.
pub(crate) struct GuardedApp {
    pub(crate) address: SocketAddr,
    served: Arc<AtomicUsize>,
    server: ServerHandle,
}

impl GuardedApp {
    pub(crate) fn start() -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let (started, app) = mpsc::channel();
        let count = Data::from(Arc::clone(&served));
        thread::spawn(move || {
            System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(count.clone())
                        .app_data(PayloadConfig::new(MAX_BODY_BYTES))
                        .default_service(web::to(echo))
                };
                let server = HttpServer::new(app).workers(1).disable_signals();
                let server = server.bind(("127.0.0.1", 0)).unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                started.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, server) = app.recv().unwrap();
        Self {
            address,
            served,
            server,
        }
    }

    /// Returns the number of requests that the app has received.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for GuardedApp {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn echo(request: HttpRequest, body: Bytes, served: Data<AtomicUsize>) -> HttpResponse {
    served.fetch_add(1, Ordering::Relaxed);
    if request.path() == BROKEN {
        return HttpResponse::InternalServerError().body("the app's own fault");
    }
    let headers = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        json!([name.as_str(), value])
    });
    HttpResponse::Ok().json(json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers.collect::<Vec<_>>(),
        "body_bytes": body.len(),
    }))
}
