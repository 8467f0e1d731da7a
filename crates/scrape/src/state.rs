//! One scrape of one target, without network or clock: a page in, one batch to the store.
//!
//! ```text
//! for each line:  known?  -> row of its handle           (no labels, no allocation)
//!                 new?    -> labels, relabelling, limits -> row of its labels
//! series of the scrape before that did not come -> staleness markers
//! up, scrape_*                                  -> rows of the report
//! commit; learn handles of new series; append again, by labels, what the store had forgotten
//! ```
//!
//! A page that fails on the way leaves its staleness markers, only of series not seen before the error, and its report.
//!
//! `scrape_series_added` stands in the batch itself, before the store judges: the commit takes off what it refuses.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use exposition::{ContentTypeError, Entry, Format, LabelPairs, LabelsError, Normalise, ParseError, Parser, Sample, Starts};
use model::exemplar::EXEMPLAR_CHARS_MAX;
use model::value::{STALE_NAN, is_stale};
use model::{Exemplar, Labels, Millis, Timestamp};
use storage::{Appender, Batch, CommitError, Committed, Row, RowOutcome, RowSeries, RowValue, SeriesHandle};

use crate::cache::{self, At, Cache, Flush, Found, Key};
use crate::family::Family;
use crate::labels::{self, Rules, SeriesError};
use crate::metadata::MetadataStore;

/// Samples further ahead of the clock are dropped.
const AHEAD_MAX: Millis = Millis(600_000);

/// The series that a scrape writes itself; the last three only with `extra_scrape_metrics`.
const REPORT: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
const REPORT_PLAIN: usize = 5;

/// What a target's scrapes are subject to.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Labels of the target.
    pub target: Labels,
    /// Rules on labels.
    pub rules: Rules,
    /// Samples behind relabelling; 0 = no limit.
    pub sample_limit: u64,
    /// Timestamps of the page count.
    pub honor_timestamps: bool,
    /// Series with timestamps of their own get staleness markers too.
    pub track_timestamps_staleness: bool,
    /// The format of a page that does not say one.
    pub fallback: Option<Format>,
    /// The report has three more series.
    pub extra_metrics: bool,
    /// `_created` lines of OpenMetrics are start timestamps, and no series.
    pub start_timestamps: bool,
    /// What a family's `TYPE` and `UNIT` lines say becomes labels of its series.
    pub type_and_unit_labels: bool,
    /// When a scrape is given up: only reported.
    pub timeout: Millis,
}

/// What a request gave.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// A page to be read.
    Body {
        /// Its bytes, unpacked.
        bytes: &'a [u8],
        /// Its `Content-Type`.
        content_type: Option<&'a str>,
    },
    /// Nothing, as the request failed.
    Failed {
        /// `scrape_body_size_bytes`: -1 for a body above the limit, else 0.
        body_size: i64,
    },
}

/// When a scrape is.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The time of samples that do not have their own.
    pub sample: Timestamp,
    /// What the clock says.
    pub now: Timestamp,
}

/// Why a page is refused. The texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PageError {
    /// The format is not known.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// A line cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Labels that cannot be.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// Labels that are not allowed.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// More samples than allowed.
    #[error("sample limit exceeded")]
    SampleLimit,
}

/// What a scrape amounted to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why the page was refused.
    pub error: Option<PageError>,
    /// Why the store did not take the batch: then nothing of this scrape is stored.
    pub commit_error: Option<CommitError>,
    /// `scrape_samples_scraped`
    pub scraped: u64,
    /// `scrape_samples_post_metric_relabeling`
    pub post_relabelling: u64,
    /// `scrape_series_added`
    pub series_added: u64,
    /// Samples dropped as repeated, by us or by the store.
    pub duplicate: u64,
    /// Samples that the store refused as too old for their series.
    pub out_of_order: u64,
    /// Samples too far ahead, or older than the store takes.
    pub out_of_bounds: u64,
    /// The cache was cut, as failing scrapes had filled it.
    pub cache_cut: bool,
}

impl Outcome {
    fn count(&mut self, refused: RowOutcome) {
        let counter = match refused {
            RowOutcome::Duplicate => &mut self.duplicate,
            RowOutcome::OutOfOrder | RowOutcome::TooOld => &mut self.out_of_order,
            RowOutcome::OutOfBounds => &mut self.out_of_bounds,
            // What else there is does not happen to floats, or is not counted.
            _ => return,
        };
        *counter += 1;
    }
}

