//! What a chart is drawn on, in pixels of the page: the same for both kinds of files.

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

/// About as wide as a page shows it.
pub(super) const WIDTH: i32 = 800;

/// Screens have more pixels than pages.
const PNG_SCALE: i32 = 2;

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

/// Finds what texts are measured and painted with.
pub(super) fn load_fonts() -> anyhow::Result<()> {
    for (style, file) in [
        (FontStyle::Normal, "DejaVuSans.ttf"),
        (FontStyle::Bold, "DejaVuSans-Bold.ttf"),
    ] {
        let mut files = FONT_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(file));
        let found = files.find(|file| file.exists()).with_context(|| {
            format!("{file} is not on this machine: install fonts-dejavu-core (scripts/setup --bench does)")
        })?;
        // plotters wants it for as long as the process lives.
        let bytes = fs::read(&found)?.leak();
        register_font(FONT, style, bytes).map_err(|_| anyhow!("{} is no font", found.display()))?;
    }
    Ok(())
}

/// Something to draw.
pub(super) trait Chart {
    fn height(&self) -> i32;

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<'_, B>) -> anyhow::Result<()>
    where
        B::ErrorType: 'static;

    /// Writes `name.svg` and `name.png`.
    fn draw_into(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let size = |scale: i32| {
            (
                (WIDTH * scale).unsigned_abs(),
                (self.height() * scale).unsigned_abs(),
            )
        };
        let svg = file("svg");
        self.draw_on(SVGBackend::new(&svg, size(1)), 1, 0.0)?;
        let png = file("png");
        self.draw_on(BitMapBackend::new(&png, size(PNG_SCALE)), PNG_SCALE, 0.14)
    }

    fn draw_on<B: DrawingBackend>(&self, backend: B, scale: i32, lowered: f64) -> anyhow::Result<()>
    where
        B::ErrorType: 'static,
    {
        let area = backend.into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        self.draw(&Canvas {
            area: &area,
            scale,
            lowered,
        })?;
        area.present().map_err(failed)
    }
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("the chart cannot be drawn: {error}")
}

/// Where a text begins, or ends, or has its middle.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// How a text looks.
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

pub(super) struct Canvas<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    scale: i32,
    /// Of a text's size: plotters sets texts of bitmaps higher than those of SVG.
    lowered: f64,
}

impl<B: DrawingBackend> Canvas<'_, B>
where
    B::ErrorType: 'static,
{
    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let place = |value: f64| (value * f64::from(self.scale)).round() as i32;
        (place(x), place(y))
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
        let width = (width * f64::from(self.scale)).round().max(1.0) as u32;
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
        let shape = Circle::new(self.at(at), 4 * self.scale, color.filled());
        self.area.draw(&shape).map_err(failed)
    }

    /// A text whose middle is at the height that is given.
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
        let lowered = self.lowered * f64::from(kind.size);
        let font = (FONT, f64::from(kind.size * self.scale), style).into_font();
        let style = TextStyle::from(font)
            .color(&kind.color)
            .pos(Pos::new(across, VPos::Center));
        let shape = Text::new(text.to_owned(), self.at((at.0, at.1 + lowered)), style);
        self.area.draw(&shape).map_err(failed)
    }
}

/// A round number for the distance of grid lines, so that about `lines` of them reach `most`.
pub(super) fn grid_step(most: f64, lines: f64) -> f64 {
    let rough = most / lines;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}
