//! Operations of the session manager that create sessions.

use futures_util::future::join;

use super::{NewSession, SessionManager};
use crate::{
    BaseUrl, Cookies, InsertOutcome, LastRevocation, Login, RepositoryError, Session, SessionError,
    SessionEvent, SessionId, SessionRepository, SessionToken, clock::to_signed,
};

/// Maximum number of tokens that are generated for one session if the repository reports each of
/// them as already in use. If the maximum is reached, the creation of the session fails. Two random
/// tokens are practically never equal, so such reports mean that the repository is broken.
const MAX_TAKEN_TOKENS: usize = 3;

/// Maximum number of tokens that are generated to create or rotate one session. In a partitioned
/// store, another token is generated if the partition for a token is unavailable. If a third of the
/// partitions are unavailable, fewer than one session in ten million reaches this maximum.
pub(super) const MAX_TOKEN_DRAWS: usize = 16;

/// Tokens that were generated for one new session, and under which the repository did not store the
/// session.
#[derive(Default)]
pub(super) struct UnusableTokens {
    taken: usize,
    all: usize,
}

impl UnusableTokens {
    /// Counts the token, which the repository reported as already in use (`is_taken`), or whose
    /// partition is unavailable. Logs a warning if `is_taken` is `true`.
    ///
    /// # Errors
    /// `Unavailable` if no other token should be tried.
    pub(super) fn count(
        &mut self,
        token: &SessionToken,
        is_taken: bool,
    ) -> Result<(), RepositoryError> {
        self.all += 1;
        if is_taken {
            tracing::warn!(
                token_prefix = %token.prefix(),
                "New session token is already in use; generating another"
            );
            self.taken += 1;
        }
        let reason = if self.taken == MAX_TAKEN_TOKENS {
            "the store reported every new token as already in use"
        } else if self.all == MAX_TOKEN_DRAWS {
            "every partition of the store that was tried is unavailable"
        } else {
            return Ok(());
        };
        Err(RepositoryError::unavailable(reason))
    }
}

impl<R: SessionRepository> SessionManager<R> {
    /// Creates a session from `cookies` and `base_url`, and stores it under a new token. The
    /// session has no subject. Logs `Session created`.
    ///
    /// # Errors
    /// Returns the same errors as [`store_login`](Self::store_login).
    pub async fn store(
        &self,
        cookies: Cookies,
        base_url: BaseUrl,
    ) -> Result<NewSession, SessionError> {
        self.store_login(Login::new(cookies, base_url)).await
    }

    /// Creates a session from `login`, and stores it under a new token. Logs `Session created`.
    ///
    /// # Errors
    /// - [`RepositoryError::Unavailable`]: the session may have been stored. Such a session expires
    ///   unused, because its token was not returned.
    /// - [`RepositoryError::Full`]: the store has no room for the session.
    /// - [`SessionError::TooManySessions`]: the subject has reached its session limit.
    pub async fn store_login(&self, login: Login) -> Result<NewSession, SessionError> {
        self.store_login_while(login, || true).await
    }

    /// Creates a session like [`store_login`](Self::store_login). If older sessions of the subject
    /// must end because of the session limit, calls `is_wanted` after the new session was stored
    /// and before the older sessions end. If `is_wanted` returns `false`, removes the new session
    /// again and keeps the older sessions. A caller returns `false`, for example, if the client no
    /// longer waits for the new session.
    ///
    /// If the returned session cannot be delivered, call
    /// [`discard_undelivered`](Self::discard_undelivered). Do not drop the future before it
    /// completes, because the session could then stay stored and count towards the session limit.
    ///
    /// # Errors
    /// Returns the same errors as [`store_login`](Self::store_login). Returns
    /// [`RepositoryError::Unavailable`] if `is_wanted` returned `false`.
    #[tracing::instrument(name = "create session", skip_all)]
    pub async fn store_login_while(
        &self,
        login: Login,
        is_wanted: impl Fn() -> bool,
    ) -> Result<NewSession, SessionError> {
        let session = self.session_of(login);
        let (token, last_revocation) = self.insert(&session).await?;
        let admitted = Box::pin(self.admit(&token, &session, last_revocation, is_wanted)).await;
        if admitted.is_err() {
            self.discard(&token, &session).await;
        }
        admitted?;
        Ok(self.created(token, session))
    }