/// Buffers of a scrape that any target's next one can use.
#[derive(Debug, Default)]
pub struct Workspace {
    batch: Batch,
    committed: Committed,
    /// For each row where it comes from.
    origins: Vec<Origin>,
    /// For each of the batch's label sets whose handle the store will tell.
    owners: Vec<Owner>,
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The n-th sample of the page.
    Line { at: At, ordinal: u32 },
    /// A staleness marker.
    Marker,
    /// A series of the report.
    Report(u8),
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    Series(At),
    Report(u8),
    /// Of a series that is not there any more.
    Nobody,
}

impl Workspace {
    fn clear(&mut self) {
        self.batch.clear();
        self.origins.clear();
        self.owners.clear();
    }

    fn push(&mut self, origin: Origin, series: RowSeries, timestamp: Timestamp, value: f64) {
        self.push_row(origin, Row { series, start: Timestamp(0), timestamp, value: RowValue::Float(value) });
    }

    fn push_row(&mut self, origin: Origin, row: Row) {
        self.batch.rows.push(row);
        self.origins.push(origin);
    }

    fn push_labels(&mut self, owner: Owner, labels: Labels) -> RowSeries {
        let index = u32::try_from(self.batch.labels.len()).expect("a page of 2^32 lines would not fit into memory");
        self.batch.labels.push(labels);
        self.owners.push(owner);
        RowSeries::Labels(index)
    }
}

/// What is remembered of a target from scrape to scrape.
#[derive(Debug)]
pub struct ScrapeState {
    seed: u64,
    cache: Cache,
    report: [Option<SeriesHandle>; REPORT.len()],
    unnamed: Vec<Unnamed>,
    metadata: Arc<MetadataStore>,
}

/// A series that the last scrape stored without learning its handle, as a store does not tell any while it replays its log.
#[derive(Debug)]
struct Unnamed {
    /// Of its line; none if it belongs to the report.
    key: Option<Key>,
    labels: Labels,
}

/// What the report says.
struct Report {
    values: [f64; REPORT.len()],
    len: usize,
}

impl ScrapeState {
    /// Nothing is remembered yet. `seed` keys the cache.
    pub fn new(seed: u64, metadata: Arc<MetadataStore>) -> Self {
        Self { seed, cache: Cache::default(), report: [None; REPORT.len()], unnamed: Vec::new(), metadata }
    }

    /// How many lines are remembered.
    pub fn cached_len(&self) -> usize {
        self.cache.len()
    }

    /// Scrapes: one batch with samples, staleness markers and report. `elapsed` is asked for the scrape's duration when the
    /// page has been read.
    pub fn scrape(
        &mut self,
        settings: &Settings,
        page: Page<'_>,
        times: Times,
        elapsed: impl FnOnce() -> Duration,
        appender: &dyn Appender,
        work: &mut Workspace,
    ) -> Outcome {
        work.clear();
        let mut outcome = Outcome::default();
        let (bytes, content_type, body_size) = match page {
            Page::Body { bytes, content_type } => (bytes, content_type, bytes.len() as i64),
            Page::Failed { body_size } => (&[][..], None, body_size),
        };
        // An empty body is good whatever its type, and says nothing about what to forget.
        let mut flush = Flush::OnlyExcess;
        if !bytes.is_empty() {
            match self.read(bytes, content_type, settings, times, work, &mut outcome) {
                Ok(()) => flush = Flush::Unseen,
                Err(error) => {
                    work.clear();
                    outcome.error = Some(error);
                }
            }
        }
        self.push_markers(times.sample, work);
        let good = outcome.error.is_none() && matches!(page, Page::Body { .. });
        let report = Report {
            values: [
                f64::from(u8::from(good)),
                elapsed().as_secs_f64(),
                outcome.scraped as f64,
                outcome.post_relabelling as f64,
                outcome.series_added as f64,
                settings.timeout.0 as f64 / 1000.0,
                settings.sample_limit as f64,
                body_size as f64,
            ],
            len: if settings.extra_metrics { REPORT.len() } else { REPORT_PLAIN },
        };
        self.push_report(&report, settings, times.sample, work);
        self.commit(bytes, content_type, settings, appender, work, &mut outcome);
        outcome.cache_cut = self.cache.finish(flush);
        self.metadata.finish(flush == Flush::Unseen);
        outcome
    }

