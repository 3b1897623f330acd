//! Tests that `config/default.toml` and `docs/settings.md` agree with the table of settings. Both
//! files are generated from the table.

use std::{env, fs};

use super::keys::{KEYS, Key};

/// Path of `default.toml` in this crate. The directory `config` is a symlink in the repository, and
/// a real directory in the published package.
const DEFAULT_TOML: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");

/// Path of `settings.md` in this crate. The path is a symlink to `docs/settings.md` in the
/// repository, and a regular file in the published package.
const SETTINGS_PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/settings.md");

const TOML_HEADER: &str = "\
# Every setting with its default. Each key is also an environment variable with the prefix TSA_
# (TSA_SESSION_TTL for session_ttl) and a flag (--session-ttl). Flags override the environment, and
# the environment overrides this file. Lists are separated by commas in the environment and in
# flags. `tee-session check-config` prints the effective value and the source of each setting.
";

const PAGE_HEADER: &str = "\
# Settings

Each setting is a key of the settings file, an environment variable with the prefix `TSA_` (`TSA_SESSION_TTL` for
`session_ttl`) and a flag (`--session-ttl`). `config/default.toml` explains each setting in more detail.

A test compares this page with the table in `crates/tee-session/src/settings/keys.rs`, from which it is generated.

| setting | default | values | meaning |
|---|---|---|---|
";

/// Returns the allowed numbers with their unit, such as `1 to 3600 seconds`. Returns `None` if the
/// setting is not a whole number.
fn allowed_numbers(key: &Key) -> Option<String> {
    let range = key.range.as_ref()?;
    let unit = key
        .unit()
        .map_or_else(String::new, |unit| format!(" {unit}"));
    Some(format!("{} to {}{unit}", range.start(), range.end()))
}

/// Returns `text` as TOML comment lines of at most 100 characters each.
fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        if lines
            .last()
            .is_some_and(|line| line.len() + 1 + word.len() > 100)
        {
            lines.push("#".to_owned());
        }
        let line = lines.last_mut().unwrap();
        *line += &format!(" {word}");
    }
    lines.join("\n")
}

fn default_toml() -> String {
    let settings = KEYS.iter().map(|key| {
        let name = key.name;
        let mut text = format!("{}.", key.help);
        if let Some(allowed) = allowed_numbers(key) {
            text += &format!(" Allowed: {allowed}.");
        }
        if key.is_secret {
            text += &format!(" The value is a secret: {name}_file names a file to read it from.");
        }
        let comment = comment(&format!("{text} {}", key.details));
        let line = match key.default {
            "" => format!("# {name} = {}", key.example),
            value if value.parse::<toml::Value>().is_ok() => format!("{name} = {value}"),
            text => format!("{name} = \"{text}\""),
        };
        format!("\n{comment}\n{line}\n")
    });
    TOML_HEADER.to_owned() + &settings.collect::<String>()
}

fn settings_page() -> String {
    let rows = KEYS.iter().map(|key| {
        let Key { name, help, .. } = key;
        let name = if key.is_secret {
            format!("`{name}`, `{name}_file`")
        } else {
            format!("`{name}`")
        };
        let default = match key.default {
            "" => String::new(),
            text => format!("`{text}`"),
        };
        let values = match (allowed_numbers(key), key.value_name) {
            (Some(allowed), _) => allowed,
            (None, "BOOL") => "`true` or `false`".to_owned(),
            (None, value_name) => value_name.to_owned(),
        };
        format!("| {name} | {default} | {values} | {help} |\n")
    });
    PAGE_HEADER.to_owned() + &rows.collect::<String>()
}

/// Asserts that the file at `path` contains exactly the text `current`. If the environment variable
/// `UPDATE_DOCS` is set, writes `current` to the file first.
fn assert_up_to_date(path: &str, current: &str) {
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, current).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == current,
        "{path} differs from the table in crates/tee-session/src/settings/keys.rs.\n\
         Update the file with\n\
         UPDATE_DOCS=1 scripts/test up_to_date\n\
         and commit it."
    );
}

#[test]
fn committed_default_toml_is_up_to_date() {
    assert_up_to_date(DEFAULT_TOML, &default_toml());
}

#[test]
fn committed_settings_page_is_up_to_date() {
    assert_up_to_date(SETTINGS_PAGE, &settings_page());
}
