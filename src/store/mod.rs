//! The [`Store`](crate::engine::ports::Store), by product.

pub mod memory;
mod sled;

pub use self::sled::DiskStore;
