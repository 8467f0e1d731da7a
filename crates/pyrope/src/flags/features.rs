//! Features: what `--enable-feature` may name, and what the log says of each.

use Effect::{Fades, Idle, NotYet, Partly, Works};

/// What giving a feature's name does, with what Prometheus says of it.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Turns something on.
    Works(&'static str),
    /// The same, but there is another way that will stay.
    Fades(&'static str),
    /// Turns on less than it does in Prometheus.
    Partly(&'static str),
    /// What it was for is always on by now, or asked for elsewhere.
    Idle(&'static str),
    /// What it is for does not exist here.
    NotYet,
}

const ALWAYS_ON: &str = "This option for --enable-feature is now permanently enabled and therefore a no-op.";

/// Those of Prometheus 3.14.
const FEATURES: &[(&str, Effect)] = &[
    ("exemplar-storage", Works("Experimental in-memory exemplar storage enabled")),
    ("memory-snapshot-on-shutdown", Works("The head is saved at shutdown, with this option or without.")),
    ("extra-scrape-metrics", Partly("has no effect: set extra_scrape_metrics in the config instead")),
    ("metadata-wal-records", Works("Experimental metadata records in WAL enabled")),
    ("promql-per-step-stats", Works("Experimental per-step statistics reporting")),
    ("auto-reload-config", NotYet),
    ("concurrent-rule-eval", NotYet),
    ("promql-experimental-functions", Works("Experimental PromQL functions enabled.")),
    ("promql-duration-expr", Idle(ALWAYS_ON)),
    (
        "native-histograms",
        Idle(
            "This option for --enable-feature is a no-op. To scrape native histograms, set the scrape_native_histograms scrape config setting to true.",
        ),
    ),
    ("ooo-native-histograms", Idle(ALWAYS_ON)),
    ("created-timestamp-zero-ingestion", NotYet),
    (
        "xor2-encoding",
        Fades(
            "This option for --enable-feature is being phased out. It currently changes the default for the storage.tsdb.chunk_encoding.floats config setting to xor2, but will become a no-op in a future major version. Stop using this option and set storage.tsdb.chunk_encoding.floats in the config instead.",
        ),
    ),
    ("histograms-st-encoding", Works("Experimental ST-capable histogram chunk encoding enabled.")),
    ("st-synthesis", NotYet),
    ("st-storage", Works("Experimental start timestamp storage enabled.")),
    ("use-start-timestamps", Works("Experimental usage of start timestamps in PromQL engine is enabled.")),
    ("delayed-compaction", NotYet),
    ("promql-delayed-name-removal", Works("Experimental PromQL delayed name removal enabled.")),
    ("promql-extended-range-selectors", Works("Experimental PromQL extended range selectors enabled.")),
    ("promql-binop-fill-modifiers", Works("Experimental PromQL binary operator fill modifiers enabled.")),
    ("old-ui", NotYet),
    ("otlp-deltatocumulative", NotYet),
    ("otlp-native-delta-ingestion", NotYet),
    ("type-and-unit-labels", Works("Experimental type and unit labels enabled")),
    ("use-uncached-io", NotYet),
    ("fast-startup", Works("Starts are as fast without this option.")),
    ("search-api", NotYet),
];

/// What is to be logged of a feature that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// A warning, not an information.
    pub is_warning: bool,
    /// What to say.
    pub text: String,
}

/// What is said of a feature; unknown ones do nothing.
pub(super) fn notice(name: &str) -> Notice {
    let warning = |text: String| Notice { is_warning: true, text };
    match FEATURES.iter().find(|(known, _)| *known == name).map(|(_, effect)| *effect) {
        Some(Works(text)) => Notice { is_warning: false, text: text.to_owned() },
        Some(Fades(text) | Idle(text)) => warning(text.to_owned()),
        Some(Partly(text)) => warning(format!("--enable-feature={name}: {text}")),
        Some(NotYet) => warning(format!("--enable-feature={name}: has no effect yet")),
        None => warning("Unknown option for --enable-feature".to_owned()),
    }
}
