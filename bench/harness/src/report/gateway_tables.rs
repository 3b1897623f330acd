//! Formats the results of the comparison of gateways as Markdown tables.

use std::fmt::Write;

use super::tables;
use crate::{
    gateway::{self, Gateways},
    load::Load,
    server_result::ServerResult,
    statistics::Spread,
};

/// Formats the targets and the results, with one table for each page of the site and each number of
/// connections.
pub(super) fn gateways(measured: &Gateways) -> String {
    let machine = &measured.machine;
    let mut text = format!(
        "{}: {} with {} cores, Linux {}; {} rounds.\n",
        machine.date, machine.processor, machine.cores, machine.kernel, measured.rounds
    );
    text.push('\n');
    text.push_str(&tables::of_targets(gateway::targets(measured)));
    for result in &measured.pages {
        for stage in &result.page.stages {
            let plural = if stage.connections == 1 { "" } else { "s" };
            let _ = write!(
                text,
                "\n### A page of {} at {} connection{plural}\n\n\
                 | gateway | requests/s | p50 µs | p99 µs | CPU µs | Redis CPU µs \
                 | Redis commands |\n|---|--:|--:|--:|--:|--:|--:|\n",
                result.describe(),
                stage.connections
            );
            for gateway in &result.gateways {
                text.push_str(&row(gateway, stage.connections));
            }
        }
    }
    match measured.failed() {
        0 => text.push_str("\nEvery request was answered with 200.\n"),
        failed => {
            let _ = write!(
                text,
                "\n**{failed} requests failed: the figures are not valid.**\n"
            );
        }
    }
    text
}

fn row(gateway: &ServerResult, connections: usize) -> String {
    let cell = |digits: usize, value: fn(&Load) -> f64| {
        let spread = Spread::of(&gateway.each(connections, value));
        spread.map_or_else(|| "-".to_owned(), |spread| spread.format(digits))
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        gateway.name,
        cell(0, Load::per_second),
        cell(0, |load| load.wrk.p50_us as f64),
        cell(0, |load| load.wrk.p99_us as f64),
        cell(1, Load::server_cpu),
        cell(2, Load::redis_cpu),
        cell(2, Load::commands),
    )
}
