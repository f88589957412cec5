//! `deferd dead-letters`: what nobody could use, and the same again.

use std::io::Write;

use anyhow::bail;
use serde_json::{Value, json};

use super::Answer;
use super::args::{self, Daemon, LettersAction, Output};
use super::client::{Client, encoded, tell, text_of};
use super::config::Loaded;
use super::known::{is_on_topics, records};
use super::recipient::Recipient;
use super::replay::paint::{BAD, BOLD, DIM, paint};
use crate::log::kafka::Topic;

/// Letters in one page.
const PAGE: usize = 500;

/// Lists them, or hands them in again.
///
/// # Errors
///
/// The daemon cannot be asked, or refuses.
pub(super) fn dead_letters(
    args: &args::DeadLetters,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    match &args.action {
        LettersAction::List(args) => list(args, config, out),
        LettersAction::Retry(args) => retry(args, config, out),
    }
}

fn list(args: &args::LettersList, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let (mut left, mut all) = (args.limit, Vec::new());
    each(&args.daemon, config, |letter| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        match args.output {
            Output::Table => {
                let data = letter.get("data").unwrap_or(&Value::Null);
                let reason = paint(BAD, text_of(data, "reason"));
                let (id, time) = (paint(BOLD, text_of(letter, "id")), text_of(letter, "time"));
                writeln!(out, "{id}  {}\n  {reason}", paint(DIM, time))?;
            }
            Output::Jsonl => writeln!(out, "{letter}")?,
            Output::Json => all.push(letter.clone()),
        }
        Ok(true)
    })?;
    if args.output == Output::Json {
        writeln!(out, "{}", Value::Array(all))?;
    }
    out.flush()?;
    Ok(Answer::Done)
}

fn retry(
    args: &args::LettersRetry,
    config: &Loaded,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    let recipient = if is_on_topics(&args.daemon, config) {
        Recipient::topics(config)?
    } else {
        Recipient::Daemon(Client::new(&args.daemon, config)?)
    };
    let mut letters = Vec::new();
    // All that there are now: one that is refused again is a new letter.
    each(&args.daemon, config, |letter| {
        let wanted = args.id.as_ref().is_none_or(|id| text_of(letter, "id") == id);
        if wanted {
            letters.push(letter.clone());
        }
        Ok(!wanted || args.all)
    })?;
    if let (true, Some(id)) = (letters.is_empty(), &args.id) {
        super::warn(&format!(
            "no dead letter `{id}` is kept; `deferd dead-letters list` shows all"
        ));
        return Ok(Answer::No);
    }
    let mut all_taken = Answer::Done;
    for letter in &letters {
        let id = text_of(letter, "id");
        let answer = match input_of(letter) {
            Ok(input) => tell(&recipient.give(&input)?, id, args.output, out)?,
            Err(why) => {
                refused(id, &why, args.output, out)?;
                Answer::No
            }
        };
        if answer == Answer::No {
            all_taken = Answer::No;
        }
    }
    out.flush()?;
    Ok(all_taken)
}

fn refused(id: &str, why: &str, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    if output == Output::Table {
        writeln!(out, "{id}: {}, {why}", paint(BAD, "not handed in"))?;
    } else {
        writeln!(out, "{}", json!({ "fate": "not handed in", "reason": why }))?;
    }
    Ok(())
}

/// The input that a letter holds, as it came.
fn input_of(letter: &Value) -> Result<Vec<u8>, String> {
    let data = letter.get("data").unwrap_or(&Value::Null);
    if let Some(input) = data.get("input") {
        return Ok(input.to_string().into_bytes());
    }
    let text = text_of(data, "text");
    let size = data.get("size").and_then(Value::as_u64).unwrap_or(0);
    // What is not UTF-8 was replaced, and may have become longer.
    if size > text.len() as u64 {
        return Err(format!("only the first {} of its {size} bytes were kept", text.len()));
    }
    if text.contains('\u{fffd}') {
        return Err("it was no UTF-8, and is not kept as it came".to_owned());
    }
    Ok(text.as_bytes().to_vec())
}

/// Every letter that is kept now, oldest first, until `each` says false.
fn each(
    daemon: &Daemon,
    config: &Loaded,
    mut each: impl FnMut(&Value) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    if is_on_topics(daemon, config) {
        return records(config, Topic::DeadLetters, |bytes| match serde_json::from_slice(bytes) {
            Ok(letter) => each(&letter),
            // Whoever else writes there.
            Err(_) => Ok(true),
        });
    }
    let client = Client::new(daemon, config)?;
    let mut after = String::new();
    loop {
        let reply = client.get(&format!("/v1/dead-letters?limit={PAGE}{after}"))?;
        let Some(page) = reply.known()? else { bail!("there are no dead letters here") };
        let events = page.get("events").and_then(Value::as_array);
        let events: Vec<&Value> = events.into_iter().flatten().collect();
        if events.is_empty() {
            return Ok(());
        }
        for letter in events {
            if !each(letter)? {
                return Ok(());
            }
        }
        after = format!("&after={}", encoded(text_of(&page, "next")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_letter_is_handed_in_again() {
        let letter = |data: Value| input_of(&json!({ "data": data }));
        assert_eq!(letter(json!({ "input": {"a": 1}, "size": 7 })), Ok(b"{\"a\":1}".to_vec()));
        assert_eq!(letter(json!({ "text": "hello", "size": 5 })), Ok(b"hello".to_vec()));
        assert!(
            letter(json!({ "text": "hello", "size": 70_000 }))
                .is_err_and(|why| why.contains("70000"))
        );
        assert!(letter(json!({ "text": "a\u{fffd}", "size": 2 })).is_err());
    }
}
