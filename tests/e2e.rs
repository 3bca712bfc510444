//! End-to-end scenarios over real sockets and processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "nothing reaches into a test")]
#![allow(missing_docs, reason = "the names of scenarios say what they prove")]

mod access;
mod attempts;
mod broken_bodies;
mod browser;
mod cases;
mod claims;
mod connecting;
#[cfg(target_os = "linux")]
mod crowd;
mod curl;
mod duties;
mod embedded;
mod embedding;
mod eviction;
mod fairness;
mod forwarding;
mod grpc;
mod handover;
mod host_header;
mod hostile;
mod hosts;
mod http2;
mod keep_alive;
mod lifecycle;
mod limits;
mod local_http2;
#[cfg(target_os = "linux")]
mod log_lines;
mod lost_connections;
mod magic_mirror_client;
mod many_fields;
mod metrics;
mod mirrors;
#[cfg(target_os = "linux")]
mod open_files;
mod originals;
mod own_limits;
mod owners;
mod password_checks;
mod pauses;
mod presence;
mod programs;
mod prometheus;
mod readiness;
mod refusals;
mod registering;
mod replay;
mod requests_suite;
#[cfg(target_os = "linux")]
mod rules;
mod secrets;
#[cfg(target_os = "linux")]
mod shares;
mod smuggling;
mod stopping;
mod streaming;
mod supply_chain;
mod support;
mod tokens;
mod trusted_hops;
mod upgrades;
mod verbatim;
#[cfg(target_os = "linux")]
mod warnings;
mod websocket_suite;
