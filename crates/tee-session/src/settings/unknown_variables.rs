//! Environment variables that begin with `TSA_` and are not settings.

use std::env;

use super::{
    keys::{KEYS, Key, environment_name},
    suggestion::similar,
};

/// Environment variable with the path of the settings file.
pub(super) const CONFIG_VARIABLE: &str = "TSA_CONFIG";

/// Prefix of all environment variables of this program.
const PREFIX: &str = "TSA_";

/// Environment variables of the command `tee-session session`. These variables are not settings of
/// the service.
const SESSION_VARIABLES: [&str; 2] = ["TSA_URL", "TSA_CA_FILE"];

/// Returns the environment variables that begin with `TSA_` and have no meaning for this program.
/// Such variables are not errors. Otherwise, a variable of a newer release would prevent a
/// rollback.
pub(super) fn unknown_variables() -> Vec<String> {
    let known: Vec<_> = KEYS
        .iter()
        .flat_map(Key::names)
        .map(|name| environment_name(&name))
        .collect();
    let is_known = |variable: &String| {
        known.contains(variable)
            || variable == CONFIG_VARIABLE
            || SESSION_VARIABLES.contains(&variable.as_str())
    };
    let variables = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<_> = variables
        .filter(|variable| variable.starts_with(PREFIX) && !is_known(variable))
        .collect();
    unknown.sort_unstable();
    unknown
}

/// Returns the warning about an unknown environment variable, with the most similar setting.
pub(super) fn describe_unknown_variable(variable: &str) -> String {
    let name = variable.trim_start_matches(PREFIX).to_ascii_lowercase();
    let suggestion = similar(&name)
        .map(|name| format!(". Did you mean {}?", environment_name(&name)))
        .unwrap_or_default();
    format!(
        "The environment variable {variable} has no effect: there is no such setting{suggestion}"
    )
}