    /// The target is gone: ends all its series, the report's too. What has newer samples, because the target came back,
    /// is refused by the store and stays.
    pub fn end(&mut self, time: Timestamp, appender: &dyn Appender, work: &mut Workspace) -> Outcome {
        work.clear();
        let mut outcome = Outcome::default();
        self.push_markers(time, work);
        for (nth, handle) in self.report.iter().enumerate() {
            if let Some(handle) = handle {
                work.push(Origin::Report(nth as u8), RowSeries::Known(*handle), time, STALE_NAN);
            }
        }
        for unnamed in self.unnamed.iter().filter(|unnamed| unnamed.key.is_none()) {
            let series = work.push_labels(Owner::Nobody, unnamed.labels.clone());
            work.push(Origin::Marker, series, time, STALE_NAN);
        }
        if let Err(error) = appender.commit(&work.batch, &mut work.committed) {
            outcome.commit_error = Some(error);
        }
        self.cache.finish(Flush::OnlyExcess);
        outcome
    }

    fn read(
        &mut self,
        body: &[u8],
        content_type: Option<&str>,
        settings: &Settings,
        times: Times,
        work: &mut Workspace,
        outcome: &mut Outcome,
    ) -> Result<(), PageError> {
        let (format, _) = exposition::negotiate(content_type, settings.fallback)?;
        let latest = times.now + AHEAD_MAX;
        let limit = if settings.sample_limit == 0 { u64::MAX } else { settings.sample_limit };
        let mut limited = 0;
        let mut pairs = LabelPairs::new();
        let mut parser = Parser::new(body, format);
        let mut starts = starts_of(format, settings);
        let mut family = settings.type_and_unit_labels.then(Family::default);
        let mut seed = self.seed;
        loop {
            let mut asked: Option<(&[u8], Normalise, Key)> = None;
            let cache = &self.cache;
            let entry = parser.next_known(|series, normalise| {
                let key = cache::key(seed, kind(format, normalise), series);
                asked = Some((series, normalise, key));
                cache.expects(key)
            })?;
            let sample = match entry {
                None => break,
                Some(Entry::Sample(sample)) => sample,
                Some(metadata) => {
                    self.remember(&metadata);
                    if let Some(starts) = &mut starts {
                        starts.metadata(&metadata);
                    }
                    if let Some(family) = &mut family {
                        family.metadata(&metadata);
                        seed = self.seed ^ family.tag();
                    }
                    continue;
                }
            };
            if starts.as_ref().is_some_and(|starts| starts.is_created(&sample)) {
                continue;
            }
            let ordinal = outcome.scraped as u32;
            outcome.scraped += 1;
            let own_time = sample.timestamp.filter(|_| settings.honor_timestamps);
            let key = match asked {
                Some((series, normalise, key)) if std::ptr::eq(series, sample.series) && normalise == sample.normalise => key,
                _ => cache::key(seed, kind(format, sample.normalise), sample.series),
            };
            let (at, mut handle) = match self.cache.find(key) {
                Found::Dropped => continue,
                Found::Series { seen: true, .. } if own_time.is_none() => {
                    outcome.duplicate += 1;
                    outcome.post_relabelling += 1;
                    continue;
                }
                Found::Series { at, handle, .. } => (Some(at), handle),
                Found::New => (None, None),
            };
            let mut labels = None;
            if handle.is_none() {
                labels = stored_labels(&sample, family.as_ref(), &mut pairs, settings)?;
                if labels.is_none() {
                    if at.is_none() {
                        self.cache.add_dropped(key);
                    }
                    continue;
                }
            }
            outcome.post_relabelling += 1;
            // The marker of a known series is always let through, so that the series ends.
            if at.is_none() || !is_stale(sample.value) {
                limited += 1;
                if limited > limit {
                    continue;
                }
            }
            let time = own_time.unwrap_or(times.sample);
            if time > latest {
                outcome.out_of_bounds += 1;
                continue;
            }
            let at = at.unwrap_or_else(|| {
                outcome.series_added += 1;
                self.cache.add(key)
            });
            if own_time.is_none() || settings.track_timestamps_staleness {
                self.cache.track(at);
            }
            let series = match (handle.take(), labels) {
                (Some(handle), _) => RowSeries::Known(handle),
                (None, Some(labels)) => work.push_labels(Owner::Series(at), labels),
                (None, None) => unreachable!("labels are made where the handle is missing"),
            };
            let start = starts.as_mut().map_or(Timestamp(0), |starts| starts.start(&sample, &parser));
            let row = Row { series, start, timestamp: time, value: RowValue::Float(sample.value) };
            work.push_row(Origin::Line { at, ordinal }, row);
            if let Some(exemplar) = &sample.exemplar {
                exemplar.labels(&mut pairs);
                let chars: usize = pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
                if chars > EXEMPLAR_CHARS_MAX {
                    continue;
                }
                let labels = Labels::from_pairs(pairs.iter().map(|(name, value)| (&**name, &**value)));
                let exemplar = Exemplar {
                    labels,
                    value: exemplar.value,
                    timestamp: exemplar.timestamp.unwrap_or(time),
                    has_timestamp: exemplar.timestamp.is_some(),
                };
                work.batch.exemplars.push((series, exemplar));
            }
        }
        if limited > limit { Err(PageError::SampleLimit) } else { Ok(()) }
    }

