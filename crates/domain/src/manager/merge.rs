//! Operation of the session manager that merges cookies which the site has set.

use super::{ActiveSession, LoadedForUpdate, SessionManager, UpdateError};
use crate::{
    CookieUrl, EntityTag, IgnoredLine, Session, SessionError, SessionRepository, SessionToken,
    SetCookieLines,
};

/// Session after a merge of cookies, and the ignored `Set-Cookie` lines.
#[derive(Debug)]
pub struct MergedSession {
    /// The session with the merged cookies.
    pub active: ActiveSession,
    /// `Set-Cookie` lines that were ignored, in the order of the merged lines.
    pub ignored: Vec<IgnoredLine>,
    /// `true` if the merge has changed the stored session.
    pub is_changed: bool,
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
        self.renew_entry(token, &loaded.session, now);
        Ok(loaded)
    }

    /// Returns the session as the store has it now, and renews its idle timeout. Unlike
    /// [`get`](Self::get), this method never uses a copy that a repository keeps in memory. The
    /// result therefore contains the cookies of the last merge, even if another instance carried
    /// out that merge.
    ///
    /// # Errors
    /// Returns the same errors as [`get`](Self::get).
    pub async fn get_newest(&self, token: &SessionToken) -> Result<ActiveSession, SessionError> {
        let loaded = self.load_for_merge(token).await?;
        tracing::debug!(token_prefix = %token.prefix(), "Session accessed");
        Ok(self.active(loaded.session, loaded.loaded_at))
    }

    /// Merges the cookies of `update` into the session if `precondition` returns `true` for the
    /// entity tag of the session's current state. `loaded` is the state that
    /// [`load_for_merge`](Self::load_for_merge) has returned for the same token. If the session has
    /// changed since then, it is loaded again.
    ///
    /// If a cookie changed, writes the session to the store in one round trip, and logs `Session
    /// updated` (info). Otherwise, writes nothing.
    ///
    /// Each cookie is merged into the newest state of the session, so that concurrent merges and
    /// updates are not lost. If the session is deleted during a merge, the merge does not restore
    /// it.
    ///
    /// # Errors
    /// Returns the errors of [`update`](Self::update), except [`UpdateError::Cookies`]. If the URL
    /// of `update` does not have the origin of the session's base URL, returns
    /// [`UpdateError::ForeignUrl`].
    #[tracing::instrument(name = "merge cookies", skip_all)]
    pub async fn merge_loaded(
        &self,
        token: &SessionToken,
        loaded: LoadedForUpdate,
        update: &SetCookieLines,
        precondition: impl Fn(EntityTag) -> bool + Send,
    ) -> Result<MergedSession, UpdateError> {
        let mut ignored = Vec::new();
        let merged = |session: Session, now| {
            let base_url = CookieUrl::of(&session.base_url);
            if !base_url.is_some_and(|base_url| base_url.has_origin_of(update.url())) {
                return Err(UpdateError::ForeignUrl);
            }
            let merged = session.cookies.merged(update, &session.base_url, now);
            ignored = merged.ignored;
            Ok(match merged.cookies {
                Some(cookies) => (Session { cookies, ..session }, true),
                None => (session, false),
            })
        };
        let replaced = self.replace_loaded(token, loaded, precondition, merged);
        let replaced = replaced.await?;
        Ok(MergedSession {
            active: self.active(replaced.session, replaced.touched_at),
            ignored,
            is_changed: replaced.is_changed,
        })
    }
}
