//! XML as we write it: one way only.

use std::borrow::Cow;

use super::Kept;

/// How elements are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// One element a line, two blanks a level: for people.
    #[default]
    Lines,
    /// Without white space: a SIP MESSAGE has 1,300 octets (SEED4-40).
    Compact,
}

/// A document being written. What is closed is balanced, what is text is escaped.
#[derive(Debug)]
pub struct Writer {
    out: String,
    layout: Layout,
    open: Vec<&'static str>,
}

impl Writer {
    /// A document with its declaration.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let mut out = String::with_capacity(1024);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self { out, layout, open: Vec::new() }
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.out.push('>');
        self.open.push(name);
        self.end_of_line();
    }

    /// Closes the element that was opened last.
    pub fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push('>');
            self.end_of_line();
        }
    }

    /// An element that holds text, or nothing.
    pub fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.tag(name, attributes);
        if text.is_empty() {
            self.out.push_str("/>");
        } else {
            self.out.push('>');
            self.out.push_str(&escaped(text));
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push('>');
        }
        self.end_of_line();
    }

    /// An element that came from outside, as it came.
    pub fn kept(&mut self, kept: &Kept) {
        self.indent();
        self.out.push_str(&kept.0);
        self.end_of_line();
    }

    /// The document.
    #[must_use]
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.out.push_str(&escaped(value));
            self.out.push('"');
        }
    }

    fn indent(&mut self) {
        if self.layout == Layout::Lines {
            for _ in &self.open {
                self.out.push_str("  ");
            }
        }
    }

    fn end_of_line(&mut self) {
        if self.layout == Layout::Lines {
            self.out.push('\n');
        }
    }
}

/// Text that means itself in content and in a quoted value.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '&' | '<' | '>' | '"' | '\t' | '\n' | '\r');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}
