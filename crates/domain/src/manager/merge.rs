//! Operation of the session manager that merges cookies which the site has set.

use super::{ActiveSession, LoadedForUpdate, MAX_TRIES, SessionManager, UpdateError, not_found};
use crate::{
    CookieUrl, EntityTag, IgnoredLine, Session, SessionError, SessionRepository, SessionToken,
    SetCookieLines, SwapOutcome, VersionedSession, clock::to_signed,
};

/// Session after a merge of cookies.
#[derive(Debug)]
pub struct MergedSession {
    /// The session with the merged cookies.
    pub active: ActiveSession,
    /// Lines that were ignored, in their order.
    pub ignored: Vec<IgnoredLine>,
}

impl<R: SessionRepository> SessionManager<R> {
    /// Loads the session for [`merge_loaded`](Self::merge_loaded), and renews its idle timeout, in
    /// one round trip to the store.
    ///
    /// # Errors
    /// Returns the same errors as [`get`](Self::get).
    #[tracing::instrument(name = "load session for merge", skip_all)]
    pub async fn load_for_merge(
        &self,
        token: &SessionToken,
    ) -> Result<LoadedForUpdate, SessionError> {
        // `now` is read before the touch, so the TTL in the store ends no earlier than the table of
        // recent touches assumes.
        let now = self.repository.now();
        let recent_touches = self.recent_touches.as_deref();
        let is_recent = recent_touches.is_some_and(|touches| touches.is_recent(token, now));
        let touch = (!is_recent).then(|| self.policy.record_ttl());
        let loaded = self.load_live_for_update(token, touch).await?;
        if touch.is_some() {
            self.note_touch(token, now);
        }
        self.renew_entry(token, &loaded.0.session, now);
        Ok(loaded)
    }

    /// Merges the cookies of `update` into the session if `precondition` returns `true` for the
    /// entity tag of the session's current state, beginning with the state that
    /// [`load_for_merge`](Self::load_for_merge) has returned for the same token. Writes to the
    /// store only if a cookie changed. Logs `Session updated` (info) in that case.
    ///
    /// Each cookie is merged into the newest state of the session, so that concurrent merges and
    /// updates are not lost. If the session is deleted during a merge, the merge does not restore
    /// it.
    ///
    /// # Errors
    /// Returns the errors of [`update`](Self::update). Instead of [`UpdateError::Cookies`], it
    /// returns [`UpdateError::ForeignUrl`] if the URL of `update` does not have the origin of the
    /// session's base URL.
    #[tracing::instrument(name = "merge cookies", skip_all)]
    pub async fn merge_loaded(
        &self,
        token: &SessionToken,
        mut loaded: LoadedForUpdate,
        update: &SetCookieLines,
        precondition: impl Fn(EntityTag) -> bool + Send,
    ) -> Result<MergedSession, UpdateError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let LoadedForUpdate(VersionedSession { session, revision }) = loaded;
            let now = self.repository.now();
            let idle_timeout = self.policy.idle_timeout();
            let Some(remaining) = self.policy.remaining(idle_timeout, &session, now) else {
                self.remove_expired(token, &session).await;
                return Err(not_found(token).into());
            };
            if !precondition(EntityTag::of(token, &session)) {
                return Err(UpdateError::PreconditionFailed);
            }
            let base_url = CookieUrl::of(&session.base_url);
            if !base_url.is_some_and(|base_url| base_url.has_origin_of(update.url())) {
                return Err(UpdateError::ForeignUrl);
            }
            let merged = session.cookies.merged(update, &session.base_url, now);
            let is_changed = merged.cookies.is_some();
            let session = Session {
                cookies: merged.cookies.unwrap_or_else(|| session.cookies.clone()),
                ..session
            };
            let result = MergedSession {
                active: ActiveSession {
                    session,
                    expires_at: now.saturating_add(to_signed(remaining)),
                },
                ignored: merged.ignored,
            };
            if !is_changed {
                return Ok(result);
            }
            let session = &result.active.session;
            let record_ttl = self.policy.record_ttl();
            let swap = self
                .repository
                .compare_and_swap(token, &revision, session, record_ttl);
            match swap.await? {
                SwapOutcome::Swapped => {
                    self.note_touch(token, now);
                    tracing::info!(token_prefix = %token.prefix(), "Session updated");
                    return Ok(result);
                }
                SwapOutcome::Changed if attempt < MAX_TRIES => {
                    loaded = self.load_for_update(token).await?;
                }
                SwapOutcome::Changed => return Err(SessionError::Contended.into()),
                SwapOutcome::Gone => return Err(not_found(token).into()),
            }
        }
    }
}
