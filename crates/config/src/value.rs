//! What was read: values by the names of their fields, with the lines where they stand.

use model::Millis;

use crate::schema::{Omit, Table};

/// A value of a type of the schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Not set, or set to null; stands for Go's zero value.
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(String),
    Duration(Millis),
    Size(i64),
    List(Vec<Value>),
    /// Sorted by key.
    Map(Vec<(String, Value)>),
    Record(Record),
}

impl Value {
    /// Whether this is Go's zero value.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Size(value) | Self::Duration(Millis(value)) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Str(value) => value.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            // A pointer of Go's is zero only if it is nil.
            Self::Record(record) => record.table.all_fields().all(|field| match field.omit {
                Omit::Unset => !record.has(field.name),
                Omit::Empty | Omit::Never => record.get(field.name).is_zero(),
            }),
        }
    }
}

/// The values of a section.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) table: &'static Table,
    /// Where the section starts, from 1; 0 if it is not in the file.
    pub(crate) line: usize,
    values: Vec<Entry>,
}

impl std::fmt::Debug for Record {
    /// Names the type only: the values may be secrets.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} at line {}", self.table.go, self.line)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: &'static str,
    value: Value,
    /// Line of the key; 0 for a default.
    line: usize,
}

impl PartialEq for Record {
    /// Compares values, not places.
    fn eq(&self, other: &Self) -> bool {
        self.table.go == other.table.go && self.table.all_fields().all(|field| self.get(field.name) == other.get(field.name))
    }
}

impl Record {
    pub(crate) fn new(table: &'static Table, line: usize) -> Self {
        Self { table, line, values: Vec::new() }
    }

    /// The value of a field; `Null` if it has none.
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.values.iter().find(|entry| entry.name == name).map_or(&Value::Null, |entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.values.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.value)
    }

    /// Every value that is there.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Value)> {
        self.values.iter_mut().map(|entry| (entry.name, &mut entry.value))
    }

    /// Sets a field, from the file if `line` is above 0.
    pub(crate) fn set_at(&mut self, name: &'static str, value: Value, line: usize) {
        match self.values.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => *entry = Entry { name, value, line },
            None => self.values.push(Entry { name, value, line }),
        }
    }

    /// Sets a field to what follows from other fields; its line stays.
    pub(crate) fn set(&mut self, name: &'static str, value: Value) {
        let line = self.line_of(name);
        self.set_at(name, value, line);
    }

    /// Sets a field if it has Go's zero value.
    pub(crate) fn set_if_zero(&mut self, name: &'static str, value: &Value) {
        if self.get(name).is_zero() {
            self.set(name, value.clone());
        }
    }

    /// Sets a field if it is not set.
    pub(crate) fn set_if_null(&mut self, name: &'static str, value: &Value) {
        if *self.get(name) == Value::Null {
            self.set(name, value.clone());
        }
    }

    /// Whether the field has any value.
    pub(crate) fn has(&self, name: &str) -> bool {
        *self.get(name) != Value::Null
    }

    /// Whether the file itself sets the field.
    pub(crate) fn is_in_file(&self, name: &str) -> bool {
        self.values.iter().any(|entry| entry.name == name)
    }

    /// Where the field is set; 0 if it is not in the file.
    pub(crate) fn line_of(&self, name: &str) -> usize {
        self.values.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.line)
    }

    pub(crate) fn str(&self, name: &str) -> &str {
        match self.get(name) {
            Value::Str(text) => text,
            _ => "",
        }
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Value::Bool(true))
    }

    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Value::Int(value) | Value::Size(value) => *value,
            _ => 0,
        }
    }

    pub(crate) fn uint(&self, name: &str) -> u64 {
        match self.get(name) {
            Value::Uint(value) => *value,
            _ => 0,
        }
    }

    pub(crate) fn float(&self, name: &str) -> f64 {
        match self.get(name) {
            Value::Float(value) => *value,
            _ => 0.0,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Millis {
        match self.get(name) {
            Value::Duration(value) => *value,
            _ => Millis(0),
        }
    }

    pub(crate) fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn map(&self, name: &str) -> &[(String, Value)] {
        match self.get(name) {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn record(&self, name: &str) -> Option<&Record> {
        match self.get(name) {
            Value::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The texts of a list; a null among them is an empty text.
    pub(crate) fn strings(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().map(Value::as_str)
    }

    /// The sections of a list; nulls are left out.
    pub(crate) fn records(&self, name: &str) -> impl Iterator<Item = &Record> {
        self.list(name).iter().filter_map(|item| match item {
            Value::Record(record) => Some(record),
            _ => None,
        })
    }
}

impl Value {
    /// The text, or nothing for anything else.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Str(text) => text,
            _ => "",
        }
    }
}
