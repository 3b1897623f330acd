//! What a server tells of its settings, to whom it may.

use super::{Call, Command};

/// The value of a line of a section of INFO; `None` when it may not be asked for, or is not there.
pub(crate) async fn info(call: &Call, section: &str, name: &str) -> Option<String> {
    const COMMAND: &str = "INFO";
    let section = [section.as_bytes()];
    let asked = call.send([Command::new(COMMAND, &section)]);
    let [reply] = asked.await.ok()?;
    Some(value_in(&reply.text(COMMAND).ok()?, name)?.to_owned())
}

/// The value of a parameter of its configuration; `None` when it may not be asked for.
pub(crate) async fn parameter(call: &Call, name: &str) -> Option<String> {
    const COMMAND: &str = "CONFIG GET";
    let name = [name.as_bytes()];
    let asked = call.send([Command::new(COMMAND, &name)]);
    let [reply] = asked.await.ok()?;
    let pair = reply.list(COMMAND).ok()?;
    Some(pair.get(1)?.as_text()?.to_owned())
}

/// The value of the line of INFO that begins with `name`.
pub(super) fn value_in<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = info.lines().find_map(|line| line.strip_prefix(name));
    value.map(str::trim)
}
