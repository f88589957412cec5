//! Bearer tokens, and whom they stand for: read anew on reload, compared without telling how much of one was
//! right.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::edge::front::Caller;

/// What a client must show: nothing as long as no token was set.
#[derive(Debug, Default)]
pub struct Token(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Of whoever may ask everything.
    own: Option<[u8; 32]>,
    /// Of gateways, application servers and users, who may say what is theirs to say.
    callers: Vec<([u8; 32], Box<str>)>,
}

/// A token of nothing would let everybody in who knows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is blank, expected one line such as `openssl rand -hex 32` prints")]
pub struct BlankToken;

/// Why a list of callers is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCallers {
    /// A line says something else.
    #[error("line {0}: expected an address, white space, and its token")]
    Line(usize),
    /// Two lines have one token.
    #[error("line {0}: its token stands there before, for another address")]
    Twice(usize),
}

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
        self.lock().own = Some(digest(token));
        Ok(())
    }

    /// Knows these callers from now on, and no others: a line each, `ADDRESS TOKEN`; lines that are empty or
    /// begin with `#` say nothing. `canonical` writes an address in its one form.
    ///
    /// # Errors
    ///
    /// [`BadCallers`]: those before stay.
    pub fn set_callers(
        &self,
        text: &str,
        canonical: impl Fn(&str) -> Box<str>,
    ) -> Result<(), BadCallers> {
        let mut callers: Vec<([u8; 32], Box<str>)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(address), Some(token), None) = (words.next(), words.next(), words.next())
            else {
                return Err(BadCallers::Line(number));
            };
            let (token, address) = (digest(token), canonical(address));
            if callers.iter().any(|(known, other)| *known == token && *other != address) {
                return Err(BadCallers::Twice(number));
            }
            callers.push((token, address));
        }
        self.lock().callers = callers;
        Ok(())
    }

    /// Whose request with these headers is; `None`: it may not go on.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let known = self.lock();
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        let token = shown.filter(|(how, _)| how.eq_ignore_ascii_case("bearer"));
        let token = token.map(|(_, token)| digest(token.trim()));
        let mut caller = None;
        if let Some(token) = token {
            // All are looked at, so that no place among them can be timed.
            for (known, address) in &known.callers {
                if is_same(&token, known) {
                    caller = Some(Caller::Known(address.clone()));
                }
            }
        }
        let is_own = known.own.is_none_or(|own| token.is_some_and(|token| is_same(&token, &own)));
        caller.or_else(|| is_own.then_some(Caller::Trusted))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Digests are compared, and all of them: neither length nor place of a difference can be timed.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
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
        let admits = |headers: &HeaderMap| token.caller(headers).is_some();
        assert!(admits(&HeaderMap::new()), "none is asked for");
        token.set("secret\n").unwrap();
        assert!(admits(&shows("Bearer secret")) && admits(&shows("bearer  secret")));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", "secret"]
        {
            assert!(!admits(&shows(wrong)), "{wrong}");
        }
        assert_eq!(token.set(" \n"), Err(BlankToken));
        assert!(admits(&shows("Bearer secret")), "a blank file opens nothing");
    }

    #[test]
    fn a_token_stands_for_its_holder() {
        let token = Token::default();
        let canonical = |address: &str| Box::from(address.to_ascii_lowercase());
        let list = "# who  token\n\nSIP:iwf@example.org\tone\n tel:+15145550100  two \n";
        token.set_callers(list, canonical).unwrap();
        let iwf = Some(Caller::Known("sip:iwf@example.org".into()));
        assert_eq!(token.caller(&shows("Bearer one")), iwf);
        assert_eq!(
            token.caller(&shows("Bearer three")),
            Some(Caller::Trusted),
            "none is asked for"
        );
        token.set("own").unwrap();
        assert_eq!(token.caller(&shows("Bearer one")), iwf);
        assert_eq!(token.caller(&shows("Bearer own")), Some(Caller::Trusted));
        assert_eq!(token.caller(&shows("Bearer three")), None);
        assert_eq!(token.caller(&HeaderMap::new()), None);
        for (bad, why) in [
            ("a one\nb", BadCallers::Line(2)),
            ("a one more", BadCallers::Line(1)),
            ("a one\nb one", BadCallers::Twice(2)),
        ] {
            assert_eq!(token.set_callers(bad, canonical), Err(why));
            assert_eq!(token.caller(&shows("Bearer one")), iwf, "those before stay");
        }
    }
}
