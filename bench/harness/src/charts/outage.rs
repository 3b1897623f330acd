//! What an operator sees while Redis stands still.

use plotters::prelude::*;

use super::canvas::{
    Align, Canvas, Chart, FAINT_INK, GRID, NOTE, STRONG, TITLE, Type, WIDTH, grid_step,
};
use crate::outage::{Recording, Sample};

const HEIGHT: i32 = 828;
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH as f64 - 24.0;
/// About as wide is a letter of a note.
const LETTER: f64 = 7.2;

const SECONDS_BETWEEN_MARKS: u32 = 10;

/// The alert waits so long after it first saw the store away: `for` in deploy/prometheus.
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

/// Shown from the bottom up.
const STATUSES: [(&str, &str, RGBColor); 3] = [
    ("200", "200 session", GREEN),
    ("201", "201 login", SKY),
    ("503", "503 store_unavailable", RED),
];

struct Panel {
    top: f64,
    bottom: f64,
    title: &'static str,
}

const REQUESTS: Panel = Panel {
    top: 112.0,
    bottom: 272.0,
    title: "Requests a second, by status",
};
const LATENCY: Panel = Panel {
    top: 328.0,
    bottom: 458.0,
    title: "Time to the answer of look-ups",
};
const STORE: Panel = Panel {
    top: 514.0,
    bottom: 614.0,
    title: "Redis, as two workers see it",
};
const CREATED: Panel = Panel {
    top: 670.0,
    bottom: 758.0,
    title: "Sessions created a second",
};

/// Latency is drawn from a tenth of a millisecond to a second, each line ten times the last.
const DECADES: (i32, i32) = (-1, 3);

pub(super) struct Outage<'a>(pub(super) &'a Recording);

impl Outage<'_> {
    /// Each sample but the first with its second and the one before.
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

    /// The second at which the alert goes off, if it lasts for so long.
    fn alert(&self) -> Option<usize> {
        let away = |sample: &Sample| sample.store_up == 0.0;
        let samples = &self.0.samples;
        let first = samples.iter().position(away)?;
        let at = first + ALERT_AFTER;
        (samples.get(first..=at)?.iter().all(away)).then_some(at)
    }

    /// Shade, title, and the marks of the seconds.
    fn frame<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>, panel: &Panel) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
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

    fn grid<B: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, B>,
        y: f64,
        text: &str,
    ) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
        canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 1.0)?;
        canvas.text(text, (LEFT - 8.0, y), Align::Right, NOTE)
    }

    fn requests<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
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
        // From the tallest on, so that each covers what it does not add to.
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

    fn latency<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
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
            &[
                ("half are faster (p50)", BLUE),
                ("99 of 100 are (p99)", AMBER),
            ],
        )
    }

    fn store<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
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
            // Where they are alike, all of them are to be seen.
            let beside = 3.0 * (number as f64 - 1.0);
            for (second, sample) in self.0.samples.iter().enumerate() {
                let (x, y) = (self.x(second as f64), scale.y(value(sample)) + beside);
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

    fn created<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
        let panel = &CREATED;
        self.frame(canvas, panel)?;
        let created =
            |now: &Sample, earlier: &Sample| now.sessions_created - earlier.sessions_created;
        let most = self.steps().map(|(_, now, earlier)| created(now, earlier));
        let scale = Scale::linear(panel, most.fold(0.0, f64::max), 3.0);
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
        canvas.text("Redis answers nothing", at, Align::Middle, IN_ALARM)
    }
}

/// Heights of values in a panel.
struct Scale {
    top: f64,
    bottom: f64,
    least: f64,
    most: f64,
    step: f64,
    is_logarithmic: bool,
}

impl Scale {
    fn linear(panel: &Panel, most: f64, lines: f64) -> Self {
        let step = grid_step(most.max(1.0), lines);
        Self {
            top: panel.top,
            bottom: panel.bottom,
            least: 0.0,
            most: (most / step).ceil() * step * 1.06,
            step,
            is_logarithmic: false,
        }
    }

    fn decades(panel: &Panel, (low, high): (i32, i32)) -> Self {
        Self {
            top: panel.top,
            bottom: panel.bottom,
            least: f64::from(low),
            most: f64::from(high),
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
        let part = ((value - self.least) / (self.most - self.least)).clamp(0.0, 1.0);
        self.bottom - (self.bottom - self.top) * part
    }

    /// Of a linear scale.
    fn marks(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, most) = (self.step, self.most);
        (0..)
            .map(move |number| f64::from(number) * step)
            .take_while(move |mark| *mark <= most)
    }
}

/// On the right, in the line of the title.
fn legend<B: DrawingBackend>(
    canvas: &Canvas<'_, B>,
    panel: &Panel,
    names: &[(&str, RGBColor)],
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
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

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
        let plan = self.0.plan;
        let title = format!("Redis stands still for {} seconds", plan.to - plan.from);
        canvas.text(&title, (20.0, 26.0), Align::Left, TITLE)?;
        let what = "from /metrics of one instance, read each second; 40 clients ask 20 times a second each";
        canvas.text(what, (20.0, 51.0), Align::Left, NOTE)?;
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
