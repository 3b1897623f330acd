//! Performance targets of Tee Session, compared with the results.

use crate::{
    load::Load,
    results::{Results, SideBySide},
    scale::Scale,
    server_result::ServerResult,
    servers,
    statistics::Spread,
};

/// Number of connections at which most targets are measured.
const AT: usize = 64;

/// Names of the other servers that read each session from Redis.
const REDIS_BACKED: [&str; 4] = [
    servers::ACTIX_SESSION.name,
    servers::TOWER_SESSIONS.name,
    servers::NGINX.name,
    servers::FIRST_SERVICE.name,
];

/// Function that returns one figure of a measurement, such as the CPU time per request.
type Value = fn(&Load) -> f64;

/// A performance target: the maximum value of a measured figure.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) at_most: f64,
    /// Desired value, which is lower than the maximum. `None` if there is no desired value.
    pub(crate) wish: Option<f64>,
    /// Median, minimum and maximum of the measured values. `None` if the figure was not measured.
    pub(crate) measured: Option<Spread>,
    pub(crate) digits: usize,
}

impl Target {
    /// Creates a target for the ratio of two figures, with two decimal places and no desired value.
    pub(crate) fn ratio(what: String, at_most: f64, measured: Option<Spread>) -> Self {
        Self {
            what,
            at_most,
            wish: None,
            measured,
            digits: 2,
        }
    }

    /// Returns `true` if the measured median is at most the maximum. Returns `None` if the figure
    /// was not measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.measured?.median <= self.at_most)
    }
}

/// Returns all targets of the service with their measured values. The targets of the gateway are
/// not included.
pub(crate) fn all(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(measured) = &results.side_by_side {
        of_the_old_binary(measured, &mut targets);
        of_peers(measured, &mut targets);
        redis(measured, &mut targets);
        latency(measured, &mut targets);
        footprint(measured, &mut targets);
    }
    if let Some(scale) = &results.scale {
        memory(scale, &mut targets);
    }
    targets
}

/// Divides a figure of server `one` by the same figure of server `other` in each round. Returns
/// median, minimum and maximum of the ratios, or `None` if a server was not measured. A slow phase
/// of the machine affects both servers of a round, so it hardly changes their ratio.
pub(crate) fn ratio(
    one: Option<&ServerResult>,
    other: Option<&ServerResult>,
    connections: usize,
    value: Value,
) -> Option<Spread> {
    let of_each = |server: &ServerResult| server.each(connections, value);
    divided(&of_each(one?), &of_each(other?))
}

/// Divides each value of `ones` by the value at the same position in `others`. Returns median,
/// minimum and maximum of the ratios, or `None` if there are no ratios.
fn divided(ones: &[f64], others: &[f64]) -> Option<Spread> {
    let ratios = ones.iter().zip(others).map(|(one, other)| one / other);
    Spread::of(&ratios.collect::<Vec<_>>())
}

/// Formats a number of connections for the name of a target: `at 64 connections`.
fn at(connections: usize) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    format!("at {connections} connection{plural}")
}

/// Adds targets for the CPU time of the current binary, relative to the binary of commit 9cb3a1f.
fn of_the_old_binary(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (new, old) = (servers::SLIDING.name, servers::OLD_SLIDING.name);
    for (connections, at_most) in [(64, 1.05), (256, 1.05), (16, 1.15), (1, 1.15)] {
        targets.push(Target::ratio(
            format!("CPU time of {new} {}, relative to {old}", at(connections)),
            at_most,
            ratio(
                measured.server(new),
                measured.server(old),
                connections,
                Load::server_cpu,
            ),
        ));
    }
}

/// Adds targets for the CPU time of Tee Session, relative to other servers.
fn of_peers(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (ours, constant) = (servers::SLIDING.name, servers::CONSTANT.name);
    let demands = [
        (ours, constant, 2.0, Some(1.9)),
        (servers::TOUCH.name, constant, 1.9, Some(1.7)),
        (servers::NEAR_CACHE.name, constant, 1.6, Some(1.4)),
        (ours, servers::ACTIX_SESSION.name, 0.68, None),
        (ours, servers::TOWER_SESSIONS.name, 0.45, None),
        (ours, servers::NGINX.name, 0.75, None),
    ];
    for (own, peer, at_most, wish) in demands {
        let measured = ratio(
            measured.server(own),
            measured.server(peer),
            AT,
            Load::server_cpu,
        );
        let what = format!("CPU time of {own}, relative to {peer}");
        targets.push(Target {
            wish,
            ..Target::ratio(what, at_most, measured)
        });
    }
    let first = servers::FIRST_SERVICE.name;
    let of_the_first = ratio(
        measured.server(ours),
        measured.server(first),
        AT,
        Load::server_cpu,
    );
    targets.push(Target {
        digits: 4,
        ..Target::ratio(
            format!("CPU time of {ours}, relative to the {first}"),
            1.0 / 30.0,
            of_the_first,
        )
    });
}

