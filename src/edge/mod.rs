//! The outside: what probes and gateways speak, turned into our inputs.

pub mod ek;
pub mod sink;
