//! Service clients: programs that authenticate with HTTP Basic (RFC 7617) and may create,
//! introspect, revoke, list and end sessions.

mod well_known_secrets;

use std::{fmt, str::FromStr, sync::Arc};

use actix_web::{
    dev::RequestHead,
    http::header::{AUTHORIZATION, HeaderMap},
};
use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use thiserror::Error;
use zeroize::Zeroizing;

use self::well_known_secrets::is_well_known;
use crate::{
    problem::ApiError,
    request::{proxy_signs::is_proxied, scope::Scope},
};

/// Maximum length of the Base64 text in Basic credentials, in bytes. Longer credentials are
/// rejected without decoding.
const MAX_CREDENTIALS_LEN: usize = 1_024;

/// The service clients that may create sessions, introspect and revoke tokens, and list and end the
/// sessions of any subject. The scopes of each client limit what that client may do.
///
/// If there are no service clients, these operations require no credentials. Use the service
/// without service clients only for a first try on a loopback address.
///
/// Clones share their service clients: [`replace`](Self::replace) changes all of them.
#[derive(Debug, Clone, Default)]
pub struct ServiceClients(Arc<ArcSwap<Vec<ServiceClient>>>);

impl ServiceClients {
    /// Creates a set of service clients.
    #[must_use]
    pub fn new(clients: Vec<ServiceClient>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(clients)))
    }

    /// Replaces the service clients of this value and of all its clones. The next request is
    /// checked with the new service clients.
    ///
    /// Do not replace a non-empty list by an empty list. The service would then require no
    /// credentials.
    pub fn replace(&self, clients: Vec<ServiceClient>) {
        self.0.store(Arc::new(clients));
    }

    /// Returns `true` if there are no service clients. Requests then need no credentials of a
    /// service client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Checks that a request has the credentials of a service client with the scope `scope`, and
    /// returns the id of that client. If there are no service clients, accepts every request that
    /// shows no sign of a proxy.
    pub(crate) fn authorize(
        &self,
        request: &RequestHead,
        scope: Scope,
    ) -> Result<ClientId, ApiError> {
        let clients = self.0.load();
        if clients.is_empty() {
            return if is_proxied(request) {
                Err(ApiError::ProxiedWithoutClients)
            } else {
                Ok(ClientId::anonymous())
            };
        }
        let (id, secret) = basic_credentials(request.headers()).ok_or(ApiError::InvalidClient)?;
        if secret.is_empty() {
            return Err(ApiError::InvalidClient);
        }
        let secret_hash = digest::digest(&digest::SHA256, &secret);
        // The credentials are compared with all service clients, so that the response time does not
        // reveal which ids exist.
        let mut found = None;
        for client in clients.iter() {
            let is_known =
                |hash: &&[u8; 32]| verify_slices_are_equal(&hash[..], secret_hash.as_ref()).is_ok();
            let knows_secret = client.secrets.iter().filter(is_known).count() > 0;
            if knows_secret && client.id.as_str().as_bytes() == id {
                found = Some(client);
            }
        }
        let client = found.ok_or(ApiError::InvalidClient)?;
        if client.scopes.contains(&scope) {
            Ok(client.id.clone())
        } else {
            Err(ApiError::InsufficientScope(scope))
        }
    }

    /// Returns the id in the Basic credentials of a request, if a service client has this id. The
    /// secret is not checked.
    pub(crate) fn named_in(&self, request: &RequestHead) -> Option<ClientId> {
        let (id, _) = basic_credentials(request.headers())?;
        let clients = self.0.load();
        let mut ids = clients.iter().map(|client| &client.id);
        ids.find(|known| known.as_str().as_bytes() == id).cloned()
    }
}

/// A service client: its id, its scopes, and the SHA-256 of each of its secrets. The secrets
/// themselves are not stored.
#[derive(Clone)]
pub struct ServiceClient {
    id: ClientId,
    secrets: Vec<[u8; 32]>,
    scopes: Vec<Scope>,
}

