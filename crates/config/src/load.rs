//! Loading: the file, its `scrape_config_files`, environment variables, and paths relative to its folder.

use std::path::{Path, PathBuf};

use crate::convert;
use crate::decode;
use crate::schema::Type;
use crate::schema::prometheus::{CONFIG, SCRAPE_FILE, apply_global, check_translation};
use crate::types::Config;
use crate::value::{Record, Value};

/// What the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A server with a store.
    Server,
    /// An agent, which only forwards and may have neither rules nor alerting nor remote read.
    Agent,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("open {}: {}", .0.display(), go_words(.1))]
    Read(PathBuf, std::io::Error),
    /// The text is not a valid configuration; the message is Prometheus's.
    #[error("{0}")]
    Invalid(String),
    /// The file is not a valid configuration.
    #[error("parsing YAML file {}: {}", .0.display(), .1)]
    InvalidFile(PathBuf, String),
    /// A section does not go with the mode.
    #[error("field {0} is not allowed in agent mode")]
    NotInAgentMode(&'static str),
    /// One of the `scrape_config_files` is refused.
    #[error("{}: {message}", model::name::quote(&.path.display().to_string()))]
    ScrapeConfigFile {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// Reads a server's configuration in `path` with the environment of this process.
///
/// # Errors
/// See [`Error`].
pub fn load(path: &Path) -> Result<Config, Error> {
    load_as(path, Mode::Server)
}

/// Reads the configuration in `path` for that mode.
///
/// # Errors
/// See [`Error`].
pub fn load_as(path: &Path, mode: Mode) -> Result<Config, Error> {
    let text = read(path)?;
    let mut record =
        decode_config(&text, |name| std::env::var(name).ok()).map_err(|message| Error::InvalidFile(path.to_owned(), message))?;
    if mode == Mode::Agent {
        check_agent(&record)?;
    }
    finish(&mut record, path.parent().unwrap_or(Path::new("")))
}

/// Reads the configuration in `text`, whose relative paths start from `folder`; `environment` looks a variable up.
///
/// # Errors
/// See [`Error`].
pub fn parse(text: &str, folder: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let mut record = decode_config(text, environment).map_err(Error::Invalid)?;
    finish(&mut record, folder)
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    let invalid = || Error::InvalidFile(path.to_owned(), "yaml: invalid leading UTF-8 octet".to_owned());
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// The commonest faults of files in Go's words.
fn go_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn decode_config(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Record, String> {
    let mut record = match decode::decode(text, &CONFIG)? {
        Some(record) => record,
        None => decode::defaults(&CONFIG)?,
    };
    if let Some(Value::Record(global)) = record.get_mut("global")
        && let Some(Value::Map(labels)) = global.get_mut("external_labels")
    {
        for (_, value) in labels {
            *value = Value::Str(expand(value.as_str(), &environment));
        }
    }
    check_translation(&record)?;
    Ok(record)
}

fn check_agent(record: &Record) -> Result<(), Error> {
    let alerting = record.record("alerting");
    let in_alerting = |list| alerting.is_some_and(|alerting| !alerting.list(list).is_empty());
    for (field, present) in [
        ("alerting", in_alerting("alertmanagers") || in_alerting("alert_relabel_configs")),
        ("rule_files", !record.list("rule_files").is_empty()),
        ("remote_read", !record.list("remote_read").is_empty()),
    ] {
        if present {
            return Err(Error::NotInAgentMode(field));
        }
    }
    Ok(())
}

fn finish(record: &mut Record, folder: &Path) -> Result<Config, Error> {
    set_directory(record, folder);
    let mut config = convert::config(record).map_err(Error::Invalid)?;
    let global = record.record("global").cloned();
    for pattern in config.scrape_config_files.clone() {
        for path in matching_files(&pattern) {
            let Some(global) = &global else { continue };
            add_scrape_file(&mut config, &path, global)?;
        }
    }
    config.record = Some(record.clone());
    Ok(config)
}

/// Adds the jobs of one of the `scrape_config_files`.
fn add_scrape_file(config: &mut Config, path: &Path, global: &Record) -> Result<(), Error> {
    let refusal = |message: String| Error::ScrapeConfigFile { path: path.to_owned(), message };
    let text = read(path).map_err(|error| refusal(error.to_string()))?;
    let Some(mut file) = decode::decode(&text, &SCRAPE_FILE).map_err(refusal)? else { return Ok(()) };
    if let Some(Value::List(jobs)) = file.get_mut("scrape_configs") {
        apply_global(jobs, global).map_err(refusal)?;
    }
    set_directory(&mut file, path.parent().unwrap_or(Path::new("")));
    for job in file.records("scrape_configs") {
        let job = convert::scrape_config(job).map_err(refusal)?;
        if config.scrape_configs.iter().any(|other| other.job_name == job.job_name) {
            let name = model::name::quote(&job.job_name);
            return Err(refusal(format!("found multiple scrape configs with job name {name}")));
        }
        config.scrape_configs.push(job);
    }
    config.scrape_files.push((path.to_owned(), file));
    Ok(())
}

/// The files that a pattern names, sorted; a star stands for any text without `/` in the last part.
pub(crate) fn matching_files(pattern: &Path) -> Vec<PathBuf> {
    let Some(name) = pattern.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    if !name.contains(['*', '?', '[']) {
        return if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(|file| matches_glob(name, file)))
        .map(|entry| pattern.with_file_name(entry.file_name()))
        .collect();
    files.sort();
    files
}

/// Go's `path.Match` for one part of a path: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a character.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Where to go on when what follows the last star does not match: the star takes one character more.
    let mut star: Option<(usize, usize)> = None;
    let (mut at, mut position) = (0, 0);
    while position < text.len() {
        match one(&pattern[at..], text[position]) {
            Some(Part::Star) => {
                star = Some((at + 1, position));
                at += 1;
            }
            Some(Part::Takes(len)) => {
                at += len;
                position += 1;
            }
            None => {
                let Some((after_star, taken)) = star else { return false };
                star = Some((after_star, taken + 1));
                (at, position) = (after_star, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

enum Part {
    Star,
    /// Takes the character, with that many of the pattern's.
    Takes(usize),
}

fn one(pattern: &[char], c: char) -> Option<Part> {
    match pattern {
        ['*', ..] => Some(Part::Star),
        ['?', ..] => Some(Part::Takes(1)),
        ['\\', escaped, ..] => (*escaped == c).then_some(Part::Takes(2)),
        ['[', set @ ..] => {
            let end = set.iter().skip(1).position(|c| *c == ']')? + 1;
            let (negated, members) = match &set[..end] {
                ['^', members @ ..] => (true, members),
                members => (false, members),
            };
            (in_set(members, c) != negated).then_some(Part::Takes(end + 2))
        }
        [literal, ..] => (*literal == c).then_some(Part::Takes(1)),
        [] => None,
    }
}

fn in_set(members: &[char], c: char) -> bool {
    match members {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&c) || in_set(rest, c),
        [member, rest @ ..] => *member == c || in_set(rest, c),
        [] => false,
    }
}

/// Joins every relative path of a section to the folder of its file.
fn set_directory(record: &mut Record, folder: &Path) {
    let table = record.table;
    for (name, value) in record.values_mut() {
        if let Some(field) = table.field(name) {
            join_paths(value, field.kind, folder);
        }
    }
}

fn join_paths(value: &mut Value, kind: Type, folder: &Path) {
    match (value, kind) {
        (Value::Str(path), Type::Path) if !path.is_empty() => {
            *path = clean(&folder.join(&*path));
        }
        (Value::Record(record), _) => set_directory(record, folder),
        (Value::List(items), Type::List(item)) => items.iter_mut().for_each(|value| join_paths(value, *item, folder)),
        (Value::Map(entries), Type::Map(item)) => entries.iter_mut().for_each(|(_, value)| join_paths(value, *item, folder)),
        _ => {}
    }
}

/// A path without `.` and inner `..`, as Go joins it.
fn clean(path: &Path) -> String {
    let mut parts: Vec<std::path::Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (std::path::Component::CurDir, _) => {}
            (std::path::Component::ParentDir, Some(std::path::Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.iter().collect::<PathBuf>().display().to_string()
}

/// Go's `os.Expand`: `$name` and `${name}`, with `$$` for a dollar.
fn expand(text: &str, environment: impl Fn(&str) -> Option<String>) -> String {
    let lookup = |name: &str| if name == "$" { "$".to_owned() } else { environment(name).unwrap_or_default() };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, len) = variable(after);
        match name {
            // A dollar before something that is no name stays.
            "" if len == 0 => out.push('$'),
            "" => {}
            name => out.push_str(&lookup(name)),
        }
        rest = &after[len..];
    }
    out.push_str(rest);
    out
}

/// The name after a dollar, and how many bytes it takes; broken braces give no name but are taken.
fn variable(text: &str) -> (&str, usize) {
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.find('}') {
            Some(0) => ("", 2),
            Some(end) => (&inner[..end], end + 2),
            None => ("", 1),
        };
    }
    match text.as_bytes().first() {
        Some(b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9') => (&text[..1], 1),
        _ => {
            let len = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            (&text[..len], len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_in_a_shell() {
        let environment = |name: &str| (name == "TEST").then(|| "value".to_owned());
        for (text, want) in [
            ("foo${TEST}bar", "foovaluebar"),
            ("$TEST", "value"),
            ("$TEST-x", "value-x"),
            ("${NONE}", ""),
            ("foo$$bar", "foo$bar"),
            ("foo$${TEST}", "foo${TEST}"),
            ("cost: 5$", "cost: 5$"),
            ("$ x", "$ x"),
            ("${}x", "x"),
            ("${x", "x"),
        ] {
            assert_eq!(expand(text, environment), want, "{text}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbY", false),
            ("?.yml", "a.yml", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("*", "", true),
            ("a", "", false),
            ("[", "[", false),
        ] {
            assert_eq!(matches_glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn paths_join_the_folder() {
        assert_eq!(clean(&Path::new("/etc").join("./rules/../a.yml")), "/etc/a.yml");
        assert_eq!(clean(&Path::new("/etc").join(PathBuf::from("/b.yml"))), "/b.yml");
        assert_eq!(clean(&Path::new("").join("rules/*.yml")), "rules/*.yml");
    }
}
