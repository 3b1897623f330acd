//! Sources of the settings, in ascending order of precedence: built-in defaults, settings file,
//! environment variables, and flags.

use std::{
    collections::HashMap,
    env::{self, VarError},
    fmt, fs,
    path::{Path, PathBuf},
};

use tee_session_api_server::read_regular_file;
use zeroize::Zeroizing;

use super::{
    keys::{KEYS, Key, environment_name},
    suggestion::similar,
    unknown_variables::{CONFIG_VARIABLE, describe_unknown_variable, unknown_variables},
};

/// Text and source of every setting that is given in the settings file, in the environment or as a
/// flag. A setting that is not given has its default.
#[derive(Debug)]
pub(crate) struct Sources {
    given: HashMap<&'static str, Given>,
    /// Environment variables that begin with `TSA_`, in upper or lower case, and that this program
    /// does not know.
    unknown_variables: Vec<String>,
}

struct Given {
    /// Text of the setting. The text may be a secret, so it is erased from memory when the value is
    /// dropped.
    text: Zeroizing<String>,
    source: Source,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", self.source)
    }
}

/// A setting for display. The value of a secret is left out.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'static str,
    /// Value of the setting; `None` if the setting is a secret or is not set.
    pub(crate) value: Option<&'a str>,
    pub(crate) is_set: bool,
    pub(crate) is_secret: bool,
    pub(crate) source: &'a Source,
}

/// Source from which the text of a setting was read, such as a flag.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
    /// A separate file that contains a secret. Contains the path of the file, and the source of
    /// this path, such as a flag.
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
    /// Reads all settings from the settings file, the environment variables and `flags`. `file` is
    /// the path of the settings file. If `file` is `None`, uses the path in the environment
    /// variable `TSA_CONFIG`. `flags` contains pairs of setting name and text. Returns all
    /// problems, such as unknown settings and files that cannot be read.
    pub(crate) fn read(
        file: Option<PathBuf>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, Problems> {
        Self::read_for(|_| true, file, flags)
    }

    /// Reads only the settings in `keys`, from the same sources as [`Self::read`]. Ignores all
    /// other settings, even if they are unknown or invalid.
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
        let file = file.or_else(|| env::var_os(CONFIG_VARIABLE).map(PathBuf::from));
        let mut problems = Vec::new();
        let environment = read_environment(&mut problems);
        let flags = flags.into_iter().map(|(name, text)| {
            let flag = name.replace('_', "-");
            (name, text, Source::Flag(flag))
        });
        let file = file.map_or_else(Vec::new, |path| read_file(path, &mut problems));
        problems.retain(|problem| problem.key == "config" || is_wanted(&problem.key));
        let mut sources = Self {
            given: HashMap::new(),
            unknown_variables: unknown_variables(),
        };
        for mut layer in [file, environment, flags.collect()] {
            layer.retain(|(name, ..)| is_wanted(name));
            sources.merge(layer, &mut problems);
        }
        if problems.is_empty() {
            Ok(sources)
        } else {
            Err(Problems(problems))
        }
    }

    /// Returns the text of the setting `name` from the source with the highest precedence. If no
    /// source contains the setting, returns its default.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.given
            .get(name)
            .map_or_else(|| default_of(name), |given| &given.text)
    }

    /// Returns the source of the text of the setting `name`.
    pub(crate) fn source(&self, name: &str) -> &Source {
        self.given
            .get(name)
            .map_or(&Source::Default, |given| &given.source)
    }

    /// Returns the path of the file from which the setting `name` was read. Returns `None` if the
    /// setting was not given as `<name>_file`.
    pub(crate) fn secret_file(&self, name: &str) -> Option<&Path> {
        match self.source(name) {
            Source::SecretFile(path, _) => Some(path),
            _ => None,
        }
    }

    /// Returns `true` if the text of the setting `name` is not empty. An empty text means "not
    /// set".
    pub(crate) fn is_set(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// Returns all settings for display, in the order of [`KEYS`]. The values of secrets are left
    /// out.
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

    fn merge(&mut self, layer: Vec<(String, String, Source)>, problems: &mut Vec<Problem>) {
        let mut merged = Vec::new();
        for (name, text, source) in layer {
            let Some(key) = KEYS
                .iter()
                .find(|key| key.names().any(|known| known == name))
            else {
                let message = unknown_setting(&name);
                problems.push(Problem {
                    key: name,
                    source: source.to_string(),
                    message,
                });
                continue;
            };
            if merged.contains(&key.name) {
                let message = format!("give {0} or {0}_file, not both", key.name);
                problems.push(Problem {
                    key: name,
                    source: source.to_string(),
                    message,
                });
                continue;
            }
            merged.push(key.name);
            let given = if name == key.name {
                let text = Zeroizing::new(text);
                Ok(Given { text, source })
            } else {
                read_secret(&name, text, source)
            };
            let former = self.given.get(key.name);
            let discarded = former.filter(|former| !former.is_blank(key));
            let discarded = discarded.map(|former| former.source.to_string());
            match (given, discarded) {
                (Ok(given), Some(discarded)) if key.default.is_empty() && given.is_blank(key) => {
                    problems.push(Problem {
                        key: name,
                        source: given.source.to_string(),
                        message: format!(
                            "the value is empty, but {discarded} sets {}: set a value, or remove \
                             one of the two",
                            key.name
                        ),
                    });
                }
                (Ok(given), _) => drop(self.given.insert(key.name, given.normalised(key))),
                (Err(problem), _) => problems.push(problem),
            }
        }
    }

    /// Returns the environment variables that begin with `TSA_`, in upper or lower case, and that
    /// this program does not know.
    pub(crate) fn unknown_variables(&self) -> &[String] {
        &self.unknown_variables
    }

    /// Returns a warning for each unknown environment variable, and for each optional setting with
    /// an empty value. Both have no effect.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unknown = self.unknown_variables.iter();
        let unknown = unknown.map(|variable| describe_unknown_variable(variable));
        let empty = KEYS.iter().filter_map(|key| {
            let given = self.given.get(key.name)?;
            let is_empty = key.default.is_empty() && given.text.is_empty();
            is_empty.then(|| {
                format!(
                    "{} has no effect: its value is empty ({})",
                    key.name, given.source
                )
            })
        });
        unknown.chain(empty).collect()
    }
}