/// Adds targets for the socket reads and the CPU time that Tee Session causes in Redis.
fn redis(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (ours, actix) = (servers::SLIDING.name, servers::ACTIX_SESSION.name);
    let own = measured.server(ours);
    targets.push(Target {
        digits: 3,
        ..Target::ratio(
            format!("Redis reads per request of {ours}"),
            0.1,
            own.and_then(|own| Spread::of(&own.each(AT, Load::reads))),
        )
    });
    targets.push(Target::ratio(
        format!("CPU time of Redis with {ours}, relative to {actix}"),
        0.9,
        ratio(own, measured.server(actix), AT, Load::redis_cpu),
    ));
}

/// Adds targets for the latency of Tee Session, relative to the old binary and to other servers.
fn latency(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (ours, old) = (servers::SLIDING.name, servers::OLD_SLIDING.name);
    let own = measured.server(ours);
    targets.push(Target::ratio(
        format!("p50 of {ours} {}, relative to {old}", at(1)),
        1.25,
        ratio(own, measured.server(old), 1, |load| load.wrk.p50_us as f64),
    ));
    let p99 = |server: &ServerResult| server.each(AT, |load| load.wrk.p99_us as f64);
    let peers = REDIS_BACKED
        .into_iter()
        .filter_map(|peer| measured.server(peer));
    // Contains the lowest p99 of all other servers in each round.
    let best = peers.map(p99).reduce(|best, other| {
        let pairs = best.iter().zip(&other);
        pairs.map(|(best, other)| best.min(*other)).collect()
    });
    let of_the_best = own
        .zip(best)
        .and_then(|(own, best)| divided(&p99(own), &best));
    targets.push(Target::ratio(
        format!(
            "p99 of {ours} {}, relative to the best other server with Redis",
            at(AT)
        ),
        1.0,
        of_the_best,
    ));
}

/// Adds targets for the start time and the resident memory of Tee Session.
fn footprint(measured: &SideBySide, targets: &mut Vec<Target>) {
    let own = measured.server(servers::SLIDING.name);
    let rounds = own.map(|own| own.rounds.as_slice()).unwrap_or_default();
    let start: Vec<_> = rounds
        .iter()
        .map(|round| round.start_us as f64 / 1e3)
        .collect();
    let resident: Vec<_> = rounds
        .iter()
        .map(|round| mebibytes(round.resident_bytes))
        .collect();
    for (what, at_most, values) in [
        ("milliseconds from start to first response", 25.0, start),
        ("MiB of resident memory after the load", 24.0, resident),
    ] {
        targets.push(Target {
            what: format!("{what}, {}", servers::SLIDING.name),
            at_most,
            wish: None,
            measured: Spread::of(&values),
            digits: 1,
        });
    }
}

/// Converts bytes to MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Adds targets for the memory of a session in Redis, the memory of a session in the near cache,
/// and the delay until another instance with a near cache rejects a deleted session.
fn memory(scale: &Scale, targets: &mut Vec<Target>) {
    let of = |writer: &'static str| {
        scale
            .memory
            .iter()
            .filter(move |record| record.writer == writer)
    };
    let first_service = of(servers::FIRST_SERVICE.name).next();
    for (writer, at_most) in [(servers::PLAIN.name, 1.0), (servers::SLIDING.name, 0.9)] {
        // Compares only equal numbers of sessions. The memory per session depends on the number,
        // because the hash tables of Redis grow by doubling.
        let measured = first_service.and_then(|first| {
            let own = of(writer).find(|own| own.sessions == first.sessions)?;
            Spread::of(&[own.bytes_each / first.bytes_each])
        });
        targets.push(Target {
            what: format!(
                "Redis memory per session of {writer}, relative to the first service (Python)"
            ),
            at_most,
            wish: None,
            measured,
            digits: 2,
        });
    }
    targets.push(Target {
        what: "milliseconds from a logout until another instance with a near cache rejects the \
               session, p99"
            .to_owned(),
        at_most: 50.0,
        wish: None,
        measured: scale
            .near_cache
            .as_ref()
            .and_then(|cache| Spread::of(&[cache.revocation.p99_us as f64 / 1e3])),
        digits: 1,
    });
    targets.push(Target {
        what: "bytes of memory per session in the near cache".to_owned(),
        at_most: 700.0,
        wish: None,
        measured: scale
            .near_cache
            .as_ref()
            .and_then(|cache| Spread::of(&[cache.bytes_each])),
        digits: 0,
    });
}
