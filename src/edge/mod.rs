//! The outside: what probes and gateways speak, turned into our inputs; and what goes out by itself.

pub mod ek;
pub mod front;
pub mod http;
pub mod imap;
pub mod private;
pub mod reach;
pub mod sink;
pub mod store;
