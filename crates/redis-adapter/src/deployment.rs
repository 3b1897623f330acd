//! The Redis servers that a Redis URL names: one server, sentinels or a cluster.

use std::path::PathBuf;

use crate::address::Address;
pub(crate) use crate::credentials::Credentials;

/// The kind of Redis deployment that a Redis URL names, with the addresses of the servers.
#[derive(Debug, Clone)]
pub(crate) enum Deployment {
    /// One Redis server, without sentinels and without a cluster.
    One(Server),
    /// Sentinels that name the current primary. `service` is the name under which the sentinels
    /// monitor the primary.
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
        /// User and password for the sentinels. The user and password for the primary are
        /// configured separately.
        credentials: Credentials,
    },
    /// Seed servers of a cluster. Each seed server reports the addresses of all servers of the
    /// cluster.
    Cluster(Vec<Address>),
}

/// The address of one Redis server: host and port, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    Tcp(Address),
    Unix(PathBuf),
}

impl Deployment {
    /// Returns `true` if `self` and `other` are of the same kind and name the same servers. Users
    /// and passwords are not compared.
    pub(crate) fn has_servers_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(server), Self::One(other)) => server == other,
            (Self::Cluster(seeds), Self::Cluster(others)) => seeds == others,
            (
                Self::Sentinel {
                    sentinels, service, ..
                },
                Self::Sentinel {
                    sentinels: others,
                    service: other,
                    ..
                },
            ) => sentinels == others && service == other,
            _ => false,
        }
    }
}
