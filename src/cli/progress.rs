//! How far a long read has come: on stderr, where that is a terminal and the answer goes elsewhere.

use std::io::{IsTerminal, stderr, stdout};

use indicatif::{ProgressBar, ProgressStyle};

use super::lines::Lines;

/// Lines between two looks at it.
const EVERY: u64 = 512;

/// A bar for one input, or nothing at all.
#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar where a person can see it, and where it disturbs no answer on the same screen.
    pub(super) fn of(lines: &Lines) -> Self {
        if !stderr().is_terminal() || stdout().is_terminal() {
            return Self(None);
        }
        let (_, size) = lines.progress();
        let (bar, template) = match size {
            Some(size) => (
                ProgressBar::new(size),
                "{bytes}/{total_bytes} {wide_bar} {binary_bytes_per_sec}, {eta} left",
            ),
            None => (ProgressBar::no_length(), "{spinner} {bytes}, {binary_bytes_per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// A line more was read.
    pub(super) fn tick(&self, lines: &Lines) {
        self.passed(lines.count(), lines.progress().0);
    }

    /// So many lines, and bytes, were read.
    pub(super) fn passed(&self, lines: u64, bytes: u64) {
        if let Some(bar) = &self.0
            && lines.is_multiple_of(EVERY)
        {
            bar.set_position(bytes);
        }
    }

    /// It is over, one way or the other: the bar leaves the screen.
    pub(super) fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
