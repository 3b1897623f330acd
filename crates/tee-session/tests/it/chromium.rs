//! Headless Chromium, the browser for tests.

use std::path::Path;

const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";

/// Returns the path of headless Chromium.
pub(crate) fn path() -> &'static str {
    assert!(
        Path::new(CHROMIUM).exists(),
        "{CHROMIUM} is missing: scripts/setup installs it"
    );
    CHROMIUM
}
