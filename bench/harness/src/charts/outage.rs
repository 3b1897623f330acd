//! Chart of the metrics of the service before, during and after an outage of Redis.

use plotters::prelude::*;

use super::canvas::{
    Align, Canvas, Chart, FAINT_INK, GRID, NOTE, STRONG, TITLE, Type, WIDTH, grid_step,
};
use crate::outage::{Recording, Sample};

const HEIGHT: i32 = 828;
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH as f64 - 24.0;
/// Approximate width of a letter in the text style `NOTE`, in pixels.
const LETTER: f64 = 7.2;

const SECONDS_BETWEEN_MARKS: u32 = 10;

/// Time in seconds for which the store must be down before the alert `TeeSessionRedisAway` fires.
/// The alert rule in `deploy/prometheus` contains the same time as `for`.
const ALERT_AFTER: usize = 30;

const SHADE: RGBColor = RGBColor(254, 226, 226);
const ALARM: RGBColor = RGBColor(185, 28, 28);
const GREEN: RGBColor = RGBColor(34, 160, 84);
const BLUE: RGBColor = RGBColor(29, 78, 216);
const RED: RGBColor = RGBColor(220, 38, 38);
const AMBER: RGBColor = RGBColor(202, 138, 4);
const SKY: RGBColor = RGBColor(56, 189, 248);

const IN_ALARM: Type = Type {
    color: ALARM,
    ..NOTE
};

/// Response statuses, each with its name in the legend and its color. The order is the order of the
/// stacked areas from bottom to top.
const STATUSES: [(&str, &str, RGBColor); 3] = [
    ("200", "200 session", GREEN),
    ("201", "201 login", SKY),
    ("503", "503 store_unavailable", RED),
];

/// Vertical position and title of a panel of the chart.
struct Panel {
    top: f64,
    bottom: f64,
    title: &'static str,
}

const REQUESTS: Panel = Panel {
    top: 112.0,
    bottom: 272.0,
    title: "Requests per second, by status",
};
const LATENCY: Panel = Panel {
    top: 328.0,
    bottom: 458.0,
    title: "Latency of look-ups",
};
const STORE: Panel = Panel {
    top: 514.0,
    bottom: 614.0,
    title: "Redis, as two workers see it",
};
const CREATED: Panel = Panel {
    top: 670.0,
    bottom: 758.0,
    title: "Sessions created per second",
};

/// Range of the logarithmic latency axis, as powers of ten of milliseconds: 0.1 ms to 1 s.
const DECADES: (i32, i32) = (-1, 3);

/// Chart of a recorded outage.
pub(super) struct Outage<'a>(pub(super) &'a Recording);

