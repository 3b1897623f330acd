//! Parser of single settings, such as numbers, booleans and addresses. Collects the problems of
//! invalid settings.

use std::{
    fmt::Display,
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use super::{
    keys::Key,
    sources::{Problem, Sources},
};

/// Advice in the error text if a setting must be a number, but its value is a URL. If a namespace
/// has a Service `tsa-api`, Kubernetes sets variables such as `TSA_API_PORT=tcp://10.0.0.1:8000` in
/// each pod.
const SERVICE_LINK: &str = "; if Kubernetes has set this variable for a Service, set \
     enableServiceLinks to false in the pod";

/// Removes the brackets around an IPv6 address, as in `[::1]`.
fn without_brackets(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.filter(|inner| inner.contains(':')).unwrap_or(host)
}

/// Parses a boolean setting. Also accepts the spellings of Python and YAML, such as `True`, `yes`
/// and `on`.
pub(super) fn parse_switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("the value must be true or false"),
    }
}

/// Parses settings from `sources`, and collects the problems of invalid settings in `problems`.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn or_problem<T>(
        &mut self,
        key: &'static str,
        result: Result<T, impl Display>,
    ) -> Option<T> {
        result.map_err(|error| self.problem(key, error)).ok()
    }

    pub(super) fn address(&mut self, host: &'static str, port: &'static str) -> Option<SocketAddr> {
        let port: u16 = self.number(port);
        self.parsed(
            host,
            |name| match (without_brackets(name), port)
                .to_socket_addrs()
                .map(|mut found| found.next())
            {
                Ok(Some(address)) => Ok(Some(address)),
                _ => Err("the host must be an IP address, or a name that resolves to one"),
            },
            None,
        )
    }

    /// Parses the setting `key` as a whole number. If the text is not a number in the range that
    /// [`KEYS`](super::KEYS) allows, records a problem and returns the lowest number of the range.
    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, key: &'static str) -> T {
        let found = Key::find(key);
        let unit = found.and_then(Key::unit);
        let unit = unit.map_or_else(String::new, |unit| format!(" of {unit}"));
        let range = found.and_then(|key| key.range.clone());
        let range = range.unwrap_or(0..=u64::MAX);
        let (lowest, highest) = (*range.start(), *range.end());
        self.parsed(
            key,
            |text| {
                let number = text.parse().ok().filter(|number| range.contains(number));
                number
                    .and_then(|number| T::try_from(number).ok())
                    .ok_or_else(|| {
                        let hint = if text.contains("://") {
                            SERVICE_LINK
                        } else {
                            ""
                        };
                        format!(
                            "the value must be a whole number{unit} from {lowest} to \
                             {highest}{hint}"
                        )
                    })
            },
            T::try_from(lowest).unwrap_or_default(),
        )
    }

    pub(super) fn switch(&mut self, key: &'static str) -> bool {
        self.parsed(key, parse_switch, false)
    }

    /// Parses the setting `key`, which has a fixed list of allowed values, such as `sealed` and
    /// `plain`. Accepts them in upper and lower case.
    pub(super) fn choice<T>(&mut self, key: &'static str) -> T
    where
        T: FromStr<Err: Display> + Default,
    {
        self.parsed(key, |text| text.to_ascii_lowercase().parse(), T::default())
    }

    pub(super) fn by_name<T>(&mut self, key: &'static str) -> T
    where
        T: FromStr<Err: Display> + Default,
    {
        self.parsed(key, str::parse, T::default())
    }

    /// Parses the text of the setting `key` with `parse`. If the text is invalid, records a problem
    /// and returns `fallback`.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        fallback: T,
    ) -> T {
        match parse(self.sources.text(key)) {
            Ok(value) => value,
            Err(message) => {
                self.problem(key, message);
                fallback
            }
        }
    }

    pub(super) fn problem(&mut self, key: &'static str, message: impl Display) {
        let problem = Problem {
            key: key.to_owned(),
            source: self.sources.source(key).to_string(),
            message: message.to_string(),
        };
        // A setting can be read several times, because several structs contain it. The problem of
        // such a setting is recorded only once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}
