//! Parser of single settings, such as numbers, switches and addresses. Collects the problems of
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
            |name| match (name, port).to_socket_addrs().map(|mut found| found.next()) {
                Ok(Some(address)) => Ok(Some(address)),
                _ => Err("must be an IP address, or a name that resolves to one"),
            },
            None,
        )
    }

    /// Parses the setting `key` as a whole number. If the text is not a number in the range that
    /// [`KEYS`](super::KEYS) allows, records a problem and returns the lowest number of the range.
    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, key: &'static str) -> T {
        let range = Key::find(key).and_then(|key| key.range.clone());
        let range = range.unwrap_or(0..=u64::MAX);
        let (lowest, highest) = (*range.start(), *range.end());
        self.parsed(
            key,
            |text| {
                let number = text.parse().ok().filter(|number| range.contains(number));
                number
                    .and_then(|number| T::try_from(number).ok())
                    .ok_or_else(|| format!("must be a whole number from {lowest} to {highest}"))
            },
            T::try_from(lowest).unwrap_or_default(),
        )
    }

    pub(super) fn switch(&mut self, key: &'static str) -> bool {
        self.parsed(
            key,
            |text| text.parse().map_err(|_| "must be true or false"),
            false,
        )
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
        let source = self.sources.source(key).to_string();
        self.problems.push(Problem {
            key: key.to_owned(),
            source,
            message: message.to_string(),
        });
    }
}
