//! Deferred delivery for telecom messaging.

pub mod cli;
pub mod domain;
pub mod edge;
pub mod engine;
pub mod log;
pub mod record;
pub mod store;
