//! A strict parser of Redis URLs. A part of the URL that would have no effect is an error.
//!
//! An error names the invalid part of the URL and does not repeat the text of that part. If a
//! password is not percent-encoded, any part of the URL may contain a piece of the password.

use percent_encoding::percent_decode_str;
use url::{ParseError, Url};
use zeroize::Zeroizing;

use crate::{
    RedisSettingsError,
    address::Address,
    credentials::{Credentials, Login},
    deployment::{Deployment, Server},
    url_scheme::{Kind, SCHEMES},
};

const REDIS_PORT: u16 = 6_379;

const SENTINEL_PORT: u16 = 26_379;

/// Maximum length of a query parameter name that an error text repeats, in bytes. A longer name may
/// be a piece of a password.
const MAX_SHOWN_NAME_LEN: usize = 32;

const SERVICE: &str = "sentinelServiceName";

const SENTINEL_USERNAME: &str = "sentinelUsername";

const SENTINEL_PASSWORD: &str = "sentinelPassword";

impl Kind {
    /// Returns the names of the query parameters that have an effect for this kind of deployment.
    /// Only `node` may be repeated.
    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::One => &[],
            Self::Unix => &["db"],
            Self::Cluster => &["node"],
            Self::Sentinel => &["node", SERVICE, SENTINEL_USERNAME, SENTINEL_PASSWORD],
        }
    }
}

/// A parsed Redis URL.
#[derive(Clone)]
pub(crate) struct RedisUrl {
    pub(crate) deployment: Deployment,
    pub(crate) credentials: Credentials,
    /// Number of the Redis database; `None` for database 0.
    pub(crate) database: Option<u16>,
    pub(crate) is_tls: bool,
}

impl RedisUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, RedisSettingsError> {
        let scheme = text.split_once("://");
        let (kind, is_tls, rest) = scheme
            .and_then(|(scheme, rest)| {
                let known = SCHEMES.into_iter().find(|(name, ..)| *name == scheme);
                known.map(|(_, kind, is_tls)| (kind, is_tls, rest))
            })
            .ok_or(RedisSettingsError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        let parser = Parser {
            kind,
            has_userinfo: authority.contains('@'),
            may_be_cut: after.contains('@'),
        };
        let parsed = parser.parse(text);
        let (deployment, login, database) = parsed.map_err(|mut reason| {
            if parser.may_be_cut {
                reason.push_str(
                    "; if the password contains #, / or ?, percent-encode them: %23, %2F, %3F",
                );
            }
            RedisSettingsError::Form { reason }
        })?;
        Ok(Self {
            deployment,
            credentials: Credentials::new(login),
            database,
            is_tls,
        })
    }

    /// Returns the name of the first part in which `other` differs from this URL: `scheme`,
    /// `server` or `database`. Returns `None` if there is no difference. Users and passwords are
    /// not compared.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let same_kind =
            std::mem::discriminant(&self.deployment) == std::mem::discriminant(&other.deployment);
        if !same_kind || self.is_tls != other.is_tls {
            Some("scheme")
        } else if !self.deployment.has_servers_of(&other.deployment) {
            Some("server")
        } else {
            (self.database != other.database).then_some("database")
        }
    }
}

struct Parser {
    kind: Kind,
    has_userinfo: bool,
    /// `true` if the text after the authority contains an `@`. The password may then contain a `#`,
    /// `/` or `?` that is not percent-encoded. Such a character ends the authority, and the rest of
    /// the password is parsed as a path, a query or a fragment.
    may_be_cut: bool,
}

type Parts = (Deployment, Option<Login>, Option<u16>);

impl Parser {
    fn parse(&self, text: &str) -> Result<Parts, String> {
        let text = text.trim_end();
        // `Url::parse` follows the URL standard and drops line breaks and tabs, even in a password.
        if text.contains(char::is_control) {
            return fault("it contains a control character, such as a line break");
        }
        let url = Url::parse(text).map_err(|error| match (error, self.kind) {
            (ParseError::EmptyHost, Kind::Unix) => {
                "credentials for a Unix socket need the host localhost, as in \
                 redis+unix://USER:PASSWORD@localhost/PATH"
            }
            (ParseError::EmptyHost, _) => "the host is missing",
            (ParseError::InvalidPort, _) => "the port must be a number from 0 to 65535",
            _ => "it is not a valid URL",
        })?;
        if url.fragment().is_some() {
            return fault("the fragment (after #) has no effect");
        }
        self.check_query(&url)?;
        let login = self.login(&url)?;
        let deployment = match self.kind {
            Kind::One => Deployment::One(Server::Tcp(self.host(&url)?)),
            Kind::Unix => Deployment::One(Server::Unix(socket(&url)?.into())),
            Kind::Cluster => Deployment::Cluster(self.hosts(&url)?),
            Kind::Sentinel => Deployment::Sentinel {
                sentinels: self.hosts(&url)?,
                service: parameter(&url, SERVICE)
                    .filter(|service| !service.is_empty())
                    .ok_or("sentinelServiceName is missing")?,
                credentials: Credentials::new(sentinel_login(&url)?),
            },
        };
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let database = match self.kind {
            Kind::One | Kind::Sentinel if path.is_empty() => None,
            Kind::One | Kind::Sentinel => Some(database(path, "the path")?),
            Kind::Unix => match parameter(&url, "db") {
                Some(number) => Some(database(&number, "db")?),
                None => None,
            },
            Kind::Cluster if path.is_empty() => None,
            Kind::Cluster => {
                return fault(
                    "the path has no effect: remove it, because a cluster has one database",
                );
            }
        };
        Ok((deployment, login, database.filter(|number| *number != 0)))
    }

