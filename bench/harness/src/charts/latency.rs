//! Line chart of the latency of requests by number of connections.

use plotters::prelude::*;

use super::canvas::{Align, Canvas, Chart, GRID, LABEL, NOTE, STRONG, TITLE, WIDTH};
use crate::{load::Load, results::SideBySide, servers, statistics::Spread};

const HEIGHT: i32 = 512;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 376.0;
const PANELS: [(f64, f64); 2] = [(70.0, 390.0), (462.0, WIDTH as f64 - 18.0)];

/// Servers in the chart, each with the color of its line. Further configurations of Tee Session are
/// omitted, because their lines would be close to the line of [`servers::SLIDING`].
const SHOWN: [(&str, RGBColor); 7] = [
    (servers::SLIDING.name, RGBColor(29, 78, 216)),
    (servers::NEAR_CACHE.name, RGBColor(14, 165, 233)),
    (servers::ACTIX_SESSION.name, RGBColor(220, 38, 38)),
    (servers::TOWER_SESSIONS.name, RGBColor(147, 51, 234)),
    (servers::NGINX.name, RGBColor(22, 163, 74)),
    (servers::FIRST_SERVICE.name, RGBColor(202, 138, 4)),
    (servers::CONSTANT.name, RGBColor(148, 163, 184)),
];

/// Lines of one server: one for p50 and one for p99.
struct Line {
    name: &'static str,
    color: RGBColor,
    /// Latencies in milliseconds: one list for p50 and one for p99. Each list has one value for
    /// each number of connections.
    percentiles: [Vec<f64>; 2],
}

/// Line chart of the latency, with one panel for p50 and one for p99.
pub(super) struct Latency {
    connections: Vec<usize>,
    lines: Vec<Line>,
    /// Range of the logarithmic latency axis, as powers of ten of milliseconds: `(-1, 3)` is 0.1 ms
    /// to 1 s.
    decades: (i32, i32),
}

impl Latency {
    pub(super) fn of(results: &SideBySide) -> Self {
        let mut connections: Vec<_> = results.plan.iter().map(|stage| stage.connections).collect();
        connections.sort_unstable();
        let lines: Vec<_> = SHOWN
            .into_iter()
            .filter_map(|(name, color)| {
                let server = results.server(name)?;
                let line = |value: fn(&Load) -> u64| {
                    let at = connections.iter().filter_map(|connections| {
                        let values = server.each(*connections, |load| value(load) as f64 / 1e3);
                        Spread::of(&values).map(|spread| spread.median)
                    });
                    at.collect()
                };
                let percentiles = [line(|load| load.wrk.p50_us), line(|load| load.wrk.p99_us)];
                Some(Line {
                    name,
                    color,
                    percentiles,
                })
            })
            .collect();
        let all = lines
            .iter()
            .flat_map(|line| line.percentiles.iter().flatten());
        let (least, most) = all.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(*value), most.max(*value))
        });
        let decades = (least.log10().floor() as i32, most.log10().ceil() as i32);
        Self {
            connections,
            lines,
            decades,
        }
    }

    fn x(&self, (left, right): (f64, f64), number: usize) -> f64 {
        let steps = self.connections.len().saturating_sub(1).max(1);
        left + 14.0 + (right - left - 28.0) * number as f64 / steps as f64
    }

    fn y(&self, milliseconds: f64) -> f64 {
        let (low, high) = (f64::from(self.decades.0), f64::from(self.decades.1));
        BOTTOM - (BOTTOM - TOP) * (milliseconds.log10() - low) / (high - low)
    }

    /// Draws the panel of one percentile: `number` is 0 for p50 and 1 for p99. `panel` contains the
    /// x coordinates of the left and the right edge of the panel.
    fn panel(&self, canvas: &Canvas<'_>, panel: (f64, f64), number: usize) -> anyhow::Result<()> {
        let (left, right) = panel;
        let name = ["median (p50)", "99th percentile (p99)"][number];
        canvas.text(name, (left, TOP - 18.0), Align::Left, STRONG)?;
        for decade in self.decades.0..=self.decades.1 {
            let value = 10_f64.powi(decade);
            let y = self.y(value);
            canvas.line(&[(left, y), (right, y)], GRID, 1.5)?;
            canvas.text(&format!("{value} ms"), (left - 8.0, y), Align::Right, NOTE)?;
        }
        for (number, connections) in self.connections.iter().enumerate() {
            let at = (self.x(panel, number), BOTTOM + 16.0);
            canvas.text(&connections.to_string(), at, Align::Middle, NOTE)?;
        }
        canvas.text(
            "connections",
            (f64::midpoint(left, right), BOTTOM + 36.0),
            Align::Middle,
            NOTE,
        )?;
        // Draws the lines in reverse order, so that the line of Tee Session covers the others.
        for line in self.lines.iter().rev() {
            let points = line.percentiles[number].iter().enumerate();
            let points: Vec<_> = points
                .map(|(at, value)| (self.x(panel, at), self.y(*value)))
                .collect();
            canvas.line(&points, line.color, 2.5)?;
            for point in points {
                canvas.dot(point, line.color)?;
            }
        }
        Ok(())
    }
}

impl Chart for Latency {
    fn height(&self) -> i32 {
        HEIGHT
    }

    fn draw(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        canvas.text("Latency", (20.0, 26.0), Align::Left, TITLE)?;
        let note = "milliseconds, logarithmic; \
                    each connection sends its next request after the response";
        canvas.text(note, (20.0, 51.0), Align::Left, NOTE)?;
        for (number, panel) in PANELS.into_iter().enumerate() {
            self.panel(canvas, panel, number)?;
        }
        for (number, line) in self.lines.iter().enumerate() {
            let x = 24.0 + 262.0 * (number % 3) as f64;
            let y = BOTTOM + 64.0 + 23.0 * (number / 3) as f64;
            canvas.line(&[(x, y), (x + 22.0, y)], line.color, 3.0)?;
            canvas.dot((x + 11.0, y), line.color)?;
            canvas.text(line.name, (x + 30.0, y), Align::Left, LABEL)?;
        }
        Ok(())
    }
}
