//! What a person types.

pub mod config;
