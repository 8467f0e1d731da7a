//! The loop of one target: sleep, ask, read, commit, over and over, until the target or the server is gone.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::HttpClientSettings;
use model::{Millis, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, add};
use crate::fetch::{Buffers, FetchError, Fetched, Request, fetch};
use crate::gzip::UnpackError;
use crate::intervals::Intervals;
use crate::metadata::MetadataStore;
use crate::schedule::Schedule;
use crate::snapshot::Health;
use crate::state::{Outcome, Page, ScrapeState, Settings, Times};
use crate::workers::{Desk, Workers};

/// What all loops share.
pub(crate) struct Shared {
    pub(crate) appender: Arc<dyn storage::Appender>,
    pub(crate) clock: Arc<dyn world::Clock>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) counters: Counters,
    pub(crate) intervals: Intervals,
    pub(crate) buffers: Buffers,
    /// The server ends: no staleness markers, as it will come back.
    pub(crate) shutdown: CancellationToken,
    pub(crate) cache_seed: u64,
}

impl Shared {
    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_ms())
    }
}

/// What a loop may be told anew between two scrapes.
pub(crate) struct LoopSettings {
    pub(crate) job: Arc<str>,
    pub(crate) client: reqwest::Client,
    pub(crate) request: Request,
    /// Where credentials are to be read for each request, as files with tokens are renewed.
    pub(crate) credentials: Option<Arc<HttpClientSettings>>,
    pub(crate) step: Settings,
    /// Every scrape fails with this, without asking the target.
    pub(crate) forced_error: Option<String>,
}

/// What of a target others look at while its loop runs.
#[derive(Debug, Default)]
pub(crate) struct Live {
    status: Mutex<Status>,
    pub(crate) metadata: Arc<MetadataStore>,
}

/// How the last scrape went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) health: Health,
    pub(crate) last_error: String,
    pub(crate) last_scrape: Option<Timestamp>,
    pub(crate) last_scrape_duration: Duration,
}

impl Live {
    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) struct ScrapeLoop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Arc<Live>,
    pub(crate) settings: watch::Receiver<Arc<LoopSettings>>,
    /// The target is gone, or another loop has taken it over.
    pub(crate) stop: CancellationToken,
    pub(crate) interval: Millis,
    pub(crate) schedule: Schedule,
}

enum Goes {
    On,
    Out,
}

impl ScrapeLoop {
    pub(crate) async fn run(mut self) {
        let mut state = self.fresh_state();
        let mut last_start: Option<tokio::time::Instant> = None;
        loop {
            if let Goes::Out = self.sleep().await {
                break;
            }
            let start = tokio::time::Instant::now();
            if let Some(last) = last_start.replace(start) {
                self.shared.intervals.observe(self.interval, start - last);
            }
            let sample_time = self.schedule.begin(self.shared.now());
            let Some(scraped) = self.scrape(state, sample_time).await else { return };
            state = scraped;
        }
        if last_start.is_some() {
            self.end(state).await;
        }
    }

    fn fresh_state(&self) -> ScrapeState {
        ScrapeState::new(self.shared.cache_seed, Arc::clone(&self.live.metadata))
    }

