//! Performance targets of the gateway, compared with the results.

use super::{
    Gateways, PageResult,
    peers::{CADDY, DIRECT, ENVOY, FIRST_SERVICE, MITMPROXY, NGINX, NGINX_LUA, PINGORA, SERVICE},
};
use crate::{
    load::Load,
    results::ServerResult,
    statistics::Spread,
    targets::{Target, ratio},
};

/// Returns the targets of the gateway with their measured values.
pub(crate) fn targets(measured: &Gateways) -> Vec<Target> {
    let [small, medium, large] = &measured.pages[..] else {
        return Vec::new();
    };
    // Gateways that read sessions make Redis work too.
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
        measured: small.added(value),
        digits: 0,
    });
    ratios.into_iter().chain(added).collect()
}

impl PageResult {
    pub(crate) fn gateway(&self, name: &str) -> Option<&ServerResult> {
        self.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// Describes the size of the page.
    pub(crate) fn describe(&self) -> String {
        match self.page.bytes / 1_024 {
            kibibytes @ ..1_024 => format!("{kibibytes} KiB"),
            kibibytes => format!("{} MiB", kibibytes / 1_024),
        }
    }

    /// Returns the difference between a call through Tee Session and a direct call, at one
    /// connection.
    fn added(&self, value: fn(&Load) -> f64) -> Option<Spread> {
        let ours = self.gateway(SERVICE)?.each(1, value);
        let direct = self.gateway(DIRECT)?.each(1, value);
        let added = ours.iter().zip(&direct).map(|(ours, direct)| ours - direct);
        Spread::of(&added.collect::<Vec<_>>())
    }
}
