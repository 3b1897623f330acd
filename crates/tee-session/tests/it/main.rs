//! The built binary, run as its users run it, and the shape of the workspace.

mod command_line;
mod end_to_end;
mod layers;
mod secrets;
mod service;
