//! The [`Log`](crate::engine::ports::Log), by product.

pub mod embedded;
pub mod kafka;
pub mod memory;
