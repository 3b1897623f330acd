//! What a Redis URL says.

use std::{fmt, path::PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use crate::{RedisSettingsError, address::Address};

const REDIS_PORT: u16 = 6_379;

const SENTINEL_PORT: u16 = 26_379;

/// What the URL's scheme says beside its `s` for TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    One,
    Unix,
    Sentinel,
    Cluster,
}

/// Which servers there are.
#[derive(Debug, Clone)]
pub(crate) enum Deployment {
    One(Server),
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
        /// Who we are to the sentinels.
        credentials: Credentials,
    },
    /// These know of the others.
    Cluster(Vec<Address>),
}

/// Where one server listens.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    Tcp(Address),
    Unix(PathBuf),
}

/// Who we are.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
}

/// A URL in its parts.
pub(crate) struct Parts {
    pub(crate) deployment: Deployment,
    pub(crate) credentials: Credentials,
    pub(crate) database: Option<u16>,
}

impl Parts {
    pub(crate) fn of(kind: Kind, url: &str) -> Result<Self, RedisSettingsError> {
        let url = Url::parse(url).map_err(|_| form("it cannot be read as a URL"))?;
        let default_port = match kind {
            Kind::Sentinel => SENTINEL_PORT,
            _ => REDIS_PORT,
        };
        let parameter = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        let named = || -> Result<Address, RedisSettingsError> {
            let host = url.host_str().ok_or(form("the host is missing"))?;
            Ok(Address::new(
                without_brackets(host),
                url.port().unwrap_or(default_port),
            ))
        };
        // In the order of the URL, those of its query last.
        let all = || -> Result<Vec<Address>, RedisSettingsError> {
            let nodes = url.query_pairs().filter(|(key, _)| key == "node");
            let nodes = nodes.map(|(_, value)| node(&value));
            std::iter::once(named()).chain(nodes).collect()
        };
        let deployment = match kind {
            Kind::One => Deployment::One(Server::Tcp(named()?)),
            Kind::Unix => Deployment::One(Server::Unix(decoded(url.path())?.as_str().into())),
            Kind::Cluster => Deployment::Cluster(all()?),
            Kind::Sentinel => Deployment::Sentinel {
                sentinels: all()?,
                service: parameter("sentinelServiceName")
                    .ok_or(form("sentinelServiceName is missing"))?,
                credentials: Credentials {
                    username: parameter("sentinelUsername"),
                    password: parameter("sentinelPassword").map(Zeroizing::new),
                },
            },
        };
        let database = match kind {
            Kind::One | Kind::Sentinel => database(url.path())?,
            // A path is the socket's; a cluster has one database.
            Kind::Unix | Kind::Cluster => None,
        };
        Ok(Self {
            deployment,
            credentials: Credentials {
                username: present(decoded(url.username())?).map(|name| name.to_string()),
                password: present(decoded(url.password().unwrap_or_default())?),
            },
            database,
        })
    }
}

fn database(path: &str) -> Result<Option<u16>, RedisSettingsError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.trim().is_empty() {
        return Ok(None);
    }
    let number = path.parse();
    number
        .map(Some)
        .map_err(|_| form("the database must be a number"))
}

fn node(text: &str) -> Result<Address, RedisSettingsError> {
    let parts = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts
        .map(|(host, port)| Address::new(without_brackets(host), port))
        .filter(|address| !address.host.is_empty())
        .ok_or(form("each node must be given as host:port"))
}

/// URLs write addresses of IPv6 in brackets; nobody else does.
fn without_brackets(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn decoded(text: &str) -> Result<Zeroizing<String>, RedisSettingsError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| Zeroizing::new(text.into_owned()))
        .map_err(|_| form("it cannot be read as a URL"))
}

fn present(text: Zeroizing<String>) -> Option<Zeroizing<String>> {
    Some(text).filter(|text| !text.is_empty())
}

fn form(reason: &'static str) -> RedisSettingsError {
    RedisSettingsError::Form { reason }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parts(kind: Kind, url: &str) -> Parts {
        Parts::of(kind, url).unwrap()
    }

    fn address(deployment: &Deployment) -> &Address {
        match deployment {
            Deployment::One(Server::Tcp(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case::host("redis://redis-1", "redis-1", 6_379, None)]
    #[case::port("redis://redis-1:7000/", "redis-1", 7_000, None)]
    #[case::database("redis://redis-1/12", "redis-1", 6_379, Some(12))]
    #[case::ipv4("redis://10.0.0.7:1", "10.0.0.7", 1, None)]
    #[case::ipv6("redis://[::1]:1", "::1", 1, None)]
    fn one_server(
        #[case] url: &str,
        #[case] host: &str,
        #[case] port: u16,
        #[case] database: Option<u16>,
    ) {
        let parts = parts(Kind::One, url);
        assert_eq!(address(&parts.deployment), &Address::new(host, port));
        assert_eq!(parts.database, database);
    }

    #[rstest]
    #[case::none("redis://h", None, None)]
    #[case::password("redis://:p%40ss@h", None, Some("p@ss"))]
    #[case::both("redis://us%3Aer:p%2Fw@h", Some("us:er"), Some("p/w"))]
    #[case::only_a_name("redis://user@h", Some("user"), None)]
    fn credentials(
        #[case] url: &str,
        #[case] username: Option<&str>,
        #[case] password: Option<&str>,
    ) {
        let credentials = parts(Kind::One, url).credentials;
        assert_eq!(credentials.username.as_deref(), username);
        let found = credentials.password.as_ref().map(|text| text.as_str());
        assert_eq!(found, password);
    }

    #[test]
    fn sentinels_their_service_and_their_own_credentials() {
        let url = "redis-sentinel://user:pw@a/3?node=b:2&sentinelServiceName=main&node=[::1]:3\
                   &sentinelUsername=s&sentinelPassword=t%26";
        let parts = parts(Kind::Sentinel, url);
        let Deployment::Sentinel {
            sentinels,
            service,
            credentials,
        } = parts.deployment
        else {
            panic!("sentinels")
        };
        let expected = [("a", 26_379), ("b", 2), ("::1", 3)];
        assert_eq!(
            sentinels,
            expected.map(|(host, port)| Address::new(host, port))
        );
        assert_eq!(service, "main");
        assert_eq!(credentials.username.as_deref(), Some("s"));
        assert_eq!(credentials.password.unwrap().as_str(), "t&");
        assert_eq!(parts.credentials.password.unwrap().as_str(), "pw");
        assert_eq!(parts.database, Some(3));
    }

    #[test]
    fn a_cluster_has_one_database() {
        let parts = parts(Kind::Cluster, "redis-cluster://a:1/5?node=b:2");
        assert!(matches!(&parts.deployment, Deployment::Cluster(nodes) if nodes.len() == 2));
        assert_eq!(parts.database, None);
    }

    #[test]
    fn a_unix_socket_stands_in_the_path() {
        let parts = parts(Kind::Unix, "redis+unix:///run/my%20redis.sock");
        assert!(matches!(
            &parts.deployment,
            Deployment::One(Server::Unix(path)) if path.to_str() == Some("/run/my redis.sock")
        ));
    }

    #[test]
    fn debug_shows_nothing_of_credentials() {
        let credentials = parts(Kind::One, "redis://user:s3cret@h").credentials;
        assert_eq!(format!("{credentials:?}"), "Credentials");
    }
}
