//! Performance targets of the gateway, compared with the results.

use super::{
    peers::{
        CADDY, DIRECT, ENVOY, FIRST_SERVICE, MITMPROXY, NGINX, NGINX_LUA, PINGORA, ROTATING,
        SERVICE,
    },
    results::{Gateways, PageResult},
};
use crate::{
    load::Load,
    server_result::ServerResult,
    statistics::Spread,
    targets::{Target, ratio},
};

/// Returns the targets of the gateway with their measured values.
pub(crate) fn targets(measured: &Gateways) -> Vec<Target> {
    let [small, medium, large] = &measured.pages[..] else {
        return Vec::new();
    };
    // Includes the CPU time of Redis, because gateways that read sessions cause work in Redis.
    let all: fn(&Load) -> f64 = |load| load.server_cpu() + load.redis_cpu();
    let cpu: fn(&Load) -> f64 = Load::server_cpu;
    let p99: fn(&Load) -> f64 = |load| load.wrk.p99_us as f64;
    let time_each: fn(&Load) -> f64 = |load| 1.0 / load.per_second();
    let rows = [
        ("CPU time, without Redis,", small, 64, NGINX, 2.0, cpu),
        ("CPU time, without Redis,", small, 64, PINGORA, 1.6, cpu),
        ("CPU time with Redis", small, 64, NGINX_LUA, 0.6, all),
        ("CPU time with Redis", small, 64, CADDY, 0.5, all),
        ("CPU time with Redis", small, 64, ENVOY, 0.8, all),
        ("CPU time with Redis", small, 64, MITMPROXY, 0.05, all),
        ("CPU time with Redis", small, 64, FIRST_SERVICE, 0.05, all),
        ("p99", small, 64, ENVOY, 1.0, p99),
        ("CPU time, without Redis,", medium, 16, NGINX, 2.0, cpu),
        ("CPU time, without Redis,", large, 4, NGINX, 2.0, cpu),
        // 1.25 times the time is 0.8 times the throughput.
        ("time for each answer", medium, 16, NGINX, 1.25, time_each),
        ("time for each answer", large, 4, NGINX, 1.25, time_each),
    ];
    let ratios = rows.map(|(what, page, connections, other, at_most, value)| {
        let what = format!("{what} for {}, relative to {other}", page.describe());
        let (ours, others) = (page.gateway(SERVICE), page.gateway(other));
        Target::ratio(what, at_most, ratio(ours, others, connections, value))
    });
    let added = [
        (
            "p50",
            150.0,
            (|load| load.wrk.p50_us as f64) as fn(&Load) -> f64,
        ),
        ("p99", 1_000.0, p99),
    ];
    let added = added.map(|(what, at_most, value)| Target {
        what: format!("{what} added to a direct call at 1 connection, µs"),
        at_most,
        wish: None,
        measured: small.difference(SERVICE, DIRECT, 1, value),
        digits: 0,
    });
    let service = small
        .gateway(SERVICE)
        .map(|gateway| gateway.each(64, Load::commands));
    let commands = [
        (
            // `GET /v1/session` needs a GET and an EXPIRE, and the EVAL of a batch.
            "Redis commands per request to a site that sets no cookie",
            2.25,
            service.and_then(|commands| Spread::of(&commands)),
        ),
        (
            "Redis commands per request to a site that sets a cookie, added",
            2.0,
            small.difference(ROTATING, SERVICE, 64, Load::commands),
        ),
    ];
    let commands = commands.map(|(what, at_most, measured)| Target {
        what: what.to_owned(),
        at_most,
        wish: None,
        measured,
        digits: 2,
    });
    ratios.into_iter().chain(added).chain(commands).collect()
}

impl PageResult {
    pub(crate) fn gateway(&self, name: &str) -> Option<&ServerResult> {
        self.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// Formats the size of the page, such as `2 KiB`.
    pub(crate) fn describe(&self) -> String {
        match self.page.bytes / 1_024 {
            kibibytes @ ..1_024 => format!("{kibibytes} KiB"),
            kibibytes => format!("{} MiB", kibibytes / 1_024),
        }
    }

    /// Subtracts a figure of the gateway `other` from the same figure of the gateway `one` in each
    /// round. Returns median, minimum and maximum of the differences, or `None` if a gateway was
    /// not measured.
    fn difference(
        &self,
        one: &str,
        other: &str,
        connections: usize,
        value: fn(&Load) -> f64,
    ) -> Option<Spread> {
        let ones = self.gateway(one)?.each(connections, value);
        let others = self.gateway(other)?.each(connections, value);
        let differences = ones.iter().zip(&others).map(|(one, other)| one - other);
        Spread::of(&differences.collect::<Vec<_>>())
    }
}