    fn check_query(&self, url: &Url) -> Result<(), String> {
        if url.query().is_some() && url.query_pairs().next().is_none() {
            return fault("the empty query (?) has no effect");
        }
        let mut seen = Vec::new();
        for (name, _) in url.query_pairs() {
            let parameters = self.kind.parameters();
            let Some(known) = parameters.iter().find(|known| **known == name) else {
                if seen.contains(&SENTINEL_PASSWORD) {
                    return fault(
                        "a query parameter after sentinelPassword has no effect; if the \
                         password contains &, write it as %26",
                    );
                }
                return fault(match self.shown(&name) {
                    Some(name) => format!("the query parameter {name} has no effect"),
                    None => "a query parameter has no effect".to_owned(),
                });
            };
            if *known != "node" && seen.contains(known) {
                return fault(format!("the query parameter {known} is repeated"));
            }
            seen.push(known);
        }
        Ok(())
    }

    /// Returns `name` (the name of an unknown query parameter) if an error text may contain the
    /// name. Returns `None` if the name may be a piece of a password.
    fn shown<'a>(&self, name: &'a str) -> Option<&'a str> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_shown = !self.may_be_cut
            && (1..=MAX_SHOWN_NAME_LEN).contains(&name.len())
            && name.bytes().all(is_plain);
        is_shown.then_some(name)
    }

    fn login(&self, url: &Url) -> Result<Option<Login>, String> {
        let username = decoded(url.username())?;
        let password = decoded(url.password().unwrap_or_default())?;
        match (username.is_empty(), password.is_empty()) {
            (true, true) if !self.has_userinfo => Ok(None),
            (true, true) => fault("the password before @ is empty"),
            (false, true) => fault(
                "its user has no password: write USER:PASSWORD@, or leave both out to use the user \
                 default without a password",
            ),
            (is_default, false) => Ok(Some(Login {
                username: (!is_default).then(|| username.to_string()),
                password,
            })),
        }
    }

    fn host(&self, url: &Url) -> Result<Address, String> {
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("the host is missing")?;
        let port = url.port().unwrap_or(match self.kind {
            Kind::Sentinel => SENTINEL_PORT,
            _ => REDIS_PORT,
        });
        Ok(Address::new(without_brackets(host), port))
    }

    /// Returns the addresses of all servers in the URL: first the host of the authority, then the
    /// `node` query parameters in their order.
    fn hosts(&self, url: &Url) -> Result<Vec<Address>, String> {
        let nodes = url.query_pairs().filter(|(name, _)| name == "node");
        let nodes = nodes.map(|(_, value)| node(&value));
        std::iter::once(self.host(url)).chain(nodes).collect()
    }
}

fn sentinel_login(url: &Url) -> Result<Option<Login>, String> {
    let username = parameter(url, SENTINEL_USERNAME);
    match parameter(url, SENTINEL_PASSWORD).map(Zeroizing::new) {
        Some(password) if password.is_empty() => fault("sentinelPassword is empty"),
        Some(password) => Ok(Some(Login {
            username: username.filter(|username| !username.is_empty()),
            password,
        })),
        None if username.is_some() => fault("sentinelUsername needs sentinelPassword"),
        None => Ok(None),
    }
}

fn socket(url: &Url) -> Result<String, String> {
    let is_local = url
        .host_str()
        .is_none_or(|host| host.is_empty() || host == "localhost");
    if !is_local || url.port().is_some() {
        return fault("a Unix socket has no host and port: remove them, or write localhost");
    }
    let path = decoded(url.path())?;
    if path.len() < 2 {
        return fault("the path of the Unix socket is missing");
    }
    Ok(path.to_string())
}

fn database(number: &str, part: &str) -> Result<u16, String> {
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| format!("{part} must be the number of a database"))
}

fn node(text: &str) -> Result<Address, String> {
    let parts = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((without_brackets(host), port.parse().ok()?)));
    parts
        .filter(|(host, _)| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
        .map(|(host, port)| Address::new(host, port))
        .ok_or_else(|| "each node must be given as host:port".to_owned())
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

/// Removes the brackets that surround an IPv6 address in a URL.
fn without_brackets(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn decoded(text: &str) -> Result<Zeroizing<String>, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| Zeroizing::new(text.into_owned()))
        .map_err(|_| {
            "user, password and path must be UTF-8 when they are percent-decoded".to_owned()
        })
}

fn fault<T>(reason: impl Into<String>) -> Result<T, String> {
    Err(reason.into())
}

#[cfg(test)]
mod tests;
