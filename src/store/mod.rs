//! The [`Store`](crate::engine::ports::Store), by product.

pub mod memory;
pub mod sled;