    pub(super) fn session_of(&self, login: Login) -> Session {
        let created_at = self.repository.now();
        Session::new(login, created_at, self.policy.absolute_end(created_at))
    }

    /// Logs a completed creation and reports it to the observer. Returns the session with its
    /// token.
    pub(super) fn created(&self, token: SessionToken, session: Session) -> NewSession {
        (self.observer)(SessionEvent::Created, 1);
        tracing::info!(
            token_prefix = %token.prefix(),
            base_url = %session.base_url.for_log(),
            "Session created"
        );
        let ttl = self.policy.initial_ttl();
        let expires_at = session.created_at.saturating_add(to_signed(ttl));
        NewSession {
            token,
            session,
            ttl,
            expires_at,
        }
    }

    /// Ensures that the subject's index contains the new session, and enforces the session limit of
    /// the subject.
    async fn admit(
        &self,
        token: &SessionToken,
        session: &Session,
        last_revocation: Option<LastRevocation>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<(), SessionError> {
        let excess = self.excess_of_new(token, session, last_revocation, is_wanted);
        self.evict(excess.await?).await
    }

    /// Ensures that the subject's index contains the new session. Returns the older sessions that
    /// must end because of the session limit of the subject.
    pub(super) async fn excess_of_new(
        &self,
        token: &SessionToken,
        session: &Session,
        last_revocation: Option<LastRevocation>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Vec<SessionId>, SessionError> {
        let indexed = self.ensure_indexed(token, session, last_revocation);
        let subject = session.attributes.subject.as_ref();
        let (Some(subject), Some(limit)) = (subject, self.policy.subject_limit()) else {
            indexed.await?;
            return Ok(Vec::new());
        };
        // Usually both calls only read. They run concurrently, which saves a login one round trip.
        let (indexed, excess) = join(indexed, self.excess(subject, limit, token)).await;
        let excess = match indexed? {
            Indexed::Already => excess?,
            // The first look-up may have read the index before the session was added again.
            Indexed::Again => self.excess(subject, limit, token).await?,
        };
        if !excess.is_empty() && !is_wanted() {
            return Err(RepositoryError::unavailable(
                "the client no longer waits for the new session",
            )
            .into());
        }
        Ok(excess)
    }

    /// Stores the session under a newly generated token. Returns the token and, if the session has
    /// a subject, the position of the subject's last revocation in the subject index.
    async fn insert(
        &self,
        session: &Session,
    ) -> Result<(SessionToken, Option<LastRevocation>), SessionError> {
        let record_ttl = self.policy.initial_record_ttl();
        let mut unusable = UnusableTokens::default();
        loop {
            let token = SessionToken::generate_as(self.token_format);
            // The index entry is added before the record. If all sessions of the subject are
            // revoked at the same time, the revocation therefore finds the new session.
            let last_revocation = self.add_to_index(&token, session, None).await?;
            let outcome = self.repository.insert(&token, session, record_ttl).await;
            if !matches!(outcome, Ok(InsertOutcome::Inserted)) {
                self.remove_from_index(&token, session);
            }
            let is_taken = match outcome? {
                InsertOutcome::Inserted => return Ok((token, last_revocation)),
                InsertOutcome::TokenTaken => true,
                InsertOutcome::PartitionUnavailable => false,
            };
            unusable.count(&token, is_taken)?;
        }
    }

    /// Ensures that the subject's index contains the new session. If all sessions of the subject
    /// were revoked while the session was being stored, adds the session to the index again. The
    /// session then counts as created after the revocation.
    async fn ensure_indexed(
        &self,
        token: &SessionToken,
        session: &Session,
        last_revocation: Option<LastRevocation>,
    ) -> Result<Indexed, RepositoryError> {
        if self.is_in_index(token, session, last_revocation).await? {
            return Ok(Indexed::Already);
        }
        self.add_to_index(token, session, None).await?;
        // The revocation may also have removed the record. Without a record, the index entry is
        // removed.
        if self.repository.load_with_ttl(token).await?.is_none() {
            self.remove_from_index(token, session);
        }
        Ok(Indexed::Again)
    }
}

/// Result of the check that the index of a subject contains a new session.
enum Indexed {
    Already,
    /// The index did not contain the new session any more, for example after a revocation, so the
    /// session was added a second time.
    Again,
}
