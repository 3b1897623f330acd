//! Environment variables that begin with `TSA_`, in upper or lower case, and that this program does
//! not know.

use std::env;

use super::{
    keys::{ENVIRONMENT_PREFIX, KEYS, Key, environment_name},
    suggestion::similar,
};

/// Environment variable with the path of the settings file.
pub(super) const CONFIG_VARIABLE: &str = "TSA_CONFIG";

/// Environment variables that are not settings of the service: the path of the settings file, and
/// the variables of the command `tee-session session`.
const OTHER_VARIABLES: [&str; 3] = [CONFIG_VARIABLE, "TSA_URL", "TSA_CA_FILE"];

/// Returns the environment variables that begin with `TSA_`, in upper or lower case, and that this
/// program does not know. They are not errors. Otherwise, a variable of a newer release would
/// prevent a rollback.
///
/// Names of environment variables are case-sensitive, so a variable in lower case, such as
/// `tsa_redis_url`, has no effect.
pub(super) fn unknown_variables() -> Vec<String> {
    let known: Vec<_> = KEYS
        .iter()
        .flat_map(Key::names)
        .map(|name| environment_name(&name))
        .collect();
    let is_known = |variable: &String| {
        known.contains(variable) || OTHER_VARIABLES.contains(&variable.as_str())
    };
    let is_ours = |variable: &String| {
        let start = variable.get(..ENVIRONMENT_PREFIX.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(ENVIRONMENT_PREFIX))
    };
    let variables = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<_> = variables
        .filter(|variable| is_ours(variable) && !is_known(variable))
        .collect();
    unknown.sort_unstable();
    unknown
}

/// Returns the warning about an unknown environment variable, with the most similar variable.
pub(super) fn describe_unknown_variable(variable: &str) -> String {
    let mut others = OTHER_VARIABLES.into_iter();
    let other = others.find(|other| other.eq_ignore_ascii_case(variable));
    let suggestion = other
        .map(str::to_owned)
        .or_else(|| similar(variable).map(|name| environment_name(&name)))
        .map(|name| format!(". Did you mean {name}?"))
        .unwrap_or_default();
    format!(
        "The environment variable {variable} has no effect: there is no such setting{suggestion}"
    )
}
