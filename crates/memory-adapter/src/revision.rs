//! Conversion between revisions and the numbers that the in-memory repository assigns to them.

use tee_session_domain::Revision;

/// Returns the revision that contains `number`.
pub(crate) fn revision(number: u64) -> Revision {
    Revision::new(number.to_be_bytes().into())
}

/// Returns the number in the revision. Returns `None` if another repository created the revision.
/// Such a revision matches no state of a session.
pub(crate) fn parse_revision(revision: &Revision) -> Option<u64> {
    let bytes = revision.expose_secret().try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}