impl ServiceClient {
    /// Creates a service client from its id, the SHA-256 values of its secrets, and its scopes.
    ///
    /// Each SHA-256 value has 64 hexadecimal digits. While a secret is being replaced, the SHA-256
    /// values of the old and the new secret can be set together.
    ///
    /// # Errors
    /// - [`InvalidServiceClient::Id`] if `id` is empty, is longer than 128 bytes, contains a colon,
    ///   or contains a character that is not visible ASCII.
    /// - [`InvalidServiceClient::Secret`] if `secrets_sha256` is empty or contains a value that is
    ///   not a SHA-256.
    /// - [`InvalidServiceClient::WellKnownSecret`] if `secrets_sha256` contains the SHA-256 of the
    ///   empty text, of `id` or of a placeholder, such as `$SECRET`.
    /// - [`InvalidServiceClient::Scopes`] if `scopes` is empty.
    pub fn new(
        id: impl Into<String>,
        secrets_sha256: &[impl AsRef<str>],
        scopes: Vec<Scope>,
    ) -> Result<Self, InvalidServiceClient> {
        let id: String = id.into();
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if id.is_empty() || id.len() > 128 || !id.bytes().all(is_allowed) {
            return Err(InvalidServiceClient::Id);
        }
        let secrets: Option<Vec<_>> = secrets_sha256
            .iter()
            .map(|hash| decode_sha256(hash.as_ref()))
            .collect();
        let secrets = secrets.filter(|secrets| !secrets.is_empty());
        let secrets = secrets.ok_or(InvalidServiceClient::Secret)?;
        if secrets.iter().any(|hash| is_well_known(hash, &id)) {
            return Err(InvalidServiceClient::WellKnownSecret);
        }
        if scopes.is_empty() {
            return Err(InvalidServiceClient::Scopes);
        }
        Ok(Self {
            id: ClientId::from(id.as_str()),
            secrets,
            scopes,
        })
    }

    /// Returns the id of the service client.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Returns the scopes of the service client.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Returns the number of secrets. The number is greater than one while a secret is being
    /// replaced.
    #[must_use]
    pub fn secret_count(&self) -> usize {
        self.secrets.len()
    }
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceClient")
            .field("id", &self.id.as_str())
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Id of the service client that sent a request. Clones share the text in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientId(Arc<str>);

impl ClientId {
    /// Returns the empty id, which stands for every caller if there are no service clients. The id
    /// of a service client has at least one character.
    fn anonymous() -> Self {
        Self::from("")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<&str> for ClientId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl FromStr for Scope {
    type Err = InvalidServiceClient;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == name);
        known.ok_or(InvalidServiceClient::Scopes)
    }
}

/// Error for an invalid service client. `Display` describes what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidServiceClient {
    /// The id is empty, too long, or contains a character that is not allowed.
    #[error(
        "id must be 1 to 128 visible ASCII characters other than a colon, without spaces, such as \
         booking-api"
    )]
    Id,
    /// The list of SHA-256 values is empty, or one of the values is not a SHA-256.
    #[error(
        "secret_sha256 must be the SHA-256 of the secret in 64 hexadecimal digits, or a list of \
         such values"
    )]
    Secret,
    /// A value is the SHA-256 of the empty text, of the id, or of a placeholder such as `$SECRET`.
    #[error(
        "secret_sha256 is the SHA-256 of the empty text, of the id or of a placeholder such as \
         $SECRET, so anyone could use this client; perhaps a variable was not set. Create a secret \
         with `tee-session client new --id ID --scope create`"
    )]
    WellKnownSecret,
    /// The list of scopes is empty, or a scope has an unknown name.
    #[error("scopes must be one or more of: create, introspect, revoke, admin")]
    Scopes,
}

fn decode_sha256(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}

/// Returns the id and the secret from the header `Authorization: Basic`. Returns `None` if the
/// header is missing, repeated, too long or malformed.
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

#[cfg(test)]
mod tests;
