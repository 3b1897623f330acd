//! Where settings come from: defaults, file, environment, flags; the later wins.

use std::{
    collections::HashMap,
    env::{self, VarError},
    fmt, fs,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::keys::{KEYS, Key, environment_name};

/// The text of every setting that is given somewhere, and where.
#[derive(Debug)]
pub(crate) struct Sources(HashMap<&'static str, Given>);

struct Given {
    /// A secret, with some keys.
    text: Zeroizing<String>,
    source: Source,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", self.source)
    }
}

/// A setting as people may see it.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'static str,
    /// `None` for a secret, and where it is not set.
    pub(crate) value: Option<&'a str>,
    pub(crate) is_set: bool,
    pub(crate) is_secret: bool,
    pub(crate) source: &'a Source,
}

/// Where a setting's text stands.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
    /// In a file of its own, which another source names.
    SecretFile(PathBuf, Box<Source>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::SecretFile(path, source) => write!(f, "{}, named by {source}", path.display()),
        }
    }
}

impl Sources {
    /// Reads the file (or the one that `TSA_CONFIG` names) and the environment; `flags` are
    /// pairs of name and text.
    pub(crate) fn read(
        file: Option<PathBuf>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, Problems> {
        Self::read_for(|_| true, file, flags)
    }

    /// The same for these settings alone: neither are the others read, nor does it matter what is wrong
    /// with them.
    pub(crate) fn read_of(
        keys: &[&str],
        file: Option<PathBuf>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, Problems> {
        Self::read_for(|name| keys.contains(&name), file, flags)
    }

    fn read_for(
        is_wanted: impl Fn(&str) -> bool,
        file: Option<PathBuf>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, Problems> {
        let file = file.or_else(|| env::var_os("TSA_CONFIG").map(PathBuf::from));
        let mut problems = Vec::new();
        let environment = read_environment(&mut problems);
        let flags = flags.into_iter().map(|(name, text)| {
            let flag = name.replace('_', "-");
            (name, text, Source::Flag(flag))
        });
        let file = file.map_or_else(Vec::new, |path| read_file(path, &mut problems));
        problems.retain(|problem| problem.key == "config" || is_wanted(&problem.key));
        let mut sources = Self(HashMap::new());
        for mut layer in [file, environment, flags.collect()] {
            layer.retain(|(name, ..)| is_wanted(name));
            sources.take_layer(layer, &mut problems);
        }
        if problems.is_empty() {
            Ok(sources)
        } else {
            Err(Problems(problems))
        }
    }

    /// The text of a setting: as given last, or its default.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .map_or_else(|| default_of(name), |given| &given.text)
    }

    /// Where that text stands.
    pub(crate) fn source(&self, name: &str) -> &Source {
        self.0
            .get(name)
            .map_or(&Source::Default, |given| &given.source)
    }

    /// The file of its own that the text was read from, if it was.
    pub(crate) fn secret_file(&self, name: &str) -> Option<&Path> {
        match self.source(name) {
            Source::SecretFile(path, _) => Some(path),
            _ => None,
        }
    }

    /// Whether it has any text: an empty one stands for "not set".
    pub(crate) fn is_set(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// Every setting, in the order of the table of keys.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        KEYS.iter().map(|key| {
            let is_set = self.is_set(key.name);
            Shown {
                name: key.name,
                value: (is_set && !key.is_secret).then(|| self.text(key.name)),
                is_set,
                is_secret: key.is_secret,
                source: self.source(key.name),
            }
        })
    }

    fn take_layer(&mut self, layer: Vec<(String, String, Source)>, problems: &mut Vec<Problem>) {
        let mut taken = Vec::new();
        for (name, text, source) in layer {
            let Some(key) = KEYS
                .iter()
                .find(|key| key.names().any(|known| known == name))
            else {
                let allowed = "there is no such setting; tee-session --help lists them".to_owned();
                problems.push(Problem {
                    key: name,
                    source: source.to_string(),
                    allowed,
                });
                continue;
            };
            if taken.contains(&key.name) {
                let allowed = format!("give {0} or {0}_file, not both", key.name);
                problems.push(Problem {
                    key: name,
                    source: source.to_string(),
                    allowed,
                });
                continue;
            }
            taken.push(key.name);
            let given = if name == key.name {
                let text = Zeroizing::new(text);
                Ok(Given { text, source })
            } else {
                read_secret(&name, text, source)
            };
            match given {
                Ok(given) => drop(self.0.insert(key.name, given)),
                Err(problem) => problems.push(problem),
            }
        }
    }
}

fn default_of(name: &str) -> &'static str {
    KEYS.iter()
        .find(|key| key.name == name)
        .map_or("", |key| key.default)
}

fn read_environment(problems: &mut Vec<Problem>) -> Vec<(String, String, Source)> {
    let mut layer = Vec::new();
    for name in KEYS.iter().flat_map(Key::names) {
        let variable = environment_name(&name);
        let source = Source::Environment(variable.clone());
        match env::var(&variable) {
            Ok(text) => layer.push((name, text, source)),
            Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(_)) => problems.push(Problem {
                key: name,
                source: source.to_string(),
                allowed: "must be UTF-8".to_owned(),
            }),
        }
    }
    layer
}

fn read_secret(name: &str, path: String, source: Source) -> Result<Given, Problem> {
    let path = PathBuf::from(path);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(Problem {
            key: name.to_owned(),
            source: source.to_string(),
            allowed: format!("{} is empty", path.display()),
        }),
        Ok(text) => {
            let text = Zeroizing::new(text);
            let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
            Ok(Given {
                text,
                source: Source::SecretFile(path, Box::new(source)),
            })
        }
        Err(error) => Err(Problem {
            key: name.to_owned(),
            source: source.to_string(),
            allowed: format!("{} cannot be read: {error}", path.display()),
        }),
    }
}

fn read_file(path: PathBuf, problems: &mut Vec<Problem>) -> Vec<(String, String, Source)> {
    let source = Source::File(path.clone());
    let mut problem = |allowed: String| {
        let (key, source) = ("config".to_owned(), source.to_string());
        problems.push(Problem {
            key,
            source,
            allowed,
        });
        Vec::new()
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return problem(format!("it cannot be read: {error}")),
    };
    match text.parse::<toml::Table>() {
        Ok(table) => table
            .into_iter()
            .map(|(name, value)| (name, text_of(value), source.clone()))
            .collect(),
        // The parser's full message shows the line, which may hold a secret.
        Err(error) => {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].lines().count().max(1));
            problem(format!(
                "it is not valid TOML: {} (line {line})",
                error.message()
            ))
        }
    }
}

/// A TOML value in the spelling of the environment: plain text, lists separated by commas,
/// tables as JSON.
fn text_of(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        toml::Value::Array(items) if items.iter().all(|item| !item.is_table()) => {
            items.into_iter().map(text_of).collect::<Vec<_>>().join(",")
        }
        value @ (toml::Value::Array(_) | toml::Value::Table(_)) => {
            serde_json::to_string(&value).unwrap_or_default()
        }
        value => value.to_string(),
    }
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

/// One setting that cannot be used. Its text is not shown: it may be a secret.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) source: String,
    pub(crate) allowed: String,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem {
            key,
            source,
            allowed,
        } in &self.0
        {
            writeln!(f, "tee-session: {key} ({source}): {allowed}")?;
        }
        Ok(())
    }
}
