//! From the tree of a file to the values of a [`Table`], as Go's library decodes strictly into structs.
//!
//! Two kinds of fault, as there: what does not fit a type is collected and decoding goes on, and what a check refuses
//! ends it at once. A check only sees a section whose fields all fitted.

use std::sync::Arc;

use model::name::quote;
use yaml::{Node, Scalar};

use crate::schema::{Table, Type};
use crate::size;
use crate::value::{Record, Value};

/// The message of a check that ends the decoding.
pub(crate) struct Abort(pub(crate) String);

/// Reads `text` as `table`; `None` for an empty document.
pub(crate) fn decode(text: &str, table: &'static Table) -> Result<Option<Record>, String> {
    let Some(root) = yaml::parse(text).map_err(|error| error.to_string())? else { return Ok(None) };
    let mut decoder = Decoder::default();
    let value = decoder.value(&root, Type::Record(table)).map_err(|Abort(message)| message)?;
    if !decoder.faults.is_empty() {
        return Err(format!("yaml: unmarshal errors:\n  {}", decoder.faults.join("\n  ")));
    }
    Ok(match value {
        Some(Value::Record(record)) => Some(record),
        _ => None,
    })
}

/// The values that `table` has when the file says nothing.
pub(crate) fn defaults(table: &'static Table) -> Result<Record, String> {
    let mut record = Record::new(table, 0);
    Decoder::default().finish(&mut record).map_err(|Abort(message)| message)?;
    Ok(record)
}

#[derive(Default)]
struct Decoder {
    /// What did not fit a type, each with its line.
    faults: Vec<String>,
}

impl Decoder {
    /// A value of that type, or `None` when a fault was noted.
    fn value(&mut self, node: &Node, kind: Type) -> Result<Option<Value>, Abort> {
        if node.is_null() {
            return Ok(Some(Value::Null));
        }
        match kind {
            Type::Record(table) => self.record(node, table),
            Type::List(item) => self.list(node, *item),
            Type::Map(item) => self.map(node, *item),
            Type::LabelSet => self.label_set(node),
            Type::Any => Ok(Some(any(node))),
            _ => self.scalar(node, kind),
        }
    }

    fn record(&mut self, node: &Node, table: &'static Table) -> Result<Option<Value>, Abort> {
        let faults_before = self.faults.len();
        if node.entries().is_none() {
            return self.mismatch(node, table.plain);
        }
        let mut record = Record::new(table, node.line);
        self.fields(node, &mut record)?;
        if self.faults.len() > faults_before {
            return Ok(None);
        }
        self.finish(&mut record)?;
        Ok(Some(Value::Record(record)))
    }

    fn fields(&mut self, node: &Node, record: &mut Record) -> Result<(), Abort> {
        let table = record.table;
        let mut done: Vec<&'static str> = Vec::new();
        let entries = node.entries().unwrap_or_default();
        // What is merged in comes first, so that the section's own fields win.
        for (_, value) in entries.iter().filter(|(key, _)| key.is_merge()) {
            for source in merge_sources(value)? {
                self.fields(source, record)?;
            }
        }
        for (key, value) in entries.iter().filter(|(key, _)| !key.is_merge()) {
            let Some(Value::Str(name)) = self.scalar(key, Type::Str)? else { continue };
            let Some(field) = table.field(&name) else {
                self.faults.push(format!("line {}: field {name} not found in type {}", key.line, table.plain));
                continue;
            };
            if done.contains(&field.name) {
                self.faults.push(format!("line {}: field {name} already set in type {}", key.line, table.plain));
                continue;
            }
            done.push(field.name);
            if let Some(value) = self.value(value, field.kind)? {
                record.set_at(field.name, value, key.line);
            }
        }
        Ok(())
    }