    fn remember(&self, metadata: &Entry<'_>) {
        match metadata {
            Entry::Type { name, kind } => self.metadata.set_type(name, *kind),
            Entry::Help { name, text } => self.metadata.set_help(name, text),
            Entry::Unit { name, unit } => self.metadata.set_unit(name, unit),
            Entry::Sample(_) => {}
        }
    }

    fn push_markers(&self, time: Timestamp, work: &mut Workspace) {
        for handle in self.cache.stale() {
            work.push(Origin::Marker, RowSeries::Known(handle), time, STALE_NAN);
        }
        if self.unnamed.is_empty() {
            return;
        }
        let tracked: HashSet<Key> = self.cache.tracked_keys().collect();
        for Unnamed { key, labels } in &self.unnamed {
            if key.is_some_and(|key| !tracked.contains(&key)) {
                let series = work.push_labels(Owner::Nobody, labels.clone());
                work.push(Origin::Marker, series, time, STALE_NAN);
            }
        }
    }

    fn push_report(&self, report: &Report, settings: &Settings, time: Timestamp, work: &mut Workspace) {
        for (nth, (name, value)) in REPORT.iter().zip(report.values).take(report.len).enumerate() {
            let series = match self.report[nth] {
                Some(handle) => RowSeries::Known(handle),
                None => work.push_labels(Owner::Report(nth as u8), labels::report_labels(name, &settings.target)),
            };
            if *name == "scrape_series_added" {
                work.batch.added_row = Some(work.batch.rows.len() as u32);
            }
            work.push(Origin::Report(nth as u8), series, time, value);
        }
    }

    fn commit(
        &mut self,
        body: &[u8],
        content_type: Option<&str>,
        settings: &Settings,
        appender: &dyn Appender,
        work: &mut Workspace,
        outcome: &mut Outcome,
    ) {
        if let Err(error) = appender.commit(&work.batch, &mut work.committed) {
            outcome.commit_error = Some(error);
            return;
        }
        self.learn_handles(work);
        self.note_unnamed(work);
        let gone = self.judge(work, outcome);
        if gone.is_empty() {
            return;
        }
        // A second batch: only what the store had collected meanwhile comes later than the rest.
        work.clear();
        self.push_gone(&gone, body, content_type, settings, work);
        match appender.commit(&work.batch, &mut work.committed) {
            Err(error) => outcome.commit_error = Some(error),
            Ok(()) => {
                self.learn_handles(work);
                self.judge(work, outcome);
            }
        }
    }

    fn learn_handles(&mut self, work: &Workspace) {
        for (owner, handle) in work.owners.iter().zip(&work.committed.handles) {
            match owner {
                Owner::Series(at) => self.cache.set_handle(*at, *handle),
                Owner::Report(nth) => self.report[usize::from(*nth)] = *handle,
                Owner::Nobody => {}
            }
        }
    }

    /// Keeps the labels of what was stored without a handle, for markers that may be due the next time.
    fn note_unnamed(&mut self, work: &Workspace) {
        self.unnamed.clear();
        // Where anything is refused the store is at work, and tells the handles of what it takes.
        if !work.committed.refused.is_empty() {
            return;
        }
        let batch = work.owners.iter().zip(&work.committed.handles).zip(&work.batch.labels);
        for ((owner, _), labels) in batch.filter(|((_, handle), _)| handle.is_none()) {
            let key = match owner {
                Owner::Series(at) => self.cache.tracked_key(*at).map(Some),
                Owner::Report(_) => Some(None),
                Owner::Nobody => None,
            };
            self.unnamed.extend(key.map(|key| Unnamed { key, labels: labels.clone() }));
        }
    }

