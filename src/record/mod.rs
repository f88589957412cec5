//! Our own records as bytes: inputs, the journal, commands; shapes, versions, and what is refused.
//!
//! Start with [`envelope`] (CloudEvents), then [`input`] (bytes to facts), [`journal`] (what was
//! decided), [`output`] (what others are asked to do). [`schema`] writes the contract down.

pub mod envelope;
mod fault;
pub mod head;
pub mod input;
pub mod journal;
mod normal;
pub mod output;
pub mod schema;