impl Outage<'_> {
    /// Returns each sample except the first, together with its time in seconds and the previous
    /// sample. The order in the tuple is: time, sample, previous sample.
    fn steps(&self) -> impl Iterator<Item = (f64, &Sample, &Sample)> {
        let samples = &self.0.samples;
        let pairs = samples.iter().zip(samples.iter().skip(1));
        pairs
            .enumerate()
            .map(|(number, (earlier, now))| ((number + 1) as f64, now, earlier))
    }

    fn x(&self, second: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * second / f64::from(self.0.plan.end)
    }

    /// Returns the time in seconds at which the alert `TeeSessionRedisAway` fires. Returns `None`
    /// if the store was not down long enough for the alert.
    fn alert(&self) -> Option<usize> {
        let is_down = |sample: &Sample| sample.store_up == 0.0;
        let samples = &self.0.samples;
        let first = samples.iter().position(is_down)?;
        let at = first + ALERT_AFTER;
        (samples.get(first..=at)?.iter().all(is_down)).then_some(at)
    }

    /// Draws the frame of a panel: the shaded time of the outage, the title, and the marks on the
    /// time axis.
    fn frame(&self, canvas: &Canvas<'_>, panel: &Panel) -> anyhow::Result<()> {
        let plan = self.0.plan;
        let (from, to) = (self.x(plan.from.into()), self.x(plan.to.into()));
        canvas.rectangle((from, panel.top), (to, panel.bottom), SHADE)?;
        canvas.text(panel.title, (LEFT, panel.top - 18.0), Align::Left, STRONG)?;
        canvas.line(
            &[(LEFT, panel.bottom), (RIGHT, panel.bottom)],
            FAINT_INK,
            1.0,
        )?;
        for second in (0..=plan.end).step_by(SECONDS_BETWEEN_MARKS as usize) {
            let x = self.x(second.into());
            canvas.line(
                &[(x, panel.bottom), (x, panel.bottom + 4.0)],
                FAINT_INK,
                1.0,
            )?;
        }
        Ok(())
    }

    fn grid(&self, canvas: &Canvas<'_>, y: f64, text: &str) -> anyhow::Result<()> {
        canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 1.0)?;
        canvas.text(text, (LEFT - 8.0, y), Align::Right, NOTE)
    }

    /// Draws the panel with the requests per second by status.
    fn requests(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        let panel = &REQUESTS;
        self.frame(canvas, panel)?;
        let of = |now: &Sample, earlier: &Sample, upto: usize| {
            let statuses = STATUSES[..upto].iter();
            statuses
                .map(|(status, ..)| now.requests_since(earlier, status))
                .sum::<f64>()
        };
        let all = self
            .steps()
            .map(|(_, now, earlier)| of(now, earlier, STATUSES.len()));
        let scale = Scale::linear(panel, all.fold(0.0, f64::max), 4.0);
        for value in scale.marks() {
            self.grid(canvas, scale.y(value), &format!("{value}"))?;
        }
        // Draws the areas from the highest sum to the lowest, so that each area covers the lower
        // part of the area drawn before it.
        for (number, (_, _, color)) in STATUSES.iter().enumerate().rev() {
            let edge = self.steps().map(|(second, now, earlier)| {
                (self.x(second), scale.y(of(now, earlier, number + 1)))
            });
            let mut outline: Vec<_> = edge.collect();
            outline.extend([(RIGHT, panel.bottom), (self.x(1.0), panel.bottom)]);
            canvas.polygon(&outline, *color)?;
        }
        let names = STATUSES.map(|(_, name, color)| (name, color));
        legend(canvas, panel, &names)
    }

    /// Draws the panel with the median and the 99th percentile of the latency.
    fn latency(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        let panel = &LATENCY;
        self.frame(canvas, panel)?;
        let scale = Scale::decades(panel, DECADES);
        for (decade, text) in
            (DECADES.0..=DECADES.1).zip(["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s"])
        {
            self.grid(canvas, scale.y(10_f64.powi(decade)), text)?;
        }
        for (quantile, color) in [(0.5, BLUE), (0.99, AMBER)] {
            let points = self.steps().filter_map(|(second, now, earlier)| {
                let time = now.quantile_since(earlier, quantile)?;
                Some((self.x(second), scale.y(time * 1e3)))
            });
            canvas.line(&points.collect::<Vec<_>>(), color, 2.5)?;
        }
        legend(
            canvas,
            panel,
            &[("median (p50)", BLUE), ("99th percentile (p99)", AMBER)],
        )
    }

    /// Draws the panel with the number of Redis connections, the number of open circuit breakers
    /// and the state of the store.
    fn store(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        type Value = fn(&Sample) -> f64;
        const LINES: [(&str, RGBColor, Value); 3] = [
            ("connections up", BLUE, |sample| sample.redis_connections),
            ("breakers open", AMBER, |sample| sample.breakers_open),
            ("store up", GREEN, |sample| sample.store_up),
        ];
        let panel = &STORE;
        self.frame(canvas, panel)?;
        let scale = Scale::linear(panel, 2.0, 2.0);
        for value in scale.marks() {
            self.grid(canvas, scale.y(value), &format!("{value}"))?;
        }
        for (number, (_, color, value)) in LINES.into_iter().enumerate() {
            let mut points = Vec::new();
            // Shifts each line by a small offset, so that lines with equal values stay visible.
            let offset = 3.0 * (number as f64 - 1.0);
            for (second, sample) in self.0.samples.iter().enumerate() {
                let (x, y) = (self.x(second as f64), scale.y(value(sample)) + offset);
                if let Some((_, before)) = points.last() {
                    points.push((x, *before));
                }
                points.push((x, y));
            }
            canvas.line(&points, color, 2.5)?;
        }
        if let Some(second) = self.alert() {
            let x = self.x(second as f64);
            canvas.line(&[(x, panel.top), (x, panel.bottom)], ALARM, 1.5)?;
            let at = (x - 8.0, panel.top + 30.0);
            canvas.text("TeeSessionRedisAway pages", at, Align::Right, IN_ALARM)?;
        }
        legend(canvas, panel, &LINES.map(|(name, color, _)| (name, color)))
    }

    /// Draws the panel with the sessions created per second.
    fn created(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        let panel = &CREATED;
        self.frame(canvas, panel)?;
        let created =
            |now: &Sample, earlier: &Sample| now.sessions_created - earlier.sessions_created;
        let values = self.steps().map(|(_, now, earlier)| created(now, earlier));
        let scale = Scale::linear(panel, values.fold(0.0, f64::max), 3.0);
        for value in scale.marks() {
            self.grid(canvas, scale.y(value), &format!("{value}"))?;
        }
        let points = self
            .steps()
            .map(|(second, now, earlier)| (self.x(second), scale.y(created(now, earlier))));
        canvas.line(&points.collect::<Vec<_>>(), SKY, 2.5)?;
        let plan = self.0.plan;
        let middle = self.x(f64::midpoint(plan.from.into(), plan.to.into()));
        let at = (middle, f64::midpoint(panel.top, panel.bottom));
        canvas.text("Redis does not reply", at, Align::Middle, IN_ALARM)
    }
}

