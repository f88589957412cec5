//! What text editors do to examples, undone: curly quotes in tags, and attribute values without any.
//!
//! Nothing else is touched: what is not surely one of the two stays as it is, for the walk to refuse.
//! Tags that do not balance are not repaired, as nobody can know what they were to hold.
//!
//! Source: `rules.md`.

use std::borrow::Cow;

use super::source::Edit;

/// The text with its tags' quotes made sound, and what was done.
pub(super) fn repair(text: &str) -> (Cow<'_, str>, Vec<Edit>) {
    let mut repair = Repair { text, at: 0, done: 0, out: String::new(), edits: Vec::new() };
    while let Some(found) = repair.rest().find('<') {
        repair.at += found;
        let rest = repair.rest();
        let passed =
            [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">"), ("</", ">")]
                .into_iter()
                .find(|(open, _)| rest.starts_with(open));
        match passed {
            Some((open, close)) => {
                let length = rest.get(open.len()..).and_then(|rest| rest.find(close));
                repair.at += length.map_or(rest.len(), |length| open.len() + length + close.len());
            }
            None => {
                repair.at += 1;
                repair.tag();
            }
        }
    }
    if repair.edits.is_empty() {
        return (Cow::Borrowed(text), Vec::new());
    }
    repair.out.push_str(text.get(repair.done..).unwrap_or_default());
    (Cow::Owned(repair.out), repair.edits)
}

struct Repair<'t> {
    text: &'t str,
    /// How far it is looked at, and how far it is copied.
    at: usize,
    done: usize,
    out: String,
    edits: Vec<Edit>,
}

/// A value's ends as they are to be mended.
enum Value {
    /// Both ends are straight.
    Sound { length: usize },
    /// From one quote to another, of which one or both are curly.
    Quoted { length: usize, straight: char },
    /// Without quotes.
    Bare { length: usize },
    /// Neither: the walk will say.
    Unclear,
}

impl<'t> Repair<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// A start tag, from behind its `<`.
    fn tag(&mut self) {
        let name = |c: char| !c.is_whitespace() && !"<>/=\"'".contains(c) && !is_curly(c);
        self.skip(name);
        loop {
            self.skip(char::is_whitespace);
            let before = self.at;
            self.skip(name);
            if self.at == before {
                return;
            }
            self.skip(char::is_whitespace);
            if !self.rest().starts_with('=') {
                return;
            }
            self.at += 1;
            self.skip(char::is_whitespace);
            match value(self.rest()) {
                Value::Sound { length } => self.at += length,
                Value::Quoted { length, straight } => self.straighten(length, straight),
                Value::Bare { length } => {
                    self.edit(0, None, '"');
                    self.at += length;
                    self.edit(0, None, '"');
                }
                Value::Unclear => return,
            }
        }
    }

    fn straighten(&mut self, length: usize, straight: char) {
        let value = self.rest().get(..length).unwrap_or_default();
        let mut ends = value.chars();
        let (first, last) = (ends.next(), ends.next_back());
        if let Some(first) = first.filter(|first| *first != straight) {
            self.edit(first.len_utf8(), Some(first), straight);
        } else {
            self.at += 1;
        }
        self.at += ends.as_str().len();
        if let Some(last) = last.filter(|last| *last != straight) {
            self.edit(last.len_utf8(), Some(last), straight);
        } else {
            self.at += 1;
        }
    }

    /// Writes a straight quote over the next `length` octets.
    fn edit(&mut self, length: usize, curly: Option<char>, straight: char) {
        self.out.push_str(self.text.get(self.done..self.at).unwrap_or_default());
        self.out.push(straight);
        self.at += length;
        self.done = self.at;
        self.edits.push(Edit { curly, ends: (self.at, self.out.len()) });
    }

    fn skip(&mut self, over: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !over(c)).unwrap_or(rest.len());
    }
}

/// What stands where a value is to begin.
fn value(rest: &str) -> Value {
    let Some(first) = rest.chars().next() else { return Value::Unclear };
    let Some(straight) = straight(first) else {
        let ends = |c: char| c.is_whitespace() || "<>\"'=`".contains(c) || is_curly(c);
        let length = rest.find(ends).unwrap_or(rest.len());
        let value = rest.get(..length).unwrap_or_default();
        let closes = rest.get(length..).is_some_and(|rest| rest.starts_with('>'));
        let value = if closes { value.strip_suffix('/').unwrap_or(value) } else { value };
        let next = rest.get(length..).and_then(|rest| rest.chars().next());
        return match next {
            Some(c) if !value.is_empty() && (c.is_whitespace() || c == '>') => {
                Value::Bare { length: value.len() }
            }
            _ => Value::Unclear,
        };
    };
    let inside = rest.get(first.len_utf8()..).unwrap_or_default();
    // A value that ends as it began may hold curly quotes: they are text.
    let ends = |at: usize, quote: char| {
        let after = inside.get(at + quote.len_utf8()..).and_then(|after| after.chars().next());
        after.is_some_and(|c| c.is_whitespace() || "/>".contains(c))
    };
    if first == straight
        && let Some(at) = inside.find(straight)
        && ends(at, straight)
    {
        return Value::Sound { length: at + 2 };
    }
    let close = inside
        .char_indices()
        .take_while(|(_, c)| *c != '<')
        .find(|(at, c)| self::straight(*c) == Some(straight) && ends(*at, *c));
    match close {
        Some((at, quote)) if !inside.get(..at).unwrap_or_default().contains(straight) => {
            Value::Quoted { length: first.len_utf8() + at + quote.len_utf8(), straight }
        }
        _ => Value::Unclear,
    }
}

/// The straight quote that a quote stands for.
fn straight(quote: char) -> Option<char> {
    match quote {
        '"' | '“' | '”' | '„' | '‟' => Some('"'),
        '\'' | '‘' | '’' | '‚' | '‛' => Some('\''),
        _ => None,
    }
}

/// Whether a quote is one that XML does not know.
pub(super) fn is_curly(c: char) -> bool {
    straight(c).is_some_and(|straight| straight != c)
}
