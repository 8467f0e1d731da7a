//! Start timestamps of OpenMetrics: what `_created` lines say about the samples before them.
//!
//! A counter, histogram or summary started when the first `_created` line behind its sample says, if that line has the
//! same family and the same labels in the same order (without `le` or `quantile`); once found it holds also for later
//! samples of the same metric. So does Prometheus, which for this parses the rest of the family again at each sample;
//! here a second parser walks ahead, each line at most once, and not at all through a page without such lines.
//!
//! This stands beside the parser, so whoever does not ask pays nothing.
//!
//! # Invariants
//! - `ahead` was the answer for the place where it was looked for, and is for every later sample that ends before it.

use memchr::memmem::Finder;
use model::{MetricType, Timestamp};

use crate::entry::{Entry, Sample};
use crate::number::millis_of_seconds;
use crate::plain::{Part, visit_series};
use crate::{Format, Parser};

const CREATED: &[u8] = b"_created";

/// Finds the start timestamps of one page's samples.
///
/// ```
/// use exposition::{Entry, Format, Parser, Starts};
///
/// let page = b"# TYPE a counter\na_total 5\na_created 1.5\n# EOF\n";
/// let mut parser = Parser::new(page, Format::OpenMetrics);
/// let mut starts = Starts::new(Format::OpenMetrics).ok_or("a format without")?;
/// let mut samples = Vec::new();
/// while let Some(entry) = parser.next()? {
///     match &entry {
///         Entry::Sample(sample) if starts.is_created(sample) => {}
///         Entry::Sample(sample) => samples.push((sample.value, starts.start(sample, &parser).0)),
///         metadata => starts.metadata(metadata),
///     }
/// }
/// assert_eq!(samples, [(5.0, 1500)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Starts<'a> {
    /// Of the last `TYPE` line, if metrics of its type have a start.
    kind: Option<Kind>,
    /// Length of the last name in a metadata line: so much of a sample's name is its family.
    family_len: usize,
    ahead: Ahead<'a>,
    /// The last line that gave a sample its start.
    found: Option<Created<'a>>,
    finder: Finder<'static>,
    /// No `_created` stands between where the last search began and here.
    word_at: usize,
}

/// A type whose metrics have a start, by the label that its samples have beside those of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Histogram,
    Summary,
}

impl Kind {
    fn of(kind: MetricType) -> Option<Self> {
        match kind {
            MetricType::Counter => Some(Self::Counter),
            MetricType::Histogram => Some(Self::Histogram),
            MetricType::Summary => Some(Self::Summary),
            MetricType::Gauge | MetricType::GaugeHistogram | MetricType::Info | MetricType::StateSet | MetricType::Unknown => None,
        }
    }

    fn is_metrics(self, label: &[u8]) -> bool {
        match self {
            Self::Counter => true,
            Self::Histogram => label != b"le",
            Self::Summary => label != b"quantile",
        }
    }
}

/// What comes first: the next `_created` line, or the end of the run of samples.
#[derive(Debug)]
struct Ahead<'a> {
    /// Where the line ends that decided.
    end: usize,
    created: Option<Created<'a>>,
}

/// A `_created` line.
#[derive(Clone, Debug)]
struct Created<'a> {
    family: &'a [u8],
    /// Those of the metric.
    labels: Vec<(&'a [u8], &'a [u8])>,
    start: Timestamp,
}

impl<'a> Created<'a> {
    /// `None` for any other sample.
    fn of(sample: &Sample<'a>, kind: Kind) -> Option<Self> {
        let family = raw_name(sample).strip_suffix(CREATED)?;
        let mut labels = Vec::new();
        visit_series(sample.series, sample.format, &mut |part| {
            if let Part::Label { name, value } = part
                && kind.is_metrics(&sample.series[name.clone()])
            {
                labels.push((&sample.series[name], &sample.series[value]));
            }
        });
        Some(Self { family, labels, start: Timestamp(millis_of_seconds(sample.value)) })
    }

