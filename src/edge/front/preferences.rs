//! A user's preferences, as an XDM server has them.
//!
//! Source: `rules.md` SEED0-52 to SEED0-66, A-19, A-25, A-47.

use serde_json::json;

use super::{Answer, Denial, Front, Request, Told, became, data, name_of};
use crate::cpm::preferences::{Reading, read};
use crate::record::input::Kind;

impl Front {
    /// Takes a document of a user's: its rules, or the senders that it refuses, replace those before.
    ///
    /// # Errors
    ///
    /// [`Denial`]: nothing was changed, unless its code is `unknown`.
    pub async fn preferences(&self, user: &str, request: Request) -> Result<Answer, Denial> {
        let reading = Reading { limits: self.limits(), home: &self.reader.home };
        let document = read(&request.body, &reading)?;
        let change = document.said.change();
        let now = self.clock.now().as_millis();
        let id = name_of([user.as_bytes(), &request.body, &now.to_be_bytes()]);
        let told = Told {
            kind: Kind::PreferencesChanged,
            user: user.into(),
            id,
            time: None,
            data: data(&change),
        };
        let settled = self.give(self.inputs(&[told])?).await?;
        let notes = document
            .notes
            .iter()
            .map(|(at, note)| json!({ "line": at.line, "column": at.column, "note": note }));
        Ok(Answer::of(200, "it is taken")
            .with("events", became(&settled))
            .with("notes", notes.collect::<Vec<_>>()))
    }
}