    /// Counts what was refused; gives rows whose series the store does not know any more.
    fn judge(&mut self, work: &Workspace, outcome: &mut Outcome) -> Vec<(Origin, Row)> {
        let mut gone = Vec::new();
        for (index, why) in &work.committed.refused {
            let (origin, row) = (work.origins[*index as usize], work.batch.rows[*index as usize]);
            match (origin, why) {
                (_, RowOutcome::Stored) | (Origin::Marker, _) => {}
                (Origin::Line { at, .. }, RowOutcome::Gone) => {
                    self.cache.set_handle(at, None);
                    gone.push((origin, row));
                }
                (Origin::Report(nth), RowOutcome::Gone) => {
                    self.report[usize::from(nth)] = None;
                    gone.push((origin, row));
                }
                (Origin::Report(_), _) => {}
                (Origin::Line { at, .. }, why) => {
                    self.cache.untrack(at);
                    outcome.count(*why);
                }
            }
        }
        gone
    }

    /// Reads the page again for the labels of rows in `gone`, which are in the page's order.
    fn push_gone(&mut self, gone: &[(Origin, Row)], body: &[u8], content_type: Option<&str>, settings: &Settings, work: &mut Workspace) {
        let mut lines = gone.iter().filter_map(|(origin, row)| match origin {
            Origin::Line { at, ordinal } => Some((*at, *ordinal, row)),
            Origin::Marker | Origin::Report(_) => None,
        });
        let mut wanted = lines.next();
        let mut ordinal = 0;
        let mut pairs = LabelPairs::new();
        if let Ok((format, _)) = exposition::negotiate(content_type, settings.fallback) {
            let mut parser = Parser::new(body, format);
            let mut starts = starts_of(format, settings);
            let mut family = settings.type_and_unit_labels.then(Family::default);
            while let (Some((at, line, row)), Ok(Some(entry))) = (wanted, parser.next()) {
                let Entry::Sample(sample) = entry else {
                    if let Some(starts) = &mut starts {
                        starts.metadata(&entry);
                    }
                    if let Some(family) = &mut family {
                        family.metadata(&entry);
                    }
                    continue;
                };
                // They were not counted before either.
                if starts.as_ref().is_some_and(|starts| starts.is_created(&sample)) {
                    continue;
                }
                if line == ordinal {
                    if let Ok(Some(labels)) = stored_labels(&sample, family.as_ref(), &mut pairs, settings) {
                        let series = work.push_labels(Owner::Series(at), labels);
                        work.push_row(Origin::Line { at, ordinal }, Row { series, ..*row });
                    }
                    wanted = lines.next();
                }
                ordinal += 1;
            }
        }
        for (origin, row) in gone {
            if let (Origin::Report(nth), RowValue::Float(value)) = (*origin, row.value) {
                let labels = labels::report_labels(REPORT[usize::from(nth)], &settings.target);
                let series = work.push_labels(Owner::Report(nth), labels);
                work.push(*origin, series, row.timestamp, value);
            }
        }
    }
}

fn stored_labels<'a>(
    sample: &Sample<'a>,
    family: Option<&Family>,
    pairs: &mut LabelPairs<'a>,
    settings: &Settings,
) -> Result<Option<Labels>, PageError> {
    match family {
        Some(family) => family.labels(sample, pairs)?,
        None => sample.labels(pairs)?,
    }
    Ok(labels::series_labels(pairs, &settings.target, &settings.rules)?)
}

fn starts_of<'a>(format: Format, settings: &Settings) -> Option<Starts<'a>> {
    if settings.start_timestamps { Starts::new(format) } else { None }
}

/// What beside a line's bytes decides about its labels.
fn kind(format: Format, normalise: Normalise) -> u8 {
    let format = match format {
        Format::PrometheusText => 0,
        Format::OpenMetrics => 4,
    };
    format
        + match normalise {
            Normalise::None => 0,
            Normalise::Le => 1,
            Normalise::Quantile => 2,
        }
}