    fn is_of(&self, sample: &Sample<'a>, kind: Kind, family_len: usize) -> bool {
        if self.family.len() != family_len || !raw_name(sample).starts_with(self.family) {
            return false;
        }
        let mut expected = self.labels.iter();
        let mut same = true;
        visit_series(sample.series, sample.format, &mut |part| {
            if let Part::Label { name, value } = part
                && same
                && kind.is_metrics(&sample.series[name.clone()])
            {
                same = expected.next() == Some(&(&sample.series[name], &sample.series[value]));
            }
        });
        same && expected.next().is_none()
    }
}

/// The metric's name as written, without quotes.
fn raw_name<'a>(sample: &Sample<'a>) -> &'a [u8] {
    if sample.series.first() != Some(&b'{') {
        let end = memchr::memchr(b'{', sample.series).unwrap_or(sample.series.len());
        return &sample.series[..end];
    }
    let mut found: &[u8] = b"";
    visit_series(sample.series, sample.format, &mut |part| {
        if let Part::Name(name) = part {
            found = &sample.series[name];
        }
    });
    found
}

impl<'a> Starts<'a> {
    /// For a page in `format`; `None` if that has no start timestamps.
    pub fn new(format: Format) -> Option<Self> {
        let found = match format {
            Format::OpenMetrics => None,
            Format::PrometheusText => return None,
        };
        let ahead = Ahead { end: 0, created: None };
        Some(Self { kind: None, family_len: 0, ahead, found, finder: Finder::new(CREATED), word_at: 0 })
    }

    /// To be called with each entry that is no sample.
    pub fn metadata(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Type { name, kind } => {
                self.kind = Kind::of(*kind);
                self.family_len = name.len();
            }
            Entry::Help { name, .. } | Entry::Unit { name, .. } => self.family_len = name.len(),
            Entry::Sample(_) => {}
        }
    }

    /// Is it a line that tells a start, and so no sample?
    pub fn is_created(&self, sample: &Sample<'_>) -> bool {
        self.kind.is_some() && raw_name(sample).ends_with(CREATED)
    }

    /// When the metric of `sample` started; 0 if the page does not say. `parser` is the one that has just given it.
    pub fn start(&mut self, sample: &Sample<'a>, parser: &Parser<'a>) -> Timestamp {
        let Some(kind) = self.kind else {
            self.found = None;
            return Timestamp(0);
        };
        if let Some(found) = &self.found
            && found.start.0 > 0
            && found.is_of(sample, kind, self.family_len)
        {
            return found.start;
        }
        if self.ahead.end <= parser.position() {
            self.look_ahead(parser, kind);
        }
        let next = self.ahead.created.as_ref().filter(|created| created.is_of(sample, kind, self.family_len));
        self.found = next.cloned();
        next.map_or(Timestamp(0), |created| created.start)
    }

    fn look_ahead(&mut self, parser: &Parser<'a>, kind: Kind) {
        let (body, at) = (parser.body(), parser.position());
        if self.word_at <= at {
            let rest = body.get(at..).unwrap_or_default();
            self.word_at = self.finder.find(rest).map_or(usize::MAX, |offset| at + offset + 1);
        }
        self.ahead = Ahead { end: usize::MAX, created: None };
        if self.word_at == usize::MAX {
            return;
        }
        let mut walker = parser.clone();
        // A page that ends, rightly or not, ends the family too; the parser itself will tell what is wrong with it.
        while let Ok(Some(entry)) = walker.next() {
            let created = match &entry {
                Entry::Sample(sample) => Created::of(sample, kind),
                Entry::Type { .. } | Entry::Help { .. } | Entry::Unit { .. } => None,
            };
            if created.is_some() || !matches!(entry, Entry::Sample(_)) {
                self.ahead = Ahead { end: walker.position(), created };
                return;
            }
        }
    }
}
