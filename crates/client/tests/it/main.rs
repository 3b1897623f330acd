//! The client against servers of the test's own.
