//! Reads values that a Redis server reports about itself (`INFO`) and its configuration (`CONFIG
//! GET`).

use super::{call::Call, command::Command};

/// Returns the value of the line that begins with `name` in a section of `INFO`. Returns `None` if
/// the line is missing or the command fails, for example because of a missing permission.
pub(crate) async fn info(call: &Call, section: &str, name: &str) -> Option<String> {
    const COMMAND: &str = "INFO";
    let section = [section.as_bytes()];
    let replied = call.send([Command::new(COMMAND, &section)]);
    let [reply] = replied.await.ok()?;
    Some(value_in(&reply.text(COMMAND).ok()?, name)?.to_owned())
}

/// Returns the value of the configuration parameter `name` (`CONFIG GET`). Returns `None` if the
/// parameter is unknown or the command fails, for example because of a missing permission.
pub(super) async fn parameter(call: &Call, name: &str) -> Option<String> {
    const COMMAND: &str = "CONFIG GET";
    let name = [name.as_bytes()];
    let replied = call.send([Command::new(COMMAND, &name)]);
    let [reply] = replied.await.ok()?;
    let pair = reply.list(COMMAND).ok()?;
    Some(pair.get(1)?.as_text()?.to_owned())
}

/// Returns the text after `name` in the first line of `info` that begins with `name`. Returns
/// `None` if there is no such line.
pub(super) fn value_in<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = info.lines().find_map(|line| line.strip_prefix(name));
    value.map(str::trim)
}
