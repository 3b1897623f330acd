//! Bar chart of the CPU time of a request in each server and in Redis. The servers are sorted by
//! CPU time, with the lowest first.

use plotters::prelude::*;

use super::canvas::{Align, Canvas, Chart, GRID, LABEL, NOTE, STRONG, TITLE, WIDTH, grid_step};
use crate::{
    gateway::{self, Gateways},
    results::SideBySide,
    server_result::ServerResult,
    servers,
    statistics::Spread,
};

const CONNECTIONS: usize = 64;

const OURS: RGBColor = RGBColor(29, 78, 216);
const OTHERS: RGBColor = RGBColor(148, 163, 184);
const REDIS: RGBColor = RGBColor(249, 115, 22);

const LEFT: f64 = 248.0;
const RIGHT: f64 = WIDTH as f64 - 96.0;
const TOP: f64 = 104.0;
const ROW: f64 = 38.0;
const BAR: f64 = 24.0;

/// Maximum ratio of the longest bar to the second longest bar. If the ratio is higher, the longest
/// bar is truncated, so that the differences between the other bars stay visible.
const OFF_THE_SCALE: f64 = 3.0;

/// Bar of one server: CPU time of a request in the server and in Redis, in microseconds.
struct Bar {
    name: String,
    server: f64,
    redis: f64,
}

impl Bar {
    fn total(&self) -> f64 {
        self.server + self.redis
    }

    fn is_ours(&self) -> bool {
        self.name.starts_with("tee-session")
    }
}

/// Bar chart of the CPU time of a request, with one bar for each server.
pub(super) struct Cpu {
    title: &'static str,
    bars: Vec<Bar>,
    /// Upper end of the axis of the chart, in microseconds.
    max: f64,
}

impl Cpu {
    /// Returns the chart of the servers that return a session.
    pub(super) fn of_servers(results: &SideBySide) -> Self {
        // Omits the binary of commit 9cb3a1f, because users cannot choose that old version.
        let servers = results.servers.iter();
        let servers = servers.filter(|s| !s.name.starts_with(servers::OLD_SLIDING.name));
        Self::of("CPU time per request", servers)
    }

    /// Returns the chart of the gateways that pass a small page on. Returns `None` if there are no
    /// results.
    pub(super) fn of_gateways(results: &Gateways) -> Option<Self> {
        let gateways = results.pages.first()?.gateways.iter();
        let gateways = gateways.filter(|gateway| gateway.name != gateway::DIRECT);
        Some(Self::of("CPU time per request to a site", gateways))
    }

    fn of<'a>(title: &'static str, servers: impl Iterator<Item = &'a ServerResult>) -> Self {
        let mut bars: Vec<_> = servers
            .filter_map(|server| {
                let median = |values: Vec<f64>| Spread::of(&values).map(|spread| spread.median);
                Some(Bar {
                    name: server.name.clone(),
                    server: median(server.each(CONNECTIONS, |load| load.server_cpu()))?,
                    redis: median(server.each(CONNECTIONS, |load| load.redis_cpu()))?,
                })
            })
            .collect();
        bars.sort_by(|a, b| a.total().total_cmp(&b.total()));
        let longest = |bars: &[Bar]| bars.iter().map(Bar::total).fold(0.0, f64::max);
        let mut max = longest(&bars);
        if let Some((last, others)) = bars.split_last()
            && last.total() > OFF_THE_SCALE * longest(others)
            && !others.is_empty()
        {
            max = longest(others) * 1.12;
        }
        Self { title, bars, max }
    }

    fn x(&self, microseconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (microseconds / self.max).min(1.0)
    }

    /// Draws the grid lines, with their values in microseconds.
    fn grid(&self, canvas: &Canvas<'_>, bottom: f64) -> anyhow::Result<()> {
        let step = grid_step(self.max, 6.0);
        let mut value = 0.0;
        while value <= self.max {
            let x = self.x(value);
            canvas.line(&[(x, TOP - 8.0), (x, bottom)], GRID, 1.0)?;
            canvas.text(&format!("{value}"), (x, bottom + 14.0), Align::Middle, NOTE)?;
            value += step;
        }
        Ok(())
    }

    /// Draws one bar, with the name of the server and the total CPU time.
    fn bar(&self, canvas: &Canvas<'_>, bar: &Bar, y: f64) -> anyhow::Result<()> {
        let (top, bottom) = (y - BAR / 2.0, y + BAR / 2.0);
        let color = if bar.is_ours() { OURS } else { OTHERS };
        let name = if bar.is_ours() { STRONG } else { LABEL };
        canvas.text(&bar.name, (LEFT - 12.0, y), Align::Right, name)?;
        let (between, end) = (self.x(bar.server), self.x(bar.total()));
        canvas.rectangle((LEFT, top), (between, bottom), color)?;
        if end >= between + 1.0 {
            canvas.rectangle((between, top), (end, bottom), REDIS)?;
        }
        let digits = usize::from(bar.total() < 99.95);
        if bar.total() > self.max {
            let x = end - 34.0;
            let cut = [
                (x + 6.0, top - 2.0),
                (x + 14.0, top - 2.0),
                (x + 8.0, bottom + 2.0),
                (x, bottom + 2.0),
            ];
            canvas.polygon(&cut, WHITE)?;
        }
        let total = format!("{:.digits$} µs", bar.total());
        // Draws a white background that hides the grid line behind the number.
        canvas.rectangle((end + 4.0, top), (end + 80.0, bottom), WHITE)?;
        canvas.text(&total, (end + 10.0, y), Align::Left, name)
    }
}

impl Chart for Cpu {
    fn height(&self) -> i32 {
        (TOP + ROW * self.bars.len() as f64 + 52.0) as i32
    }

    fn draw(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        canvas.text(self.title, (20.0, 26.0), Align::Left, TITLE)?;
        let note = "microseconds, at 64 connections; lower is better";
        canvas.text(note, (20.0, 51.0), Align::Left, NOTE)?;
        let legend = [
            (OURS, "Tee Session"),
            (OTHERS, "other servers"),
            (REDIS, "Redis"),
        ];
        for ((color, text), x) in legend.into_iter().zip([LEFT, LEFT + 150.0, LEFT + 310.0]) {
            canvas.rectangle((x, 70.0), (x + 14.0, 84.0), color)?;
            canvas.text(text, (x + 22.0, 77.0), Align::Left, LABEL)?;
        }
        let bottom = TOP + ROW * self.bars.len() as f64;
        self.grid(canvas, bottom)?;
        for (number, bar) in self.bars.iter().enumerate() {
            self.bar(canvas, bar, TOP + ROW * (number as f64 + 0.5))?;
        }
        Ok(())
    }
}
