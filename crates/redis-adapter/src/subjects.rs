//! The subject index in Redis: the sessions of each subject, and the last revocation of these
//! sessions.

mod index;
mod scripts;
