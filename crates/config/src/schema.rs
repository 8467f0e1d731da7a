//! What a section may hold, as tables: one [`Table`] for each struct of Prometheus's configuration.
//!
//! Prometheus gets its strictness from Go's types and its checks from their `UnmarshalYAML` methods. Here a table names
//! the fields with their types and defaults, and its `check` is that method, so that every section, also those which
//! nothing serves yet, is read by one decoder and refused with the same words.

pub(crate) mod discovery;
pub(crate) mod http;
pub(crate) mod prometheus;
pub(crate) mod remote;

use crate::value::Record;

/// The type of a value.
#[derive(Clone, Copy)]
pub(crate) enum Type {
    Str,
    /// A file's path, joined to the folder of the configuration once all is read.
    Path,
    /// Text that is never shown.
    Secret,
    Bool,
    Int,
    Uint,
    Float,
    Duration,
    /// Bytes, such as `10MB`; the units are powers of 1024.
    Size,
    Url,
    /// Text that a function accepts; the name is Go's for the type.
    Checked(&'static str, fn(&str) -> Result<(), String>),
    /// Anything at all.
    Any,
    List(&'static Type),
    /// Text to values of one type.
    Map(&'static Type),
    /// Names and values of labels; the names are checked.
    LabelSet,
    Record(&'static Table),
}

/// When a field is left out of the printed configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Omit {
    /// When it is empty, zero or false.
    Empty,
    /// When it is not set at all; Go has a pointer there.
    Unset,
    Never,
}

/// A field of a section.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    /// The value without the field: the text itself, `{}` for a section's defaults, else YAML. `None` is Go's zero value.
    pub(crate) default: Option<&'static str>,
    pub(crate) omit: Omit,
}

impl Field {
    pub(crate) const fn default(mut self, yaml: &'static str) -> Self {
        self.default = Some(yaml);
        self
    }

    pub(crate) const fn unless_unset(mut self) -> Self {
        self.omit = Omit::Unset;
        self
    }

    pub(crate) const fn always(mut self) -> Self {
        self.omit = Omit::Never;
        self
    }
}

/// A field that is printed unless it is empty.
pub(crate) const fn field(name: &'static str, kind: Type) -> Field {
    Field { name, kind, default: None, omit: Omit::Empty }
}

/// A struct.
pub(crate) struct Table {
    /// Go's name of the type.
    pub(crate) go: &'static str,
    /// Go's name of the type while its fields are read, as messages about fields have it.
    pub(crate) plain: &'static str,
    /// The fields in Go's order; several slices where Go embeds a struct.
    pub(crate) fields: &'static [&'static [Field]],
    /// Defaults of embedded fields that differ here.
    pub(crate) overrides: &'static [(&'static str, &'static str)],
    /// What `UnmarshalYAML` does once the fields are read.
    pub(crate) check: Check,
}

/// A check of a section, which may also fill in what depends on other fields.
pub(crate) type Check = fn(&mut Record) -> Result<(), String>;

impl Table {
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().flat_map(|part| part.iter())
    }

    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.all_fields().find(|field| field.name == name)
    }

    pub(crate) fn default_of(&self, field: &Field) -> Option<&'static str> {
        let override_ = self.overrides.iter().find(|(name, _)| *name == field.name);
        override_.map(|(_, yaml)| *yaml).or(field.default)
    }
}

/// The check of a section that has none.
pub(crate) fn anything(_: &mut Record) -> Result<(), String> {
    Ok(())
}

impl Type {
    /// Go's name of the type, as messages have it.
    pub(crate) fn go_name(self) -> String {
        match self {
            Self::Str | Self::Path | Self::Duration | Self::Url => "string".to_owned(),
            Self::Secret => "config.plain".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Uint => "uint".to_owned(),
            Self::Float => "float64".to_owned(),
            Self::Size => "units.Base2Bytes".to_owned(),
            Self::Checked(name, _) => name.to_owned(),
            Self::Any => "interface {}".to_owned(),
            Self::List(Self::Record(table)) => format!("[]*{}", table.go),
            Self::List(item) => format!("[]{}", item.go_name()),
            Self::Map(item) => format!("map[string]{}", item.go_name()),
            Self::LabelSet => "model.LabelSet".to_owned(),
            Self::Record(table) => table.plain.to_owned(),
        }
    }
}
