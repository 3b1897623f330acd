//! Contract test of adapters that do not support subjects.

use std::fmt::Debug;

use super::{Harness, base_url, cookies, manager, store_session};
use crate::{
    LastRevocation, Login, RepositoryError, SessionAttributes, SessionError, SessionId,
    SessionRepository, Subject, SubjectIndex,
};

/// A repository without a subject index ([`NoSubjects`](crate::NoSubjects)) rejects sessions with a
/// subject, and lists and revokes no sessions: every such call returns `Unavailable`. Sessions
/// without a subject work.
pub async fn session_with_a_subject_is_rejected_without_a_subject_index<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let subject: Subject = "member".parse().expect("a valid subject");
    let login = Login {
        attributes: SessionAttributes::of_subject(subject.clone()),
        ..Login::new(cookies([("a", "1")]), base_url())
    };
    assert_is_unavailable(sessions.store_login(login).await);
    assert_is_unavailable(sessions.list(&subject, None, 10).await);
    assert_is_unavailable(sessions.revoke_all(&subject).await);
    assert_is_unavailable(sessions.revoke(SessionId::of(&new.token)).await);
    let (repository, last) = (harness.repository(), LastRevocation(0));
    let index = repository.subjects();
    assert_is_unavailable(to_session(index.contains(&subject, &new.token, last).await));
    assert_is_unavailable(to_session(index.remove_older(&subject, last).await));
    sessions.get(&new.token).await.expect("the session is live");
}

fn to_session<T>(result: Result<T, RepositoryError>) -> Result<T, SessionError> {
    result.map_err(SessionError::from)
}

fn assert_is_unavailable<T: Debug>(result: Result<T, SessionError>) {
    let is_unavailable = matches!(
        result,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    );
    assert!(
        is_unavailable,
        "a call that needs a subject index must fail with `Unavailable`, but returned {result:?}"
    );
}