    /// Fills in the defaults of what is absent, then checks the whole.
    fn finish(&mut self, record: &mut Record) -> Result<(), Abort> {
        let table = record.table;
        for field in table.all_fields() {
            let Some(default) = table.default_of(field).filter(|_| !record.is_in_file(field.name)) else { continue };
            let value = match field.kind {
                Type::Str | Type::Path | Type::Secret | Type::Url | Type::Checked(..) => Value::Str(default.to_owned()),
                Type::Record(table) => Value::Record(defaults(table).map_err(Abort)?),
                kind => match yaml::parse(default).map_err(|error| Abort(error.to_string()))? {
                    Some(node) => Decoder::default().value(&node, kind)?.unwrap_or(Value::Null),
                    None => Value::Null,
                },
            };
            record.set_at(field.name, value, 0);
        }
        (table.check)(record).map_err(Abort)
    }

    fn list(&mut self, node: &Node, item: Type) -> Result<Option<Value>, Abort> {
        let Some(nodes) = node.items() else {
            return self.mismatch(node, &list_name(item));
        };
        let mut items = Vec::with_capacity(nodes.len());
        for node in nodes {
            items.extend(self.value(node, item)?);
        }
        Ok(Some(Value::List(items)))
    }

    fn map(&mut self, node: &Node, item: Type) -> Result<Option<Value>, Abort> {
        let Some(nodes) = node.entries() else {
            return self.mismatch(node, &format!("map[string]{}", item.go_name()));
        };
        let mut entries = Vec::with_capacity(nodes.len());
        self.entries(nodes, item, &mut entries, false)?;
        Ok(Some(sorted(entries)))
    }

    fn entries(
        &mut self,
        nodes: &[(Arc<Node>, Arc<Node>)],
        item: Type,
        entries: &mut Vec<(String, Value)>,
        names: bool,
    ) -> Result<(), Abort> {
        let mut done: Vec<String> = Vec::new();
        for (_, value) in nodes.iter().filter(|(key, _)| key.is_merge()) {
            for source in merge_sources(value)? {
                self.entries(source.entries().unwrap_or_default(), item, entries, names)?;
            }
        }
        for (key, value) in nodes.iter().filter(|(key, _)| !key.is_merge()) {
            let Some(name) = self.scalar(key, if names { LABEL_NAME } else { Type::Str })? else { continue };
            let name = name.as_str().to_owned();
            let Some(found) = self.value(value, item)? else { continue };
            if done.contains(&name) {
                self.faults.push(format!("line {}: key {} already set in map", value.line, quote(&name)));
                continue;
            }
            entries.retain(|(known, _)| *known != name);
            entries.push((name.clone(), found));
            done.push(name);
        }
        Ok(())
    }

    fn label_set(&mut self, node: &Node) -> Result<Option<Value>, Abort> {
        let Some(nodes) = node.entries() else {
            return self.mismatch(node, "model.LabelSet");
        };
        let mut entries = Vec::with_capacity(nodes.len());
        self.entries(nodes, Type::Str, &mut entries, true)?;
        Ok(Some(sorted(entries)))
    }

    fn scalar(&mut self, node: &Node, kind: Type) -> Result<Option<Value>, Abort> {
        let Some(source) = node.text() else {
            return self.mismatch(node, &kind.go_name());
        };
        let resolved = node.resolve().map_err(|error| Abort(error.to_string()))?;
        let text = || match &resolved {
            Scalar::Binary(bytes) => String::from_utf8(bytes.clone())
                .map_err(|error| Abort(format!("{} is not a valid label name", quote_bytes(error.as_bytes())))),
            _ => Ok(source.to_owned()),
        };
        let value = match (kind, &resolved) {
            (Type::Bool, Scalar::Bool(value)) => Value::Bool(*value),
            (Type::Int, Scalar::Int(value)) => Value::Int(*value),
            // Go converts by cutting the fraction off.
            (Type::Int, Scalar::Float(value)) if *value < i64::MAX as f64 => Value::Int(*value as i64),
            (Type::Uint, Scalar::Int(value)) if *value >= 0 => Value::Uint(value.unsigned_abs()),
            (Type::Uint, Scalar::Uint(value)) => Value::Uint(*value),
            (Type::Uint, Scalar::Float(value)) if *value >= 0.0 && *value < u64::MAX as f64 => Value::Uint(*value as u64),
            (Type::Float, Scalar::Int(value)) => Value::Float(*value as f64),
            (Type::Float, Scalar::Uint(value)) => Value::Float(*value as f64),
            (Type::Float, Scalar::Float(value)) => Value::Float(*value),
            (Type::Str | Type::Path | Type::Secret, _) => Value::Str(text()?),
            (Type::Duration, _) => {
                let text = text()?;
                Value::Duration(model::duration::parse(&text).map_err(|error| Abort(error.to_string()))?)
            }
            (Type::Size, _) => Value::Size(size::parse(&text()?).map_err(Abort)?),
            (Type::Url, _) => {
                let text = text()?;
                crate::url::parse(&text).map_err(Abort)?;
                Value::Str(text)
            }
            (Type::Checked(_, check), _) => {
                let text = text()?;
                check(&text).map_err(Abort)?;
                Value::Str(text)
            }
            _ => return self.mismatch(node, &kind.go_name()),
        };
        Ok(Some(value))
    }

