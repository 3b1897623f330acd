//! Tests of the built `tee-session` binary, of the deployment examples, of the documentation, and
//! of the structure of the workspace.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod access_log;
mod alerts;
mod booking_sites;
mod certificate_expiry;
mod check_connection;
mod chromium;
mod circles;
mod command_line;
mod compose;
mod cookie_files;
mod cookie_site;
mod deployment;
mod description;
mod docs_page;
mod documented_metrics;
mod drain;
mod end_to_end;
mod first_contact;
mod gateway;
mod gateways;
mod generated_client;
mod generated_texts;
mod guarded_app;
mod haproxy;
mod hidden_cookies;
mod java_client;
mod kubernetes;
mod layers;
mod links;
mod log_events;
mod log_lines;
mod metrics;
mod mixed_fleet;
mod mutation_tests;
mod near_cache;
mod new_client;
mod oauth_clients;
mod odd_jars;
mod odd_site;
mod open_files;
mod operator;
mod probe;
mod promtool;
mod python_packages;
mod recipes;
mod redis_reasons;
mod release;
mod reload;
mod rust_client;
mod secrets;
mod service;
mod session_commands;
mod session_cookies;
mod session_on_a_terminal;
mod session_refusals;
mod set_cookie_table;
mod systemd;
mod trace_of_the_client;
mod trace_receiver;
mod traces;
mod upstream;
