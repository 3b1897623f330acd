//! Command-line flags of the service settings, for the commands that read settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::settings::{KEYS, Problems, Sources};

const CONFIG: &str = "config";

/// Returns the flags of all service settings, and the flag `--config`.
pub(super) fn args() -> impl Iterator<Item = Arg> {
    args_for(|_| true)
}

/// Returns the flags of the settings in `keys`, and the flag `--config`.
pub(super) fn args_of(keys: &[&'static str]) -> impl Iterator<Item = Arg> {
    args_for(|name| keys.contains(&name))
}

fn args_for(is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Arg> {
    let config = Arg::new(CONFIG)
        .long("config")
        .value_name("FILE")
        .help("Settings file (TOML) [env: TSA_CONFIG]")
        .value_parser(value_parser!(PathBuf));
    let keys = KEYS.iter().filter(move |key| is_wanted(key.name));
    let settings = keys.flat_map(|key| {
        key.names().map(|name| {
            let is_file = name != key.name;
            let alias = key.flag_alias.filter(|_| !is_file);
            Arg::new(name.clone())
                .long(as_flag(&name))
                .value_name(if is_file { "FILE" } else { key.value_name })
                .help(if is_file {
                    key.file_help()
                } else {
                    key.short_help().to_owned()
                })
                .long_help(if is_file {
                    key.file_help()
                } else {
                    key.full_help()
                })
                .help_heading("Settings")
                .action(ArgAction::Set)
                .allow_hyphen_values(true)
                .visible_aliases(alias)
                .hide_short_help(!key.is_in_short_help)
                .hide(is_file)
        })
    });
    std::iter::once(config).chain(settings)
}

/// Reads all settings from the settings file, the environment and the flags. `matches` contains the
/// flags before the name of the command, and then the flags after the name. If a flag is given in
/// both places, the later flag takes precedence.
pub(super) fn sources(matches: &[&ArgMatches]) -> Result<Sources, Problems> {
    let (file, flags) = given(KEYS.iter().flat_map(|key| key.names()), matches);
    Sources::read(file, flags)
}

/// Reads only the settings in `keys`, from the settings file, the environment and the flags.
/// Ignores all other settings, even if they are invalid.
pub(super) fn sources_of(keys: &[&str], matches: &[&ArgMatches]) -> Result<Sources, Problems> {
    let (file, flags) = given(keys.iter().map(|key| (*key).to_owned()), matches);
    Sources::read_of(keys, file, flags)
}

type Given = (Option<PathBuf>, Vec<(String, String)>);

fn given(names: impl Iterator<Item = String>, matches: &[&ArgMatches]) -> Given {
    let last = |name: &str| {
        let mut given = matches.iter().rev();
        given.find_map(|matches| matches.get_one::<String>(name).cloned())
    };
    let mut files = matches.iter().rev();
    let file = files.find_map(|matches| matches.get_one::<PathBuf>(CONFIG).cloned());
    let flags = names.filter_map(|name| Some((name.clone(), last(&name)?)));
    (file, flags.collect())
}

/// Returns the names of the setting flags that `matches` contains, without the leading `--`.
pub(super) fn given_settings(matches: &ArgMatches) -> impl Iterator<Item = String> {
    let names = KEYS.iter().flat_map(|key| key.names());
    let names = std::iter::once(CONFIG.to_owned()).chain(names);
    names
        .filter(|name| matches.contains_id(name))
        .map(|name| as_flag(&name))
}

fn as_flag(name: &str) -> String {
    name.replace('_', "-")
}
