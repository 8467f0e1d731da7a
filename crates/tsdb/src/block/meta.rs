//! `meta.json`: what a block says of itself.
//!
//! Others write into this file too (Thanos keeps its labels and downsampling there), so whatever we do not know is kept and
//! written back.
//!
//! # Invariants
//! - The file is replaced as a whole, never changed in place.

use super::{BlockError, replace_file};
use serde_json::{Map, Value};
use std::path::Path;
use ulid::Ulid;
use world::Files;

/// The file's name within a block.
pub const FILE_NAME: &str = "meta.json";

/// Hint: made of samples that came out of order.
pub const HINT_OUT_OF_ORDER: &str = "from-out-of-order";
/// Hint: made of series that got no samples any more.
pub const HINT_STALE_SERIES: &str = "from-stale-series";
/// Hint: made of series that a caller named.
pub const HINT_SELECTED_SERIES: &str = "from-selected-series";

/// A block's meta.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// The block's name.
    pub ulid: Ulid,
    /// No sample is before it (milliseconds).
    pub min_time: i64,
    /// All samples are before it (milliseconds).
    pub max_time: i64,
    /// How much it holds.
    pub stats: Stats,
    /// Where it comes from.
    pub compaction: Compaction,
    /// Fields that we do not know.
    pub extra: Map<String, Value>,
}

/// How much a block holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// All samples.
    pub samples: u64,
    /// Those that are floats; 0 also where the writer did not count them apart.
    pub float_samples: u64,
    /// Those that are histograms; likewise.
    pub histogram_samples: u64,
    /// Series.
    pub series: u64,
    /// Chunks.
    pub chunks: u64,
    /// Intervals in the tombstones file.
    pub tombstones: u64,
    /// Fields that we do not know.
    pub extra: Map<String, Value>,
}

/// Where a block comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compaction {
    /// 1 for a block of the head's, else one more than the highest of the blocks that it was made of.
    pub level: u32,
    /// All blocks of the head's that went into it, sorted.
    pub sources: Vec<Ulid>,
    /// A compaction found nothing left of it: it may go.
    pub deletable: bool,
    /// The blocks that it was made of.
    pub parents: Vec<Parent>,
    /// A compaction of it failed: plans leave it out.
    pub failed: bool,
    /// What is special about it, sorted: [`HINT_OUT_OF_ORDER`] and the like.
    pub hints: Vec<String>,
    /// Fields that we do not know.
    pub extra: Map<String, Value>,
}

/// A block that another was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub ulid: Ulid,
    /// No sample was before it.
    pub min_time: i64,
    /// All samples were before it.
    pub max_time: i64,
}

impl Meta {
    /// Reads a block's meta.
    ///
    /// # Errors
    /// When the file cannot be read, is not such JSON, or has another version than 1.
    pub fn read(files: &dyn Files, block: &Path) -> Result<Self, BlockError> {
        let (meta, version) = Self::read_any(files, block)?;
        if version != 1 {
            return Err(BlockError::Version { block: block.to_owned(), version });
        }
        Ok(meta)
    }

    /// Replaces a block's meta, durably.
    ///
    /// # Errors
    /// The operating system's; the old file is then still there.
    pub fn write(&self, files: &dyn Files, block: &Path) -> Result<(), BlockError> {
        replace_file(files, block, FILE_NAME, self.to_json().as_bytes())
    }

    /// The meta and the version that the file claims, if it is 1 or the 2 of a fault of Prometheus 2.1.
    pub(super) fn read_any(files: &dyn Files, block: &Path) -> Result<(Self, u64), BlockError> {
        let path = block.join(FILE_NAME);
        let bytes = files.read(&path).map_err(|error| BlockError::io(&path, error))?;
        Self::parse(&bytes).map_err(|what| BlockError::meta(block, what))
    }

    /// From JSON, with the version that it claims.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u64), String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut fields = Fields::of(value, "meta")?;
        let version = fields.number("version")?;
        let meta = Self {
            ulid: fields.ulid("ulid")?,
            min_time: fields.time("minTime")?,
            max_time: fields.time("maxTime")?,
            stats: Stats::of(fields.object("stats")?)?,
            compaction: Compaction::of(fields.object("compaction")?)?,
            extra: fields.fields,
        };
        Ok((meta, version))
    }

    /// As the file holds it: Prometheus's fields in its order, then the others.
    pub fn to_json(&self) -> String {
        let mut json = Json::default();
        json.open('{');
        json.text("ulid", &self.ulid.to_string());
        json.plain("minTime", self.min_time);
        json.plain("maxTime", self.max_time);
        json.key("stats");
        self.stats.write(&mut json);
        json.key("compaction");
        self.compaction.write(&mut json);
        json.plain("version", 1);
        json.extra(&self.extra);
        json.close('}');
        json.out
    }
}

impl Stats {
    fn of(mut fields: Fields) -> Result<Self, String> {
        Ok(Self {
            samples: fields.number("numSamples")?,
            float_samples: fields.number("numFloatSamples")?,
            histogram_samples: fields.number("numHistogramSamples")?,
            series: fields.number("numSeries")?,
            chunks: fields.number("numChunks")?,
            tombstones: fields.number("numTombstones")?,
            extra: fields.fields,
        })
    }

