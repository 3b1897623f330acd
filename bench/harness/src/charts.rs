//! The charts of the page, each as SVG and as PNG.

mod canvas;
mod cpu;
mod latency;
mod outage;
mod sessions;

use std::path::Path;

use self::canvas::Chart;
use crate::{outage::Recording, results::Results};

/// Draws those that there are results for, into `folder`.
pub(crate) fn draw(results: &Results, folder: &Path) -> anyhow::Result<()> {
    canvas::load_fonts()?;
    if let Some(side_by_side) = &results.side_by_side {
        cpu::Cpu::of(side_by_side).draw_into(folder, "cpu")?;
        latency::Latency::of(side_by_side).draw_into(folder, "latency")?;
    }
    if let Some(scale) = &results.scale {
        sessions::Sessions::of(scale).draw_into(folder, "sessions")?;
    }
    Ok(())
}

/// Draws what was recorded of an outage, into `folder`.
pub(crate) fn draw_outage(recording: &Recording, folder: &Path) -> anyhow::Result<()> {
    canvas::load_fonts()?;
    outage::Outage(recording).draw_into(folder, "outage")
}