    /// Until just before the next scrape.
    async fn sleep(&mut self) -> Goes {
        let wait = self.schedule.wait(self.shared.now());
        // All three may be dropped at any time.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Goes::Out,
            () = self.shared.shutdown.cancelled() => Goes::Out,
            () = tokio::time::sleep(wait) => Goes::On,
        }
    }

    /// One scrape; `None` when the server ends meanwhile.
    async fn scrape(&mut self, mut state: ScrapeState, sample_time: Timestamp) -> Option<ScrapeState> {
        let start = Instant::now();
        let settings = Arc::clone(&self.settings.borrow_and_update());
        let fetched = match &settings.forced_error {
            Some(error) => Err(Refusal { text: error.clone(), body_size: 0 }),
            None => tokio::select! {
                () = self.shared.shutdown.cancelled() => return None,
                fetched = ask(&settings, &self.shared.buffers) => fetched,
            },
        };
        let (shared, step_settings) = (Arc::clone(&self.shared), Arc::clone(&settings));
        let done = self.shared.workers.run(move |desk| {
            let done = step(&mut state, &shared, &step_settings, fetched, sample_time, start, desk);
            (state, done)
        });
        let (state, (outcome, error)) = match done.await {
            Ok(done) => done,
            Err(panic) => {
                tracing::error!(scrape_pool = %settings.job, target = %settings.request.url, err = %panic, "Scrape panicked");
                (self.fresh_state(), (Outcome::default(), Some("scrape panicked".to_owned())))
            }
        };
        self.account(&settings, &outcome, error.as_deref());
        *self.live.status.lock().unwrap_or_else(PoisonError::into_inner) = Status {
            health: if error.is_none() { Health::Up } else { Health::Down },
            last_error: error.unwrap_or_default(),
            last_scrape: Some(sample_time),
            last_scrape_duration: start.elapsed(),
        };
        Some(state)
    }

    fn account(&self, settings: &LoopSettings, outcome: &Outcome, error: Option<&str>) {
        let counters = &self.shared.counters;
        let (scrape_pool, target) = (&settings.job, &settings.request.url);
        add(&counters.scrapes, 1);
        add(&counters.sample_duplicate, outcome.duplicate);
        add(&counters.sample_out_of_order, outcome.out_of_order);
        add(&counters.sample_out_of_bounds, outcome.out_of_bounds);
        add(&counters.cache_flush_forced, u64::from(outcome.cache_cut));
        if let Some(page_error) = &outcome.error {
            use crate::state::PageError;
            let counter: Option<&AtomicU64> = match page_error {
                PageError::SampleLimit => Some(&counters.exceeded_sample_limit),
                PageError::Series(error) if error.is_limit() => Some(&counters.exceeded_label_limits),
                PageError::Series(_) | PageError::ContentType(_) | PageError::Parse(_) | PageError::Labels(_) => None,
            };
            if let Some(counter) = counter {
                add(counter, 1);
            }
        }
        if let Some(err) = error {
            tracing::debug!(%scrape_pool, %target, err, "Scrape failed");
        }
        if let Some(err) = &outcome.commit_error {
            add(&counters.commits_failed, 1);
            tracing::error!(%scrape_pool, %target, %err, "Scrape commit failed");
        }
        for (num_dropped, message) in [
            (outcome.out_of_order, "Error on ingesting out-of-order samples"),
            (outcome.duplicate, "Error on ingesting samples with different value but same timestamp"),
            (outcome.out_of_bounds, "Error on ingesting samples that are too old or are too far into the future"),
        ] {
            if num_dropped > 0 {
                tracing::warn!(%scrape_pool, %target, num_dropped, message);
            }
        }
    }

    /// The target is gone. Its series end at the time when the next scrape would have been, but this is written only after
    /// one more interval: if it has come back by then, its series have newer samples, and the markers are refused.
    async fn end(mut self, mut state: ScrapeState) {
        let to_next = self.schedule.wait(self.shared.now());
        if let Goes::Out = self.pause(to_next).await {
            return;
        }
        let time = self.schedule.begin(self.shared.now());
        let interval = Duration::from_millis(self.interval.0.unsigned_abs());
        if let Goes::Out = self.pause(interval + interval / 10).await {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let done = self.shared.workers.run(move |desk| state.end(time, &*shared.appender, &mut desk.work)).await;
        let target = &self.settings.borrow().request.url;
        match done {
            Ok(Outcome { commit_error: Some(err), .. }) => tracing::warn!(%target, %err, "Stale commit failed"),
            Ok(_) => {}
            Err(panic) => tracing::error!(%target, err = %panic, "Stale append panicked"),
        }
    }

    async fn pause(&self, wait: Duration) -> Goes {
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Goes::Out,
            () = tokio::time::sleep(wait) => Goes::On,
        }
    }
}

/// Why there is no page.
struct Refusal {
    text: String,
    body_size: i64,
}

/// `scrape_body_size_bytes` of a body above the limit.
const BODY_TOO_LARGE: i64 = -1;

impl From<FetchError> for Refusal {
    fn from(error: FetchError) -> Self {
        let body_size = if matches!(error, FetchError::Limit) { BODY_TOO_LARGE } else { 0 };
        Self { text: error.to_string(), body_size }
    }
}

impl From<UnpackError> for Refusal {
    fn from(error: UnpackError) -> Self {
        let body_size = if error == UnpackError::Limit { BODY_TOO_LARGE } else { 0 };
        Self { text: error.to_string(), body_size }
    }
}

async fn ask(settings: &LoopSettings, buffers: &Buffers) -> Result<Fetched, Refusal> {
    let Some(credentials) = &settings.credentials else {
        return Ok(fetch(&settings.client, &settings.request, buffers).await?);
    };
    let credentials = Arc::clone(credentials);
    let headers = tokio::task::spawn_blocking(move || http_client::request_headers(&credentials).map_err(|error| error.to_string()));
    let headers = headers.await.unwrap_or_else(|panic| Err(panic.to_string()));
    let url = &settings.request.url;
    let headers = headers.map_err(|message| FetchError::Request { url: url.clone(), message })?;
    let mut request = settings.request.clone();
    request.headers.extend(headers);
    Ok(fetch(&settings.client, &request, buffers).await?)
}

/// On a worker: unpack, read, commit. Gives what became of it and the target's last error.
fn step(
    state: &mut ScrapeState,
    shared: &Shared,
    settings: &LoopSettings,
    fetched: Result<Fetched, Refusal>,
    sample_time: Timestamp,
    start: Instant,
    desk: &mut Desk,
) -> (Outcome, Option<String>) {
    let fetched = fetched.and_then(|fetched| {
        let Fetched { body, content_type, packed } = fetched;
        let unpacked = if packed { Some(desk.unpacker.unpack(&body, settings.request.body_bytes_max)?) } else { None };
        Ok((unpacked, body, content_type))
    });
    let page = match &fetched {
        Ok((unpacked, body, content_type)) => Page::Body { bytes: unpacked.unwrap_or(body), content_type: content_type.as_deref() },
        Err(refusal) => Page::Failed { body_size: refusal.body_size },
    };
    let times = Times { sample: sample_time, now: shared.now() };
    let outcome = state.scrape(&settings.step, page, times, || start.elapsed(), &*shared.appender, &mut desk.work);
    let error = match fetched {
        Ok((_, body, _)) => {
            shared.buffers.give(body);
            outcome.error.as_ref().map(ToString::to_string)
        }
        Err(refusal) => {
            add(&shared.counters.exceeded_body_size_limit, u64::from(refusal.body_size == BODY_TOO_LARGE));
            Some(refusal.text)
        }
    };
    (outcome, error)
}
