//! Benchmark server with Pingora: passes each request on to one site, with a constant cookie. It
//! reads no session, so its costs are the lower limit for a gateway in Rust.

use std::env;

use anyhow::Context;
use async_trait::async_trait;
use pingora_core::{
    Result, server::Server, server::configuration::ServerConf, upstreams::peer::HttpPeer,
};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Cookies of every session in the gateway comparison.
const COOKIE: &str = "SESSIONID=9f86d081884c7d659a2feaa0c55ad015; club=17; csrf=a3bf4f1b; lang=en";

struct Gateway {
    site_port: u16,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let address = ("127.0.0.1", self.site_port);
        Ok(Box::new(HttpPeer::new(address, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        request.remove_header("Authorization");
        request.insert_header("Cookie", COOKIE)
    }
}

fn main() -> anyhow::Result<()> {
    let mut ports = env::args().skip(1).map(|port| port.parse::<u16>());
    let usage = "usage: pingora-peer PORT SITE_PORT";
    let port = ports.next().context(usage)??;
    let site_port = ports.next().context(usage)??;
    let settings = ServerConf {
        threads: 2,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Gateway { site_port });
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever()
}
