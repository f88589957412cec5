//! The bearer token: read anew on reload, compared without telling how much of it was right.

use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

/// What a client must show; nothing as long as none was set.
#[derive(Debug, Default)]
pub struct Token(Mutex<Option<[u8; 32]>>);

/// A token of nothing would let everybody in who knows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is blank, expected one line such as `openssl rand -hex 32` prints")]
pub struct BlankToken;

impl Token {
    /// Asks for this token from now on; white space around it is none of it.
    ///
    /// # Errors
    ///
    /// [`BlankToken`]: the one before stays.
    pub fn set(&self, token: &str) -> Result<(), BlankToken> {
        let token = token.trim();
        if token.is_empty() {
            return Err(BlankToken);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest(token));
        Ok(())
    }

    /// Whether a request with these headers may go on.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else {
            return true;
        };
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        let Some((_, token)) = shown.filter(|(how, _)| how.eq_ignore_ascii_case("bearer")) else {
            return false;
        };
        // Digests are compared, and all of them: neither length nor place of a difference can be timed.
        let differs = digest(token.trim()).iter().zip(expected).fold(0, |d, (a, b)| d | (a ^ b));
        differs == 0
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_token_is_let_in() {
        let token = Token::default();
        assert!(token.admits(&HeaderMap::new()), "none is asked for");
        token.set("secret\n").unwrap();
        assert!(token.admits(&shows("Bearer secret")) && token.admits(&shows("bearer  secret")));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", "secret"]
        {
            assert!(!token.admits(&shows(wrong)), "{wrong}");
        }
        assert_eq!(token.set(" \n"), Err(BlankToken));
        assert!(token.admits(&shows("Bearer secret")), "a blank file opens nothing");
    }
}
