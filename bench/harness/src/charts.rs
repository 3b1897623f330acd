//! Draws the charts of the performance page and of a recorded outage as SVG files.

mod canvas;
mod cpu;
mod latency;
mod outage;
mod sessions;

use std::path::Path;

use self::canvas::Chart;
use crate::{outage::Recording, results::Results};

/// Draws each chart of the performance page for which there are results. The files are written to
/// `folder`.
pub(crate) fn draw(results: &Results, folder: &Path) -> anyhow::Result<()> {
    canvas::load_fonts()?;
    if let Some(side_by_side) = &results.side_by_side {
        cpu::Cpu::of_servers(side_by_side).draw_into(folder, "cpu")?;
        latency::Latency::of(side_by_side).draw_into(folder, "latency")?;
    }
    if let Some(scale) = &results.scale {
        sessions::Sessions::of(scale).draw_into(folder, "sessions")?;
    }
    if let Some(gateways) = &results.gateways
        && let Some(chart) = cpu::Cpu::of_gateways(gateways)
    {
        chart.draw_into(folder, "gateways")?;
    }
    Ok(())
}

/// Draws the chart of a recorded outage. The file is written to `folder`.
pub(crate) fn draw_outage(recording: &Recording, folder: &Path) -> anyhow::Result<()> {
    canvas::load_fonts()?;
    outage::Outage(recording).draw_into(folder, "outage")
}