    /// Notes that a value does not fit, in the words of Go's library.
    fn mismatch(&mut self, node: &Node, go_name: &str) -> Result<Option<Value>, Abort> {
        let resolved = node.resolve().map_err(|error| Abort(error.to_string()))?;
        let tag = match &node.kind {
            yaml::Kind::Sequence(_) => "!!seq",
            yaml::Kind::Mapping(_) => "!!map",
            yaml::Kind::Scalar { .. } => resolved.tag(),
        };
        let tag = node.tag.as_deref().unwrap_or(tag);
        let shown = match node.text() {
            Some(text) if text.len() > 10 => {
                let cut = (0..=7).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                format!(" `{}...`", &text[..cut])
            }
            Some(text) => format!(" `{text}`"),
            None => String::new(),
        };
        self.faults.push(format!("line {}: cannot unmarshal {tag}{shown} into {go_name}", node.line));
        Ok(None)
    }
}

/// The name of a label, in the `Checked` form of the schema.
pub(crate) const LABEL_NAME: Type = Type::Checked("string", check_label_name);

fn check_label_name(name: &str) -> Result<(), String> {
    if name.is_empty() { Err(format!("{} is not a valid label name", quote(name))) } else { Ok(()) }
}

fn list_name(item: Type) -> String {
    match item {
        Type::Record(table) => format!("[]*{}", table.go),
        other => format!("[]{}", other.go_name()),
    }
}

fn sorted(mut entries: Vec<(String, Value)>) -> Value {
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Map(entries)
}

/// The mappings that a `<<` brings in, the weakest first.
fn merge_sources(node: &Node) -> Result<Vec<&Node>, Abort> {
    let refusal = || Abort("yaml: map merge requires map or sequence of maps as the value".to_owned());
    match &node.kind {
        yaml::Kind::Mapping(_) => Ok(vec![node]),
        yaml::Kind::Sequence(items) => items.iter().rev().map(|item| item.entries().map(|_| &**item).ok_or_else(refusal)).collect(),
        yaml::Kind::Scalar { .. } => Err(refusal()),
    }
}

/// A value of no given type, kept for printing.
fn any(node: &Node) -> Value {
    match &node.kind {
        yaml::Kind::Scalar { text, .. } => match node.resolve() {
            Ok(Scalar::Null) => Value::Null,
            Ok(Scalar::Bool(value)) => Value::Bool(value),
            Ok(Scalar::Int(value)) => Value::Int(value),
            Ok(Scalar::Uint(value)) => Value::Uint(value),
            Ok(Scalar::Float(value)) => Value::Float(value),
            Ok(Scalar::Timestamp | Scalar::Str | Scalar::Binary(_) | Scalar::Other(_)) | Err(_) => Value::Str(text.clone()),
        },
        yaml::Kind::Sequence(items) => Value::List(items.iter().map(|item| any(item)).collect()),
        yaml::Kind::Mapping(entries) => {
            sorted(entries.iter().map(|(key, value)| (key.text().unwrap_or_default().to_owned(), any(value))).collect())
        }
    }
}

/// Go's quoting of bytes that are not UTF-8.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}
