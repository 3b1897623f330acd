//! The servers that a Redis URL leads to.

use std::path::PathBuf;

use crate::address::Address;
pub(crate) use crate::credentials::Credentials;

/// The servers that a Redis URL leads to.
#[derive(Debug, Clone)]
pub(crate) enum Deployment {
    One(Server),
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
        /// Credentials for the sentinels, which have users of their own.
        credentials: Credentials,
    },
    /// Seed nodes, which know the other nodes.
    Cluster(Vec<Address>),
}

/// The address that one server listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    Tcp(Address),
    Unix(PathBuf),
}

impl Deployment {
    /// Reports whether both lead to the same servers, whatever their credentials.
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
