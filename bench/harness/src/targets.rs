//! What the service wants to be, set against what was measured.

use crate::{
    results::{Load, Results, ServerResult, SideBySide},
    scale::Scale,
    servers,
    statistics::Spread,
};

/// The connections that most targets are about.
const AT: usize = 64;

/// Servers that ask Redis for each answer, and are not ours.
const REDIS_BACKED: [&str; 4] = [
    servers::ACTIX_SESSION.name,
    servers::TOWER_SESSIONS.name,
    servers::NGINX.name,
    servers::FIRST_SERVICE.name,
];

/// A number of a load.
type Value = fn(&Load) -> f64;

/// One of them.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    /// Of the rounds; none if that was not measured.
    pub(crate) measured: Option<Spread>,
    pub(crate) digits: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// By the median.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let median = self.measured?.median;
        Some(match self.bound {
            Bound::AtMost(bound) => median <= bound,
            Bound::AtLeast(bound) => median >= bound,
        })
    }
}

/// Each of them, with what `results` say.
pub(crate) fn all(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(measured) = &results.side_by_side {
        processor(measured, &mut targets);
        latency(measured, &mut targets);
        footprint(measured, &mut targets);
    }
    if let Some(scale) = &results.scale {
        memory(scale, &mut targets);
    }
    targets
}

/// The same number of two servers, divided round by round: what slows the machine down slows both.
fn ratio(one: Option<&ServerResult>, other: Option<&ServerResult>, value: Value) -> Option<Spread> {
    let (one, other) = (one?.each(AT, value), other?.each(AT, value));
    let ratios: Vec<_> = one
        .iter()
        .zip(&other)
        .map(|(one, other)| one / other)
        .collect();
    Spread::of(&ratios)
}

fn processor(measured: &SideBySide, targets: &mut Vec<Target>) {
    let peers = [
        servers::CONSTANT.name,
        servers::ACTIX_SESSION.name,
        servers::TOWER_SESSIONS.name,
        servers::NGINX.name,
    ];
    let demands: [(&str, &[f64], f64); 3] = [
        (servers::SLIDING.name, &[1.9, 0.68, 0.52, 0.6], 30.0),
        (servers::TOUCH.name, &[1.7, 0.6, 0.45, 0.5], 35.0),
        (servers::NEAR_CACHE.name, &[1.25], f64::NAN),
    ];
    for (ours, bounds, of_first_service) in demands {
        let own = measured.server(ours);
        for (peer, bound) in peers.into_iter().zip(bounds) {
            targets.push(Target {
                what: format!("processor time of {ours}, of that of {peer}"),
                bound: Bound::AtMost(*bound),
                measured: ratio(own, measured.server(peer), Load::server_cpu),
                digits: 2,
            });
        }
        if of_first_service.is_finite() {
            let first_service = measured.server(servers::FIRST_SERVICE.name);
            targets.push(Target {
                what: format!("processor time of the first service (Python), of that of {ours}"),
                bound: Bound::AtLeast(of_first_service),
                measured: ratio(first_service, own, Load::server_cpu),
                digits: 1,
            });
        }
    }
    let (sliding, actix) = (servers::SLIDING.name, servers::ACTIX_SESSION.name);
    targets.push(Target {
        what: format!("processor time of Redis for {sliding}, of that for {actix}"),
        bound: Bound::AtMost(0.75),
        measured: ratio(
            measured.server(sliding),
            measured.server(actix),
            Load::redis_cpu,
        ),
        digits: 2,
    });
    let near_cache = measured.server(servers::NEAR_CACHE.name);
    targets.push(Target {
        what: format!(
            "Redis commands for a request of {}",
            servers::NEAR_CACHE.name
        ),
        bound: Bound::AtMost(0.05),
        measured: near_cache.and_then(|server| Spread::of(&server.each(AT, Load::commands))),
        digits: 3,
    });
}

fn latency(measured: &SideBySide, targets: &mut Vec<Target>) {
    let demands: [(&str, usize, Value); 3] = [
        ("p99", 64, |load| load.wrk.p99_us as f64),
        ("p99", 256, |load| load.wrk.p99_us as f64),
        ("p50", 1, |load| load.wrk.p50_us as f64),
    ];
    for (name, connections, value) in demands {
        let of = |server: &ServerResult| server.each(connections, value);
        let peers: Vec<_> = REDIS_BACKED
            .into_iter()
            .filter_map(|peer| Some(of(measured.server(peer)?)))
            .collect();
        let own = measured.server(servers::SLIDING.name).map(of);
        let ratios = own.filter(|_| !peers.is_empty()).map(|own| {
            let best = |round| {
                peers
                    .iter()
                    .filter_map(|peer| peer.get(round))
                    .copied()
                    .fold(f64::MAX, f64::min)
            };
            let ratios = own.iter().enumerate().map(|(round, own)| own / best(round));
            ratios.collect::<Vec<_>>()
        });
        let plural = if connections == 1 { "" } else { "s" };
        targets.push(Target {
            what: format!(
                "{name} of {} at {connections} connection{plural}, of that of the best peer with Redis",
                servers::SLIDING.name
            ),
            bound: Bound::AtMost(1.0),
            measured: ratios.and_then(|ratios| Spread::of(&ratios)),
            digits: 2,
        });
    }
}

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
    for (what, bound, values) in [
        (
            "milliseconds from the start to the first answer",
            25.0,
            start,
        ),
        ("MiB resident after the load", 24.0, resident),
    ] {
        targets.push(Target {
            what: format!("{what}, {}", servers::SLIDING.name),
            bound: Bound::AtMost(bound),
            measured: Spread::of(&values),
            digits: 1,
        });
    }
}

/// What tells how much a program takes.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn memory(scale: &Scale, targets: &mut Vec<Target>) {
    let of = |writer: &'static str| {
        scale
            .memory
            .iter()
            .filter(move |record| record.writer == writer)
    };
    let first_service = of(servers::FIRST_SERVICE.name).next();
    for (writer, bound) in [(servers::PLAIN.name, 1.0), (servers::SLIDING.name, 0.9)] {
        // Of as many sessions: Redis's tables grow by doubling.
        let of_as_many = first_service.and_then(|first| {
            let own = of(writer).find(|own| own.sessions == first.sessions)?;
            Spread::of(&[own.bytes_each / first.bytes_each])
        });
        targets.push(Target {
            what: format!("memory of Redis for a session of {writer}, of that for one of the first service (Python)"),
            bound: Bound::AtMost(bound),
            measured: of_as_many,
            digits: 2,
        });
    }
    targets.push(Target {
        what: "milliseconds until another instance with a near cache sees a logout, p99".to_owned(),
        bound: Bound::AtMost(50.0),
        measured: scale
            .near_cache
            .as_ref()
            .and_then(|cache| Spread::of(&[cache.revocation.p99_us as f64 / 1e3])),
        digits: 1,
    });
    targets.push(Target {
        what: "bytes of memory for a session in the near cache".to_owned(),
        bound: Bound::AtMost(700.0),
        measured: scale
            .near_cache
            .as_ref()
            .and_then(|cache| Spread::of(&[cache.bytes_each])),
        digits: 0,
    });
}
