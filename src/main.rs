//! `deferd`.
fn main() {}
