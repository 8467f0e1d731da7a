//! The effective configuration as YAML, in Go's order of fields, with secrets hidden.

use yaml::{Emitter, quote};

use crate::schema::{Field, Omit, Type};
use crate::value::{Record, Value};

/// The whole of a section.
pub(crate) fn print(record: &Record) -> String {
    let mut out = Emitter::new();
    fields(&mut out, record);
    out.finish()
}

fn fields(out: &mut Emitter, record: &Record) {
    for field in record.table.all_fields() {
        let value = record.get(field.name);
        if is_shown(field, value) {
            entry(out, field.name, value, field.kind);
        }
    }
}

fn is_shown(field: &Field, value: &Value) -> bool {
    match field.omit {
        Omit::Empty => !value.is_zero(),
        Omit::Unset => *value != Value::Null,
        Omit::Never => true,
    }
}

fn has_shown_fields(record: &Record) -> bool {
    record.table.all_fields().any(|field| is_shown(field, record.get(field.name)))
}

fn entry(out: &mut Emitter, key: &str, value: &Value, kind: Type) {
    match (value, kind) {
        (Value::Record(record), _) if has_shown_fields(record) => out.mapping(key, |out| fields(out, record)),
        (Value::Map(entries), Type::Map(item)) if !entries.is_empty() => {
            out.mapping(key, |out| entries.iter().for_each(|(key, value)| entry(out, key, value, *item)));
        }
        (Value::Map(entries), Type::LabelSet) if !entries.is_empty() => {
            out.mapping(key, |out| entries.iter().for_each(|(key, value)| entry(out, key, value, Type::Str)));
        }
        (Value::Map(entries), Type::Any) if !entries.is_empty() => {
            out.mapping(key, |out| entries.iter().for_each(|(key, value)| entry(out, key, value, Type::Any)));
        }
        // The only list that Prometheus prints on one line.
        (Value::List(items), _) if key == "source_labels" => {
            let items: Vec<String> = items.iter().map(|item| quote(item.as_str())).collect();
            out.scalar(key, &format!("[{}]", items.join(", ")));
        }
        (Value::List(items), _) if !items.is_empty() => {
            let item_kind = if let Type::List(item) = kind { *item } else { Type::Any };
            out.list(key, |out| items.iter().for_each(|value| item(out, value, item_kind)));
        }
        _ => out.scalar(key, &scalar(value, kind)),
    }
}

fn item(out: &mut Emitter, value: &Value, kind: Type) {
    match value {
        Value::Record(record) if has_shown_fields(record) => out.item_mapping(|out| fields(out, record)),
        _ => out.item(&scalar(value, kind)),
    }
}

fn scalar(value: &Value, kind: Type) -> String {
    match (value, kind) {
        (Value::Null, Type::Bool) => "false".to_owned(),
        (Value::Null, Type::Int | Type::Uint | Type::Float) => "0".to_owned(),
        (Value::Null, Type::Duration) => "0s".to_owned(),
        (Value::Null, Type::Size) => "0B".to_owned(),
        (Value::Null, Type::List(_)) | (Value::List(_), _) => "[]".to_owned(),
        (Value::Null, Type::Map(_) | Type::LabelSet | Type::Record(_)) | (Value::Map(_) | Value::Record(_), _) => "{}".to_owned(),
        (Value::Null, Type::Any) => "null".to_owned(),
        (Value::Null, _) => "\"\"".to_owned(),
        (Value::Str(text), Type::Secret) if !text.is_empty() => "<secret>".to_owned(),
        (Value::Str(text), Type::Url) => quote(&crate::url::redact(text)),
        (Value::Str(text), _) => quote(text),
        (Value::Bool(value), _) => value.to_string(),
        (Value::Int(value), _) => value.to_string(),
        (Value::Uint(value), _) => value.to_string(),
        (Value::Float(value), _) => model::number::format_general(*value),
        (Value::Duration(value), _) => model::duration::format(*value),
        (Value::Size(value), _) => crate::size::format(*value),
    }
}
