//! The Helenus node as a program: HTTP API, peer protocol over TCP, configuration and command line.

mod admission;
pub mod cli;
pub mod config;
mod console;
pub mod http;
pub mod listen;
pub mod peer;
pub mod snitch;
mod tasks;
pub mod telemetry;
