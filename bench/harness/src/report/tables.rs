//! Formats the results of the benchmark as Markdown tables.

use std::fmt::Write;

use crate::{
    load::Load,
    results::{Results, SideBySide},
    scale::Scale,
    server_result::ServerResult,
    statistics::Spread,
    targets::{self, Target, mebibytes},
};

/// Formats the date, machine, number of rounds, number of sessions and program versions of a
/// comparison as text.
pub(super) fn machine(measured: &SideBySide) -> String {
    let machine = &measured.machine;
    let versions = machine
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"));
    let versions: Vec<_> = versions.collect();
    let rounds = match measured.rounds {
        1 => "one round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    format!(
        "{}: {} with {} cores and {} GiB of memory, Linux {}; {rounds}, {} sessions in \
         each store. {}.",
        machine.date,
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        measured.sessions,
        versions.join(", "),
    )
}

/// Formats the table of the performance targets of the service.
pub(super) fn targets(results: &Results) -> String {
    of_targets(targets::all(results))
}

/// Formats a table of performance targets: limit, measured value, and whether the target is met.
pub(super) fn of_targets(targets: Vec<Target>) -> String {
    let mut text =
        "| figure | target | desired | measured | result |\n|---|---|---|---|---|\n".to_owned();
    for target in targets {
        let bound = |bound: f64| {
            let text = format!("≤ {bound:.4}");
            let text = text.trim_end_matches('0').trim_end_matches('.');
            text.to_owned()
        };
        let measured = target.measured.map(|spread| spread.format(target.digits));
        let verdict = match target.is_met() {
            Some(true) => "met",
            Some(false) => "**NOT MET**",
            None => "not measured",
        };
        let measured = measured.unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {measured} | {verdict} |",
            target.what,
            bound(target.at_most),
            target.wish.map_or_else(|| "-".to_owned(), bound)
        );
    }
    text
}

/// Formats the results of all servers, with one table for each number of connections. The tables
/// are in the order of the plan.
pub(super) fn side_by_side(measured: &SideBySide) -> String {
    let mut text = String::new();
    for stage in &measured.plan {
        let plural = if stage.connections == 1 { "" } else { "s" };
        let _ = write!(
            text,
            "### {} connection{plural}\n\n\
             | server | requests/s | p50 µs | p99 µs | p99.9 µs | server CPU µs | Redis CPU µs \
             | Redis commands | Redis reads |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            stage.connections
        );
        for server in &measured.servers {
            text.push_str(&row(server, stage.connections));
        }
        if stage.connections == 64 {
            text.push_str(&bare_redis(measured));
        }
        text.push('\n');
    }
    text.push_str(
        "### Start, memory, size\n\n\
         | server | start to first response, ms | resident memory after the load, MiB \
         | program file, MiB | response body, bytes |\n\
         |---|--:|--:|--:|--:|\n",
    );
    for server in &measured.servers {
        text.push_str(&footprint(server));
    }
    for line in &measured.left_out {
        let _ = write!(text, "\nNot measured: {line}.\n");
    }
    if measured.failed() == 0 {
        text.push_str("\nEvery request was answered with 200.\n");
    }
    for server in measured.servers.iter().filter(|s| s.failed() > 0) {
        let _ = write!(
            text,
            "\n**{} requests failed at {}: its figures are not valid.** Requests that took \
             longer than two seconds count as failed.\n",
            server.failed(),
            server.name
        );
    }
    text
}

/// Formats the table row of `server` for measurements at `connections` connections.
fn row(server: &ServerResult, connections: usize) -> String {
    let cell = |digits: usize, value: fn(&Load) -> f64| {
        let spread = Spread::of(&server.each(connections, value));
        spread.map_or_else(|| "-".to_owned(), |spread| spread.format(digits))
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        server.name,
        cell(0, Load::per_second),
        cell(0, |load| load.wrk.p50_us as f64),
        cell(0, |load| load.wrk.p99_us as f64),
        cell(0, |load| load.wrk.p999_us as f64),
        cell(1, Load::server_cpu),
        cell(2, Load::redis_cpu),
        cell(2, Load::commands),
        cell(3, Load::reads),
    )
}

