//! One obstacle a test: given what is known, then why.
