//! Storing a login.

use super::{NewSession, SessionManager};
use crate::{
    BaseUrl, Cookies, InsertOutcome, LastRevocation, Login, RepositoryError, Session, SessionError,
    SessionEvent, SessionRepository, SessionToken, policy::to_signed,
};

/// How often a new token is drawn when a repository says that one is taken. A random collision
/// is out of reach; a second one means that the repository is broken.
const MAX_TAKEN_TOKENS: usize = 3;

/// How often a new token is drawn for a store that is in parts. With a third of them away, not
/// one session in ten million fails for that.
pub(super) const MAX_TOKEN_DRAWS: usize = 16;

impl<R: SessionRepository> SessionManager<R> {
    /// Stores an upstream login of nobody in particular under a new token. Logs `Session created`.
    ///
    /// # Errors
    /// As [`store_login`](Self::store_login).
    pub async fn store(
        &self,
        cookies: Cookies,
        base_url: BaseUrl,
    ) -> Result<NewSession, SessionError> {
        self.store_login(Login::new(cookies, base_url)).await
    }

    /// Stores an upstream login under a new token. Logs `Session created`.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`] (the session may have been stored, but nobody knows its
    /// token, and it expires), [`RepositoryError::Full`], or [`SessionError::TooManySessions`] of
    /// its subject.
    #[tracing::instrument(name = "create session", skip_all)]
    pub async fn store_login(&self, login: Login) -> Result<NewSession, SessionError> {
        let created_at = self.repository.now();
        let session = Session::new(login, created_at, self.policy.absolute_end(created_at));
        let token = self.insert(&session).await?;
        if let (Some(subject), Some(limit)) = (&session.subject, self.policy.subject_limit()) {
            let kept = Box::pin(self.keep_to_limit(subject, limit, &token)).await;
            if kept.is_err() {
                self.discard(&token, &session).await;
            }
            kept?;
        }
        (self.observer)(SessionEvent::Created, 1);
        tracing::info!(
            token_prefix = %token.prefix(),
            base_url = %session.base_url.for_log(),
            "Session created"
        );
        let ttl = self.policy.initial_ttl();
        let expires_at = created_at.saturating_add(to_signed(ttl));
        Ok(NewSession {
            token,
            session,
            ttl,
            expires_at,
        })
    }

    /// Stores the session under a token that is drawn for it.
    async fn insert(&self, session: &Session) -> Result<SessionToken, SessionError> {
        let stored_for = self.policy.stored_at_first();
        let mut taken = 0;
        for _ in 0..MAX_TOKEN_DRAWS {
            let token = SessionToken::generate_as(self.token_format);
            // Before the record: whoever revokes the subject's sessions from now on finds it.
            let entered = self.enter_index(&token, session, None).await?;
            match self.repository.insert(&token, session, stored_for).await {
                Ok(InsertOutcome::Inserted) => {
                    self.settle(&token, session, entered).await?;
                    return Ok(token);
                }
                Ok(InsertOutcome::OutOfReach) => {}
                Ok(InsertOutcome::TokenTaken) => {
                    tracing::warn!(token_prefix = %token.prefix(), "New session token was taken");
                    taken += 1;
                }
                Err(error) => {
                    self.leave_index(&token, session);
                    return Err(error.into());
                }
            }
            self.leave_index(&token, session);
            if taken == MAX_TAKEN_TOKENS {
                let reason = "every new token is said to be taken";
                return Err(RepositoryError::unavailable(reason).into());
            }
        }
        Err(RepositoryError::unavailable("every part of the store that was tried is away").into())
    }

    /// Makes sure that the new session is in its subject's index. If all sessions were revoked while
    /// it was being stored, it is one that was created afterwards.
    async fn settle(
        &self,
        token: &SessionToken,
        session: &Session,
        entered: Option<LastRevocation>,
    ) -> Result<(), RepositoryError> {
        let settled = match self.stands_in_index(token, session, entered).await {
            Ok(true) => Ok(()),
            Ok(false) => self.enter_anew(token, session).await,
            Err(error) => Err(error),
        };
        if settled.is_err() {
            self.discard(token, session).await;
        }
        settled
    }

    async fn enter_anew(
        &self,
        token: &SessionToken,
        session: &Session,
    ) -> Result<(), RepositoryError> {
        self.enter_index(token, session, None).await?;
        // Its record may have been revoked with the others: then there is nothing to be entered.
        if self.repository.peek(token).await?.is_none() {
            self.leave_index(token, session);
        }
        Ok(())
    }
}