/// Formats the table row of `redis-benchmark`. Returns an empty text if `redis-benchmark` was not
/// run.
fn bare_redis(measured: &SideBySide) -> String {
    let rounds = &measured.bare_redis;
    let cell = |digits: usize, value: fn(&crate::results::BareRedis) -> f64| {
        let values: Vec<_> = rounds.iter().map(value).collect();
        Spread::of(&values).map(|spread| spread.format(digits))
    };
    let (Some(rate), Some(p50), Some(p99), Some(cpu)) = (
        cell(0, |round| round.operations_per_second),
        cell(0, |round| round.p50_us),
        cell(0, |round| round.p99_us),
        cell(2, |round| {
            round.redis_cpu_ns as f64 / 1e3 / round.operations as f64
        }),
    ) else {
        return String::new();
    };
    format!("| redis-benchmark, GETEX | {rate} | {p50} | {p99} | - | - | {cpu} | 1.00 | - |\n")
}

/// Formats the table row of `server` with start time, memory, program size and response size.
fn footprint(server: &ServerResult) -> String {
    let cell = |values: Vec<f64>| {
        Spread::of(&values).map_or_else(|| "-".to_owned(), |spread| spread.format(1))
    };
    let rounds = &server.rounds;
    let size = server
        .binary_bytes
        .map(|bytes| format!("{:.1}", mebibytes(bytes)));
    format!(
        "| {} | {} | {} | {} | {} |\n",
        server.name,
        cell(
            rounds
                .iter()
                .map(|round| round.start_us as f64 / 1e3)
                .collect()
        ),
        cell(
            rounds
                .iter()
                .map(|round| mebibytes(round.resident_bytes))
                .collect()
        ),
        size.unwrap_or_else(|| "-".to_owned()),
        server.answer_bytes,
    )
}

/// Formats the results of a scale run: the costs of Tee Session by number of sessions, the memory
/// of sessions in Redis, and other measurements.
pub(super) fn scale(scale: &Scale) -> String {
    let mut text = format!("Measured on {}", scale.machine.date);
    // Names the commit, because the side-by-side comparison may have measured another commit.
    if let Some((name, commit)) = scale.machine.versions.first() {
        let _ = write!(text, " with {name} {commit}");
    }
    text.push_str(
        ".\n\n| sessions in Redis | server CPU µs | Redis CPU µs | requests/s | p99 µs |\n\
         |--:|--:|--:|--:|--:|\n",
    );
    for cost in &scale.costs {
        let load = &cost.load;
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.2} | {:.0} | {} |",
            cost.sessions,
            load.server_cpu(),
            load.redis_cpu(),
            load.per_second(),
            load.wrk.p99_us
        );
    }
    text.push_str("\n| written by | sessions | Redis bytes per session |\n|---|--:|--:|\n");
    for record in &scale.memory {
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} |",
            record.writer, record.sessions, record.bytes_each
        );
    }
    text.push_str("\n| figure | measured |\n|---|---|\n");
    let writes = [
        ("a login", &scale.write),
        ("a login with an `Idempotency-Key`", &scale.repeatable_write),
    ];
    for (name, write) in writes {
        let _ = writeln!(
            text,
            "| cost of {name}, at {} connections \
             | server CPU {:.1} µs, Redis CPU {:.2} µs, {:.0} logins/s, p99 {} µs |",
            write.connections,
            write.server_cpu(),
            write.redis_cpu(),
            write.per_second(),
            write.wrk.p99_us,
        );
    }
    let _ = writeln!(
        text,
        "| resident memory per idle connection, with {} connections | {:.0} bytes |",
        scale.idle_connections, scale.idle_connection_bytes,
    );
    if let Some(cache) = &scale.near_cache {
        let _ = writeln!(
            text,
            "| resident memory per session in the near cache, with {} of {} sessions cached \
             | {:.0} bytes |",
            cache.kept, cache.sessions, cache.bytes_each
        );
        let _ = writeln!(
            text,
            "| delay from the response to a logout until another instance with a near cache \
             rejects the session | p50 {} µs, p99 {} µs, maximum {} µs of {} logouts |",
            cache.revocation.p50_us,
            cache.revocation.p99_us,
            cache.revocation.worst_us,
            cache.revocation.logouts
        );
    }
    if scale.failed() > 0 {
        let _ = write!(
            text,
            "\n**{} requests failed: the figures are not valid.**\n",
            scale.failed()
        );
    }
    text
}
