//! Drawing functions and text styles for charts. Coordinates are in pixels.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Width of all charts in pixels, which is about the width at which web pages show the charts.
pub(super) const WIDTH: i32 = 800;

const FONT: &str = "sans-serif";

const FONT_FOLDERS: [&str; 5] = [
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu-sans-fonts",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/TTF",
    "/usr/local/share/fonts",
];

pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
pub(super) const FAINT_INK: RGBColor = RGBColor(107, 114, 128);
pub(super) const GRID: RGBColor = RGBColor(229, 231, 235);

/// Loads the fonts with which texts are measured and drawn. Fails if a font file is not found.
pub(super) fn load_fonts() -> anyhow::Result<()> {
    for (style, file) in [
        (FontStyle::Normal, "DejaVuSans.ttf"),
        (FontStyle::Bold, "DejaVuSans-Bold.ttf"),
    ] {
        let mut files = FONT_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(file));
        let found = files.find(|file| file.exists()).with_context(|| {
            format!("{file} was not found: install fonts-dejavu-core (scripts/setup --bench does)")
        })?;
        // Leaks the font data, because plotters requires data with a static lifetime.
        let bytes = fs::read(&found)?.leak();
        register_font(FONT, style, bytes)
            .map_err(|_| anyhow!("{} is not a valid font", found.display()))?;
    }
    Ok(())
}

/// A chart that can be written to an SVG file.
pub(super) trait Chart {
    fn height(&self) -> i32;

    fn draw(&self, canvas: &Canvas<'_>) -> anyhow::Result<()>;

    /// Writes the chart to the file `name.svg` in `folder`.
    fn draw_into(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let file = folder.join(format!("{name}.svg"));
        let size = (WIDTH.unsigned_abs(), self.height().unsigned_abs());
        let area = SVGBackend::new(&file, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let canvas = Canvas { area };
        self.draw(&canvas)?;
        canvas.area.present().map_err(failed)
    }
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("the chart cannot be drawn: {error}")
}

/// Horizontal alignment of a text relative to its position.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// Style of a text: size, color and weight.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub(super) size: i32,
    pub(super) color: RGBColor,
    pub(super) is_bold: bool,
}

pub(super) const TITLE: Type = Type {
    size: 21,
    color: INK,
    is_bold: true,
};
pub(super) const LABEL: Type = Type {
    size: 17,
    color: INK,
    is_bold: false,
};
pub(super) const STRONG: Type = Type {
    is_bold: true,
    ..LABEL
};
pub(super) const NOTE: Type = Type {
    size: 15,
    color: FAINT_INK,
    is_bold: false,
};

/// The drawing area of a chart.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

impl Canvas<'_> {
    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        (x.round() as i32, y.round() as i32)
    }

    pub(super) fn rectangle(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        color: RGBColor,
    ) -> anyhow::Result<()> {
        let shape = Rectangle::new([self.at(from), self.at(to)], color.filled());
        self.area.draw(&shape).map_err(failed)
    }

    pub(super) fn line(
        &self,
        points: &[(f64, f64)],
        color: RGBColor,
        width: f64,
    ) -> anyhow::Result<()> {
        let width = width.round().max(1.0) as u32;
        let points: Vec<_> = points.iter().map(|point| self.at(*point)).collect();
        let shape = PathElement::new(points, color.stroke_width(width));
        self.area.draw(&shape).map_err(failed)
    }

    pub(super) fn polygon(&self, points: &[(f64, f64)], color: RGBColor) -> anyhow::Result<()> {
        let points: Vec<_> = points.iter().map(|point| self.at(*point)).collect();
        self.area
            .draw(&Polygon::new(points, color.filled()))
            .map_err(failed)
    }

    pub(super) fn dot(&self, at: (f64, f64), color: RGBColor) -> anyhow::Result<()> {
        let shape = Circle::new(self.at(at), 4, color.filled());
        self.area.draw(&shape).map_err(failed)
    }

    /// Draws `text` at the position `at`, centred vertically and aligned horizontally as `align`
    /// specifies.
    pub(super) fn text(
        &self,
        text: &str,
        at: (f64, f64),
        align: Align,
        kind: Type,
    ) -> anyhow::Result<()> {
        let style = if kind.is_bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let across = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = (FONT, f64::from(kind.size), style).into_font();
        let style = TextStyle::from(font)
            .color(&kind.color)
            .pos(Pos::new(across, VPos::Center));
        let shape = Text::new(text.to_owned(), self.at(at), style);
        self.area.draw(&shape).map_err(failed)
    }
}

/// Returns the distance between the grid lines of an axis from 0 to `max`. The distance is a round
/// number (1, 2, 5 or 10 times a power of ten) that results in about `lines` grid lines.
pub(super) fn grid_step(max: f64, lines: f64) -> f64 {
    let rough = max / lines;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}
