//! The middleware in an application, on the memory adapter.

mod current_session;
mod example;
