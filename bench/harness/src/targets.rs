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

/// An upper bound for a figure.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) at_most: f64,
    /// A better value that is wished for.
    pub(crate) wish: Option<f64>,
    /// Of the rounds; none if that was not measured.
    pub(crate) measured: Option<Spread>,
    pub(crate) digits: usize,
}

impl Target {
    /// A target for a ratio: two digits, no wish.
    fn ratio(what: String, at_most: f64, measured: Option<Spread>) -> Self {
        Self {
            what,
            at_most,
            wish: None,
            measured,
            digits: 2,
        }
    }

    /// By the median.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.measured?.median <= self.at_most)
    }
}

/// Each of them, with what `results` say.
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

/// The same number of two servers, divided round by round: what slows the machine down slows both.
fn ratio(
    one: Option<&ServerResult>,
    other: Option<&ServerResult>,
    connections: usize,
    value: Value,
) -> Option<Spread> {
    let of_each = |server: &ServerResult| server.each(connections, value);
    divided(&of_each(one?), &of_each(other?))
}

fn divided(ones: &[f64], others: &[f64]) -> Option<Spread> {
    let ratios = ones.iter().zip(others).map(|(one, other)| one / other);
    Spread::of(&ratios.collect::<Vec<_>>())
}

fn at(connections: usize) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    format!("at {connections} connection{plural}")
}

fn of_the_old_binary(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (new, old) = (servers::SLIDING.name, servers::OLD_SLIDING.name);
    for (connections, at_most) in [(64, 1.05), (256, 1.05), (16, 1.15), (1, 1.15)] {
        targets.push(Target::ratio(
            format!(
                "processor time of {new}, of that of {old}, {}",
                at(connections)
            ),
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
        let what = format!("processor time of {own}, of that of {peer}");
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
            format!("processor time of {ours}, of that of the {first}"),
            1.0 / 30.0,
            of_the_first,
        )
    });
}

fn redis(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (ours, actix) = (servers::SLIDING.name, servers::ACTIX_SESSION.name);
    let own = measured.server(ours);
    targets.push(Target {
        digits: 3,
        ..Target::ratio(
            format!("writes to Redis for a request of {ours}"),
            0.1,
            own.and_then(|own| Spread::of(&own.each(AT, Load::reads))),
        )
    });
    targets.push(Target::ratio(
        format!("processor time of Redis for {ours}, of that for {actix}"),
        0.9,
        ratio(own, measured.server(actix), AT, Load::redis_cpu),
    ));
}

fn latency(measured: &SideBySide, targets: &mut Vec<Target>) {
    let (ours, old) = (servers::SLIDING.name, servers::OLD_SLIDING.name);
    let own = measured.server(ours);
    targets.push(Target::ratio(
        format!("p50 of {ours} {}, of that of {old}", at(1)),
        1.25,
        ratio(own, measured.server(old), 1, |load| load.wrk.p50_us as f64),
    ));
    let p99 = |server: &ServerResult| server.each(AT, |load| load.wrk.p99_us as f64);
    let peers = REDIS_BACKED
        .into_iter()
        .filter_map(|peer| measured.server(peer));
    // The best one of each round.
    let best = peers.map(p99).reduce(|best, other| {
        let pairs = best.iter().zip(&other);
        pairs.map(|(best, other)| best.min(*other)).collect()
    });
    let of_the_best = own
        .zip(best)
        .and_then(|(own, best)| divided(&p99(own), &best));
    targets.push(Target::ratio(
        format!(
            "p99 of {ours} {}, of that of the best peer with Redis",
            at(AT)
        ),
        1.0,
        of_the_best,
    ));
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
    for (what, at_most, values) in [
        (
            "milliseconds from the start to the first answer",
            25.0,
            start,
        ),
        ("MiB resident after the load", 24.0, resident),
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
    for (writer, at_most) in [(servers::PLAIN.name, 1.0), (servers::SLIDING.name, 0.9)] {
        // Of as many sessions: Redis's tables grow by doubling.
        let of_as_many = first_service.and_then(|first| {
            let own = of(writer).find(|own| own.sessions == first.sessions)?;
            Spread::of(&[own.bytes_each / first.bytes_each])
        });
        targets.push(Target {
            what: format!("memory of Redis for a session of {writer}, of that for one of the first service (Python)"),
            at_most,
            wish: None,
            measured: of_as_many,
            digits: 2,
        });
    }
    targets.push(Target {
        what: "milliseconds until another instance with a near cache sees a logout, p99".to_owned(),
        at_most: 50.0,
        wish: None,
        measured: scale
            .near_cache
            .as_ref()
            .and_then(|cache| Spread::of(&[cache.revocation.p99_us as f64 / 1e3])),
        digits: 1,
    });
    targets.push(Target {
        what: "bytes of memory for a session in the near cache".to_owned(),
        at_most: 700.0,
        wish: None,
        measured: scale
            .near_cache
            .as_ref()
            .and_then(|cache| Spread::of(&[cache.bytes_each])),
        digits: 0,
    });
}
