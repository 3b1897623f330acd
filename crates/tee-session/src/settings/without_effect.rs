//! Settings that are valid, but have no effect because of another setting.

use tee_session_redis_adapter::StorageFormat;

use super::{
    Settings,
    keys::{KEYS, Key},
    reader::parse_switch,
    sources::{Source, Sources, default_of},
};

/// A setting that has no effect together with a certain value of another setting. A setting that
/// needs another one names it in the table of settings instead (`Key::only_with`).
struct Exclusion {
    setting: &'static str,
    /// The other setting, because of which `setting` has no effect.
    cause: &'static str,
    applies: fn(&Settings) -> bool,
    reason: &'static str,
}

const EXCLUSIONS: &[Exclusion] = &[
    Exclusion {
        setting: "accept_plain",
        cause: "storage_format",
        applies: |settings| {
            let redis = settings.redis.as_ref();
            redis.is_some_and(|redis| redis.storage_format() == StorageFormat::Plain)
        },
        reason: "storage_format is plain, so plain sessions are always accepted",
    },
    Exclusion {
        setting: "memory_max_sessions",
        cause: "redis_url",
        applies: |settings| settings.redis.is_some(),
        reason: "redis_url is set, so the embedded store is not used",
    },
    // There is no rule for allow_anonymous_clients without redis_url. Scripts and tests set it for
    // every instance, so that the same settings work with and without Redis.
    Exclusion {
        setting: "allow_anonymous_clients",
        cause: "service_clients",
        applies: |settings| !settings.service_clients.is_empty(),
        reason: "service_clients is set, so every caller needs credentials",
    },
];

/// Settings about the store. Warnings because of these settings come first, in this order.
const STORE: [&str; 3] = ["storage_format", "redis_url", "near_cache"];

/// Returns a warning for each setting that a source sets, but that has no effect. A setting that
/// repeats its default causes no warning, so that `config/default.toml` can be used as it is.
pub(super) fn warnings(settings: &Settings, sources: &Sources) -> Vec<String> {
    let dependent = KEYS.iter().filter_map(|key| {
        let switch = key.only_with?;
        Some((key.name, switch, reason_if_off(switch, sources)?))
    });
    let excluded = EXCLUSIONS.iter().filter(|rule| (rule.applies)(settings));
    let excluded = excluded.map(|rule| (rule.setting, rule.cause, format!("{}: ", rule.reason)));
    let all = dependent.chain(excluded);
    let mut found: Vec<_> = all.filter(|(name, ..)| is_changed(name, sources)).collect();
    found.sort_by_key(|(_, cause, _)| {
        let position = STORE.iter().position(|name| name == cause);
        position.unwrap_or(STORE.len())
    });
    let warnings = found.into_iter().map(|(name, _, reason)| {
        let source = sources.source(name);
        format!("{name} has no effect, because {reason}remove {name} ({source})")
    });
    warnings.collect()
}

/// Returns the reason why settings that need the setting `switch` have no effect, and the remedy.
/// Returns `None` if they have an effect.
fn reason_if_off(switch: &str, sources: &Sources) -> Option<String> {
    let key = Key::find(switch)?;
    let text = sources.text(switch);
    let (is_off, state, value) = if key.default.is_empty() {
        (text.is_empty(), "not set", "")
    } else if key.range.is_some() {
        let is_zero = text.parse::<u64>() == Ok(0);
        (is_zero, "0, which means no limit", "")
    } else {
        (parse_switch(text) == Ok(false), "false", " to true")
    };
    is_off.then(|| format!("{switch} is {state}: set {switch}{value}, or "))
}

/// Returns `true` if a source sets `name` to another value than the default.
fn is_changed(name: &str, sources: &Sources) -> bool {
    let text = sources.text(name);
    let default = default_of(name);
    let is_default = text.eq_ignore_ascii_case(default)
        || parse_switch(text).is_ok_and(|value| parse_switch(default) == Ok(value))
        // Numbers have several spellings, such as 1, 1.0 and +1.
        || text.parse::<f64>().is_ok_and(|value| default.parse::<f64>() == Ok(value));
    !matches!(sources.source(name), Source::Default) && !is_default
}

#[cfg(test)]
mod tests;
