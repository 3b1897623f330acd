//! Line chart of the CPU time of a request by number of sessions in Redis. The CPU time should stay
//! constant.

use plotters::prelude::*;

use super::canvas::{Align, Canvas, Chart, GRID, LABEL, NOTE, TITLE, WIDTH, grid_step};
use crate::scale::Scale;

const HEIGHT: i32 = 380;
const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH as f64 - 40.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 318.0;

const SERVER: RGBColor = RGBColor(29, 78, 216);
const REDIS: RGBColor = RGBColor(249, 115, 22);

/// Line chart of the CPU time of a request, with one line for the server and one for Redis.
pub(super) struct Sessions {
    /// Measured points: number of sessions, CPU time of the server and CPU time of Redis. The CPU
    /// times are in microseconds.
    points: Vec<(usize, f64, f64)>,
    /// Upper end of the axis of the chart, in microseconds.
    max: f64,
}

impl Sessions {
    pub(super) fn of(scale: &Scale) -> Self {
        let points: Vec<_> = scale
            .costs
            .iter()
            .map(|cost| (cost.sessions, cost.load.server_cpu(), cost.load.redis_cpu()))
            .collect();
        let highest = points
            .iter()
            .map(|point| point.1.max(point.2))
            .fold(0.0, f64::max);
        let step = grid_step(highest, 5.0);
        let max = (highest / step * 1.15).ceil() * step;
        Self { points, max }
    }

    fn x(&self, number: usize) -> f64 {
        let steps = self.points.len().saturating_sub(1).max(1);
        LEFT + 60.0 + (RIGHT - LEFT - 120.0) * number as f64 / steps as f64
    }

    fn y(&self, microseconds: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * microseconds / self.max
    }
}

impl Chart for Sessions {
    fn height(&self) -> i32 {
        HEIGHT
    }

    fn draw(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        canvas.text(
            "CPU time per request, by number of sessions in Redis",
            (20.0, 26.0),
            Align::Left,
            TITLE,
        )?;
        let note = "microseconds, at 64 connections; each request reads a random session";
        canvas.text(note, (20.0, 51.0), Align::Left, NOTE)?;
        for ((color, text), x) in [(SERVER, "Tee Session"), (REDIS, "Redis")]
            .into_iter()
            .zip([LEFT, LEFT + 150.0])
        {
            canvas.line(&[(x, 77.0), (x + 22.0, 77.0)], color, 3.0)?;
            canvas.text(text, (x + 30.0, 77.0), Align::Left, LABEL)?;
        }
        let step = grid_step(self.max, 5.0);
        let mut value = 0.0;
        while value <= self.max {
            let y = self.y(value);
            canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 1.0)?;
            canvas.text(&format!("{value}"), (LEFT - 10.0, y), Align::Right, NOTE)?;
            value += step;
        }
        let of_server: Vec<_> = self.points.iter().map(|point| point.1).collect();
        let of_redis: Vec<_> = self.points.iter().map(|point| point.2).collect();
        for (color, values) in [(SERVER, of_server), (REDIS, of_redis)] {
            let points = values.iter().enumerate();
            let points: Vec<_> = points
                .map(|(n, value)| (self.x(n), self.y(*value)))
                .collect();
            canvas.line(&points, color, 2.5)?;
            for ((x, y), value) in points.into_iter().zip(values) {
                canvas.dot((x, y), color)?;
                canvas.text(&format!("{value:.1}"), (x, y - 18.0), Align::Middle, LABEL)?;
            }
        }
        for (n, (sessions, _, _)) in self.points.iter().enumerate() {
            let text = format!("{} sessions", in_groups(*sessions));
            canvas.text(&text, (self.x(n), BOTTOM + 22.0), Align::Middle, LABEL)?;
        }
        Ok(())
    }
}

/// Formats a number in groups of three digits: `1 000 000`.
fn in_groups(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
