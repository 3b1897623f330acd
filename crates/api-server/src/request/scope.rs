//! Scopes: the permissions of service clients.

/// A permission of a service client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Permission to create sessions (`create`).
    Create,
    /// Permission to introspect tokens (`introspect`, RFC 7662).
    Introspect,
    /// Permission to revoke tokens (`revoke`, RFC 7009).
    Revoke,
    /// Permission to list and end the sessions of any subject (`admin`).
    Admin,
}

impl Scope {
    /// All scopes that a service client can have.
    pub const ALL: [Self; 4] = [Self::Create, Self::Introspect, Self::Revoke, Self::Admin];

    /// Returns the name of this scope in the settings, such as `create`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Admin => "admin",
        }
    }
}
