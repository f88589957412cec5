//! The program as its user sees it: help texts, answers, errors and exit codes, in `tests/cmd`.
//!
//! `TRYCMD=overwrite cargo test --test cli` writes the outputs anew; whoever does so reads them.
#![allow(missing_docs, reason = "a test")]

#[test]
fn commands_say_what_is_written() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