/// Vertical axis of a panel, which converts values to pixels.
struct Scale {
    top: f64,
    bottom: f64,
    min: f64,
    max: f64,
    step: f64,
    is_logarithmic: bool,
}

impl Scale {
    fn linear(panel: &Panel, max: f64, lines: f64) -> Self {
        let step = grid_step(max.max(1.0), lines);
        Self {
            top: panel.top,
            bottom: panel.bottom,
            min: 0.0,
            max: (max / step).ceil() * step * 1.06,
            step,
            is_logarithmic: false,
        }
    }

    fn decades(panel: &Panel, (low, high): (i32, i32)) -> Self {
        Self {
            top: panel.top,
            bottom: panel.bottom,
            min: f64::from(low),
            max: f64::from(high),
            step: 1.0,
            is_logarithmic: true,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.is_logarithmic {
            value.log10()
        } else {
            value
        };
        let part = ((value - self.min) / (self.max - self.min)).clamp(0.0, 1.0);
        self.bottom - (self.bottom - self.top) * part
    }

    /// Returns the values of the grid lines on a linear axis.
    fn marks(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, max) = (self.step, self.max);
        (0..)
            .map(move |number| f64::from(number) * step)
            .take_while(move |mark| *mark <= max)
    }
}

/// Draws the legend of a panel at the right end of its title line. `names` contains the name and
/// the color of each entry.
fn legend(canvas: &Canvas<'_>, panel: &Panel, names: &[(&str, RGBColor)]) -> anyhow::Result<()> {
    let y = panel.top - 18.0;
    let width = |name: &str| LETTER * name.chars().count() as f64 + 36.0;
    let all: f64 = names.iter().map(|(name, _)| width(name)).sum();
    let mut x = RIGHT - all + 20.0;
    for (name, color) in names {
        canvas.rectangle((x, y - 5.0), (x + 12.0, y + 5.0), *color)?;
        canvas.text(name, (x + 18.0, y), Align::Left, NOTE)?;
        x += width(name);
    }
    Ok(())
}

impl Chart for Outage<'_> {
    fn height(&self) -> i32 {
        HEIGHT
    }

    fn draw(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        let plan = self.0.plan;
        let title = format!("Redis is paused for {} seconds", plan.to - plan.from);
        canvas.text(&title, (20.0, 26.0), Align::Left, TITLE)?;
        let note = "from /metrics of one instance, read every second; \
                    40 clients send 20 requests per second each";
        canvas.text(note, (20.0, 51.0), Align::Left, NOTE)?;
        self.requests(canvas)?;
        self.latency(canvas)?;
        self.store(canvas)?;
        self.created(canvas)?;
        for second in (0..=plan.end).step_by(SECONDS_BETWEEN_MARKS as usize) {
            let at = (self.x(second.into()), CREATED.bottom + 16.0);
            canvas.text(&second.to_string(), at, Align::Middle, NOTE)?;
        }
        let at = (f64::midpoint(LEFT, RIGHT), CREATED.bottom + 40.0);
        canvas.text("seconds", at, Align::Middle, NOTE)
    }
}
