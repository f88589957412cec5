//! The terminating procedure of pager mode: values in, a decision out.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1; `rules.md` 2.4.

pub mod preferences;
