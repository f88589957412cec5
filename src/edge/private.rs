//! Subscribers' numbers in log lines: hashed, unless somebody asks for them.

use std::fmt;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// How they are written: hashed with this salt, or as they are.
static SALT: OnceLock<Option<[u8; 16]>> = OnceLock::new();

/// Hashes with this salt from now on, which makes the hashes of one process useless to others; `None`:
/// numbers are written out. Only the first call counts.
pub fn hash_by(salt: Option<[u8; 16]>) {
    let _ = SALT.set(salt);
}

/// A subscriber in a log line: the same word for the same number, as long as the process lives.
#[derive(Clone, Copy)]
pub struct Subscriber<'a>(pub &'a str);

impl fmt::Debug for Subscriber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Subscriber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Before anybody has said otherwise nothing is shown.
        let salt = match SALT.get() {
            Some(None) => return f.write_str(self.0),
            Some(Some(salt)) => *salt,
            None => [0; 16],
        };
        let digest = Sha256::new().chain_update(salt).chain_update(self.0).finalize();
        f.write_str("user-")?;
        digest.iter().take(6).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_hashed_and_the_same_hash_is_the_same_number() {
        let said = Subscriber("tel:+15145550100").to_string();
        assert!(said.starts_with("user-") && !said.contains("5550100"), "{said}");
        assert_eq!(said, Subscriber("tel:+15145550100").to_string());
        assert_ne!(said, Subscriber("tel:+15145550101").to_string());
    }
}
