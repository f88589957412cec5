//! `deferd schema`, `completions` and `man`: what the program says about itself.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use clap::CommandFactory;

use super::{Answer, args, warn};
use crate::domain::policy::nearest;
use crate::record::schema::{self, Contract};

/// Lists the record types, prints one's schema, or writes them all.
///
/// # Errors
///
/// There is no such type, or the directory or standard output cannot be written.
pub(super) fn schema(args: &args::Schema, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let all = schema::all();
    if let Some(dir) = &args.dir {
        directory(dir)?;
        for contract in &all {
            let path = dir.join(format!("{}.json", contract.name));
            fs::write(&path, contract.text())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        warn(&format!("{} schemas written to {}", all.len(), dir.display()));
        return Ok(Answer::Done);
    }
    let Some(kind) = &args.kind else {
        let width = all.iter().map(|contract| contract.name.len()).max().unwrap_or(0);
        for Contract { name, topic, .. } in &all {
            writeln!(out, "{name:width$}  {topic}")?;
        }
        return Ok(Answer::Done);
    };
    let named = |contract: &&Contract| {
        contract.name == *kind || contract.name.strip_suffix(".v1") == Some(kind)
    };
    let Some(contract) = all.iter().find(named) else {
        let names = all.iter().map(|contract| contract.name.as_str());
        let nearest = nearest(kind, names).unwrap_or_default();
        bail!(
            "no type is called `{kind}`; the nearest is {nearest}, and `deferd schema` lists all"
        );
    };
    out.write_all(contract.text().as_bytes())?;
    Ok(Answer::Done)
}

/// Prints the completions for a shell.
///
/// # Errors
///
/// Standard output cannot be written.
pub(super) fn completions(args: &args::Completions, out: &mut dyn Write) -> anyhow::Result<Answer> {
    // The generator panics where it cannot write, and a closed pipe is no error.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::Args::command(), "deferd", &mut script);
    out.write_all(&script)?;
    Ok(Answer::Done)
}

/// Prints the manual page, or writes those of all commands.
///
/// # Errors
///
/// The directory or standard output cannot be written.
pub(super) fn man(args: &args::Man, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let command = args::Args::command();
    match &args.dir {
        Some(dir) => {
            directory(dir)?;
            clap_mangen::generate_to(command, dir)
                .with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        None => clap_mangen::Man::new(command).render(&mut { out })?,
    }
    Ok(Answer::Done)
}

fn directory(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))
}
