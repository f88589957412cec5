//! Deferred delivery for telecom messaging.

pub mod cli;
pub mod domain;
pub mod edge;