impl Given {
    /// Returns `true` if the text is empty. If the setting `key` is a list, also returns `true` for
    /// an empty list (`[]`), and for a text of spaces and commas.
    fn is_blank(&self, key: &Key) -> bool {
        let text = self.text.trim();
        self.text.is_empty()
            || key.is_list && (text == "[]" || text.chars().all(|c| c == ',' || c.is_whitespace()))
    }

    /// If the setting `key` has no default and the text is blank ([`Self::is_blank`]), replaces the
    /// text by the empty text, which means "not set".
    fn normalised(self, key: &Key) -> Self {
        if key.default.is_empty() && self.is_blank(key) {
            return Self {
                text: Zeroizing::default(),
                ..self
            };
        }
        self
    }
}

fn unknown_setting(name: &str) -> String {
    let suggestion = similar(name).map(|name| format!("did you mean {name}? "));
    format!(
        "there is no such setting; {}tee-session --help lists all settings",
        suggestion.unwrap_or_default()
    )
}

/// Returns the default value of the setting `name` as text; empty if there is no default.
pub(super) fn default_of(name: &str) -> &'static str {
    Key::find(name).map_or("", |key| key.default)
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
                message: "the value must be UTF-8".to_owned(),
            }),
        }
    }
    layer
}

/// Reads a secret from the file at `path`. The file must be a regular file, because some files are
/// read again while the service runs, and a named pipe would block.
fn read_secret(name: &str, path: String, source: Source) -> Result<Given, Problem> {
    let path = PathBuf::from(path);
    let problem = |message: String| Problem {
        key: name.to_owned(),
        source: source.to_string(),
        message,
    };
    let content = read_regular_file(&path).map_err(|error| {
        let text = path.to_string_lossy();
        problem(if text.contains("://") || text.contains('=') {
            // The text may be the secret itself, so the error must not repeat it.
            "the value must be the path of a file, not its content".to_owned()
        } else {
            format!("{text} cannot be read: {error}")
        })
    })?;
    let text = str::from_utf8(&content)
        .map_err(|_| problem(format!("{} is not UTF-8 text", path.display())))?;
    if text.trim().is_empty() {
        return Err(problem(format!("{} is empty", path.display())));
    }
    Ok(Given {
        text: Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()),
        source: Source::SecretFile(path, Box::new(source)),
    })
}

fn read_file(path: PathBuf, problems: &mut Vec<Problem>) -> Vec<(String, String, Source)> {
    let source = Source::File(path.clone());
    let mut problem = |message: String| {
        let (key, source) = ("config".to_owned(), source.to_string());
        problems.push(Problem {
            key,
            source,
            message,
        });
        Vec::new()
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return problem(format!("the file cannot be read: {error}")),
    };
    match text.parse::<toml::Table>() {
        Ok(table) => {
            let divided = table.iter().filter(|(_, value)| has_divided_entry(value));
            problems.extend(divided.map(|(name, _)| Problem {
                key: name.clone(),
                source: source.to_string(),
                message:
                    "an entry of the list contains a comma, which separates entries".to_owned(),
            }));
            let table = table.into_iter();
            table
                .map(|(name, value)| (name, text_of(value), source.clone()))
                .collect()
        }
        // The full error of the TOML parser is not used. It quotes the invalid line, and this line
        // may contain a secret.
        Err(error) => {
            let before = error.span().map_or("", |span| &text[..span.start]);
            let line = 1 + before.matches('\n').count();
            problem(format!(
                "the file is not valid TOML: {} (line {line}). Write each setting as name = value, \
                 and each text in quotes, such as log_level = \"INFO\"",
                error.message()
            ))
        }
    }
}

/// Returns `true` if `value` is a list with an entry that contains a comma. [`text_of`] separates
/// entries by commas, so this entry would become several entries.
fn has_divided_entry(value: &toml::Value) -> bool {
    let entries = value.as_array().into_iter().flatten();
    let mut texts = entries.filter_map(toml::Value::as_str);
    texts.any(|text| text.contains(','))
}

/// Converts a TOML value to text, in the format of the environment variables. A list becomes its
/// items, separated by commas. A table, or a list that contains a table, becomes JSON. Any other
/// value becomes plain text.
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

/// All problems that were found in the settings. `Display` prints one problem per line.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

/// A problem with one setting. The message does not contain the value of the setting, because the
/// value may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) source: String,
    pub(crate) message: String,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem {
            key,
            source,
            message,
        } in &self.0
        {
            writeln!(f, "tee-session: {key} ({source}): {message}")?;
        }
        Ok(())
    }
}
