//! The schemes of Redis URLs, and the kinds of deployment that they select.

/// The supported URL schemes. For each scheme, the array contains the kind of deployment and a flag
/// that is `true` for TLS. The README of this crate lists the URL forms.
pub(crate) const SCHEMES: [(&str, Kind, bool); 7] = [
    ("redis", Kind::One, false),
    ("rediss", Kind::One, true),
    ("redis-cluster", Kind::Cluster, false),
    ("rediss-cluster", Kind::Cluster, true),
    ("redis-sentinel", Kind::Sentinel, false),
    ("rediss-sentinel", Kind::Sentinel, true),
    ("redis+unix", Kind::Unix, false),
];

/// The kind of deployment that a URL scheme selects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    One,
    Unix,
    Sentinel,
    Cluster,
}
