//! Service clients: the programs that may create, introspect, revoke, list and end sessions (HTTP
//! Basic, RFC 7617).

use std::{fmt, str::FromStr};

use actix_web::{
    dev::RequestHead,
    http::{
        header::{AUTHORIZATION, HOST, HeaderMap},
        uri::Authority,
    },
};
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::problem::ApiError;

/// Longer credentials are not decoded.
const MAX_CREDENTIALS_LEN: usize = 1_024;

/// Everybody who may use the endpoints for service clients. None at all means that nobody has
/// to say who they are, which is for a first try on a loopback address only.
#[derive(Debug, Clone, Default)]
pub struct ServiceClients(Vec<ServiceClient>);

impl ServiceClients {
    /// These clients.
    #[must_use]
    pub fn new(clients: Vec<ServiceClient>) -> Self {
        Self(clients)
    }

    /// Whether nobody has to say who they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a request through if it comes from a client with `scope`.
    pub(crate) fn authorize(&self, request: &RequestHead, scope: Scope) -> Result<(), ApiError> {
        if self.is_empty() {
            return if is_proxied(request) {
                Err(ApiError::ProxiedWithoutClients)
            } else {
                Ok(())
            };
        }
        let (id, secret) = basic_credentials(request.headers()).ok_or(ApiError::InvalidClient)?;
        let secret_hash = digest::digest(&digest::SHA256, &secret);
        // All are compared, so that the time taken does not tell which names exist.
        let mut found = None;
        for client in &self.0 {
            let is_known =
                |hash: &&[u8; 32]| verify_slices_are_equal(&hash[..], secret_hash.as_ref()).is_ok();
            let knows_secret = client.secrets.iter().filter(is_known).count() > 0;
            if knows_secret && client.id.as_bytes() == id {
                found = Some(client);
            }
        }
        let client = found.ok_or(ApiError::InvalidClient)?;
        if client.scopes.contains(&scope) {
            Ok(())
        } else {
            Err(ApiError::InsufficientScope)
        }
    }
}

/// One service client. Its secrets are known only by their SHA-256.
#[derive(Clone)]
pub struct ServiceClient {
    id: String,
    secrets: Vec<[u8; 32]>,
    scopes: Vec<Scope>,
}

impl ServiceClient {
    /// A client called `id` whose secret has one of these SHA-256 values (64 hexadecimal digits
    /// each; several let a secret be changed without an interruption).
    ///
    /// # Errors
    /// When `id` is empty, longer than 128 bytes or not visible ASCII without `:`; when there is
    /// no secret or one is no SHA-256; when there is no scope.
    pub fn new(
        id: impl Into<String>,
        secrets_sha256: &[impl AsRef<str>],
        scopes: Vec<Scope>,
    ) -> Result<Self, InvalidServiceClient> {
        let id = id.into();
        let is_sound = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if id.is_empty() || id.len() > 128 || !id.bytes().all(is_sound) {
            return Err(InvalidServiceClient::Id);
        }
        let secrets: Option<Vec<_>> = secrets_sha256
            .iter()
            .map(|hash| decode_sha256(hash.as_ref()))
            .collect();
        let secrets = secrets.filter(|secrets| !secrets.is_empty());
        let secrets = secrets.ok_or(InvalidServiceClient::Secret)?;
        if scopes.is_empty() {
            return Err(InvalidServiceClient::Scopes);
        }
        Ok(Self {
            id,
            secrets,
            scopes,
        })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceClient")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// What a service client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Create sessions.
    Create,
    /// Ask whether a token opens a session (RFC 7662).
    Introspect,
    /// Revoke tokens (RFC 7009).
    Revoke,
    /// List and end the sessions of others.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Create, Self::Introspect, Self::Revoke, Self::Admin];

    /// The name in settings.
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

impl FromStr for Scope {
    type Err = InvalidServiceClient;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == name);
        known.ok_or(InvalidServiceClient::Scopes)
    }
}

/// A service client cannot be taken. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidServiceClient {
    /// Its name.
    #[error("id must be 1 to 128 visible ASCII characters other than a colon")]
    Id,
    /// Its secrets.
    #[error("secret_sha256 must be the SHA-256 of the secret in 64 hexadecimal digits, or several")]
    Secret,
    /// Its scopes.
    #[error("scopes must be one or more of: create, introspect, revoke, admin")]
    Scopes,
}

fn decode_sha256(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Name and secret of one well-formed `Authorization: Basic` field.
fn basic_credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let mut fields = headers.get_all(AUTHORIZATION);
    let (field, None) = (fields.next()?, fields.next()) else {
        return None;
    };
    let (scheme, credentials) = field.to_str().ok()?.trim().split_once(' ')?;
    let credentials = credentials.trim();
    if !scheme.eq_ignore_ascii_case("Basic") || credentials.len() > MAX_CREDENTIALS_LEN {
        return None;
    }
    let credentials = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some((
        credentials[..colon].to_vec(),
        Zeroizing::new(credentials[colon + 1..].to_vec()),
    ))
}

/// Whether a request shows signs of a proxy: one in front of a service without clients would
/// open it to whoever reaches the proxy.
fn is_proxied(request: &RequestHead) -> bool {
    let forwarded = |name: &str| name == "forwarded" || name.starts_with("x-forwarded-");
    let headers = request.headers();
    let host = headers
        .get(HOST)
        .map(|host| host.to_str().unwrap_or_default());
    // What an absolute target names counts as well (RFC 9112, section 3.2.2).
    let target = request.uri.authority().map(Authority::as_str);
    let mut hosts = host.into_iter().chain(target);
    headers.keys().any(|name| forwarded(name.as_str())) || hosts.any(|host| !is_loopback_host(host))
}

fn is_loopback_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<std::net::SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host
        .rsplit_once(':')
        .filter(|_| !host.ends_with(']'))
        .map_or(host, |(n, _)| n);
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
