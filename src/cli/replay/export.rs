//! `--export`: part of a journal as a file that replay reads again; and content left out of records.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::timeline::Shown;
use super::{Answer, Span};
use crate::cli::args;
use crate::cli::journal::{Asked, EXPORTED, Export, Source};
use crate::domain::address::Address;
use crate::record::envelope::Envelope;
use crate::record::journal::Record;
use crate::record::output::SOURCE;

/// What marks a submission whose content was left out: how many octets it had.
pub(super) const OMITTED: &str = "body_omitted";

/// Writes the records that a timeline would show, each with the number it had and that of the one
/// before it in the export, so that a record missing from an export can be told.
pub(super) fn export(
    args: &args::Replay,
    span: &Span,
    user: Option<&Address>,
    to: &Path,
    source: &Source<'_>,
) -> anyhow::Result<Answer> {
    if source.path().is_some_and(|from| same_file(from, to)) {
        bail!("{} is the file being read: export to another one", to.display());
    }
    if source.path().is_some_and(|from| is_within(to, from)) {
        bail!("{} is in the data directory being read: export to another place", to.display());
    }
    let of_one = Some("--export");
    let asked = Asked { user, partition: args.partition, of_one, ..Asked::default() };
    let mut journals = source.open(asked)?;
    let Some(journal) = journals.first_mut() else { bail!("nothing to export") };
    let mut out = Out::create(to)?;
    let mut followed = user.map(|user| journal.followed(user));
    let mut shown = Shown::of(args.message.as_deref());
    let (mut prev, mut count) = (None, 0_u64);
    let says = Export {
        user: user.map(Address::to_string),
        message: args.message.clone(),
        whole: args.message.is_none() && span.from.is_none() && journal.begins_at().is_none(),
        content: args.with_content,
    };
    let head = json!({
        "specversion": "1.0", "id": "export", "source": SOURCE, "type": EXPORTED, "data": says,
    });
    out.line(&serde_json::to_vec(&head)?)?;
    journal.read(|entry| {
        if span.is_over(entry.seq, entry.at) {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(followed) = &mut followed {
            followed.pass(entry);
            if !followed.concerns(entry) {
                return Ok(ControlFlow::Continue(()));
            }
        }
        let mut record = entry.record()?;
        let shows = entry.is_policy || shown.takes(&record);
        if !shows || span.is_before(entry.seq, entry.at) {
            return Ok(ControlFlow::Continue(()));
        }
        let bare;
        if !args.with_content
            && let Some(raw) = record.input
        {
            bare = without_content(raw, true)?;
            record.input = bare.as_deref().or(record.input);
        }
        let mut line = record.write();
        if let Some(prev) = prev {
            line.pop();
            write!(line, ",\"prev\":{prev}}}")?;
        }
        out.line(&line)?;
        (prev, count) = (Some(entry.seq), count + 1);
        Ok(ControlFlow::Continue(()))
    })?;
    out.finish()?;
    source.warn(&journals);
    let content = if args.with_content { "" } else { "; the content of messages is left out" };
    super::super::warn(&format!("{count} records exported to {}{content}", to.display()));
    Ok(Answer::Done)
}

struct Out {
    name: String,
    to: BufWriter<File>,
}

impl Out {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let to = File::create(path).with_context(|| format!("cannot write {name}"))?;
        Ok(Self { name, to: BufWriter::with_capacity(1 << 16, to) })
    }

    fn line(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.to.write_all(bytes).and_then(|()| self.to.write_all(b"\n"));
        written.with_context(|| format!("cannot write {}", self.name))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.to.flush().with_context(|| format!("cannot write {}", self.name))
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Whether a file would stand in a directory.
fn is_within(file: &Path, directory: &Path) -> bool {
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize();
    directory.is_dir()
        && matches!((folder, directory.canonicalize()), (Ok(a), Ok(b)) if a.starts_with(&b))
}

/// An input without the content of its message; `None`: it has none. With a `stand_in` it still reads
/// as the input it was, of the same size.
pub(super) fn without_content(
    raw: &RawValue,
    stand_in: bool,
) -> anyhow::Result<Option<Box<RawValue>>> {
    let text = raw.get();
    if !text.contains("\"body") {
        return Ok(None);
    }
    let Some(data) = Envelope::read(text.as_bytes()).ok().and_then(|envelope| envelope.data) else {
        return Ok(None);
    };
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(data.get()) else {
        return Ok(None);
    };
    let body = fields.remove("body").filter(|body| !body.is_null());
    let base64 = fields.remove("body_base64").filter(|body| !body.is_null());
    let octets = match (&body, &base64) {
        (Some(Value::String(text)), _) => text.len(),
        (None, Some(Value::String(text))) => {
            text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()
        }
        _ => return Ok(None),
    };
    fields.insert(OMITTED.into(), octets.into());
    fields.entry("size").or_insert_with(|| octets.into());
    if stand_in {
        fields.insert("body_ref".into(), "omitted".into());
    }
    let fields = serde_json::to_string(&fields)?;
    // The envelope stays as it came, octet for octet.
    let from = data.get().as_ptr() as usize - text.as_ptr() as usize;
    let (before, rest) = text.split_at(from);
    let after = rest.get(data.get().len()..).unwrap_or_default();
    Ok(Some(RawValue::from_string(format!("{before}{fields}{after}"))?))
}

/// Whether this is a submission whose content was left out.
pub(super) fn is_without_content(record: &Record<'_>) -> bool {
    record.input.is_some_and(|raw| raw.get().contains("\"body_omitted\":"))
}