    fn write(&self, json: &mut Json) {
        json.open('{');
        for (key, number) in [
            ("numSamples", self.samples),
            ("numFloatSamples", self.float_samples),
            ("numHistogramSamples", self.histogram_samples),
            ("numSeries", self.series),
            ("numChunks", self.chunks),
            ("numTombstones", self.tombstones),
        ] {
            if number != 0 {
                json.plain(key, number);
            }
        }
        json.extra(&self.extra);
        json.close('}');
    }
}

impl Compaction {
    fn of(mut fields: Fields) -> Result<Self, String> {
        let texts = |value: Vec<Value>, what: &str| -> Result<Vec<String>, String> {
            value.into_iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(|| format!("{what} holds what is not text"))).collect()
        };
        let level = fields.number("level")?;
        Ok(Self {
            level: u32::try_from(level).map_err(|_| format!("compaction level {level} is too high"))?,
            sources: texts(fields.list("sources")?, "sources")?.iter().map(|text| ulid(text)).collect::<Result<_, _>>()?,
            deletable: fields.flag("deletable")?,
            parents: fields.list("parents")?.into_iter().map(Parent::of).collect::<Result<_, _>>()?,
            failed: fields.flag("failed")?,
            hints: texts(fields.list("hints")?, "hints")?,
            extra: fields.fields,
        })
    }

    fn write(&self, json: &mut Json) {
        json.open('{');
        json.plain("level", self.level);
        if !self.sources.is_empty() {
            json.key("sources");
            json.open('[');
            self.sources.iter().for_each(|source| json.element(&Value::String(source.to_string())));
            json.close(']');
        }
        if self.deletable {
            json.plain("deletable", true);
        }
        if !self.parents.is_empty() {
            json.key("parents");
            json.open('[');
            for parent in &self.parents {
                json.next();
                json.open('{');
                json.text("ulid", &parent.ulid.to_string());
                json.plain("minTime", parent.min_time);
                json.plain("maxTime", parent.max_time);
                json.close('}');
            }
            json.close(']');
        }
        if self.failed {
            json.plain("failed", true);
        }
        if !self.hints.is_empty() {
            json.key("hints");
            json.open('[');
            self.hints.iter().for_each(|hint| json.element(&Value::String(hint.clone())));
            json.close(']');
        }
        json.extra(&self.extra);
        json.close('}');
    }
}

impl Parent {
    fn of(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value, "parents")?;
        Ok(Self { ulid: fields.ulid("ulid")?, min_time: fields.time("minTime")?, max_time: fields.time("maxTime")? })
    }
}

fn ulid(text: &str) -> Result<Ulid, String> {
    Ulid::from_string(text).map_err(|error| format!("{text:?} is not a ULID: {error}"))
}

/// An object's fields, from which the known ones are taken; a missing one has its zero value, as in Go.
struct Fields {
    fields: Map<String, Value>,
}

impl Fields {
    fn of(value: Value, what: &str) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self { fields }),
            Value::Null => Ok(Self { fields: Map::new() }),
            _ => Err(format!("{what} is not an object")),
        }
    }

    fn take<T: Default>(&mut self, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, String> {
        match self.fields.remove(key) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => read(&value).ok_or_else(|| format!("{key} has a value of another kind")),
        }
    }

    fn number(&mut self, key: &str) -> Result<u64, String> {
        self.take(key, Value::as_u64)
    }

    fn time(&mut self, key: &str) -> Result<i64, String> {
        self.take(key, Value::as_i64)
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        self.take(key, Value::as_bool)
    }

    fn ulid(&mut self, key: &str) -> Result<Ulid, String> {
        let text = self.take(key, |value| value.as_str().map(str::to_owned))?;
        if text.is_empty() { Ok(Ulid::nil()) } else { ulid(&text) }
    }

    fn object(&mut self, key: &str) -> Result<Self, String> {
        Self::of(self.fields.remove(key).unwrap_or(Value::Null), key)
    }

    fn list(&mut self, key: &str) -> Result<Vec<Value>, String> {
        match self.fields.remove(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(format!("{key} is not a list")),
        }
    }
}

/// Writes JSON as Go's `MarshalIndent` with tabs does.
#[derive(Default)]
struct Json {
    out: String,
    depth: usize,
    /// Something stands before within the innermost bracket.
    filled: bool,
}

impl Json {
    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
        self.filled = false;
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if self.filled {
            self.line();
        }
        self.out.push(bracket);
        self.filled = true;
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n('\t', self.depth));
    }

    fn next(&mut self) {
        if self.filled {
            self.out.push(',');
        }
        self.line();
        self.filled = true;
    }

    fn key(&mut self, key: &str) {
        self.next();
        self.out.push_str(&Value::String(key.to_owned()).to_string());
        self.out.push_str(": ");
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        self.out.push_str(&value.to_string());
    }

    fn text(&mut self, key: &str, text: &str) {
        self.plain(key, Value::String(text.to_owned()));
    }

    fn element(&mut self, value: &Value) {
        self.next();
        self.value(value);
    }

    fn extra(&mut self, fields: &Map<String, Value>) {
        for (key, value) in fields {
            self.key(key);
            self.value(value);
        }
    }

    /// The depth is bounded, as the parser's is.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                self.open('{');
                self.extra(fields);
                self.close('}');
            }
            Value::Array(values) => {
                self.open('[');
                values.iter().for_each(|value| self.element(value));
                self.close(']');
            }
            plain => self.out.push_str(&plain.to_string()),
        }
    }
}
