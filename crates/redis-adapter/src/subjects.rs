//! The subject index in Redis. For each subject, such as a user, the index contains the sessions of
//! the subject and the last revocation of these sessions.

mod index;
mod scripts;
