//! The head's index: memory by structure, cost of a new series, of matchers, of sorting and of removal.
//!
//! Shape: targets of 2,000 series in the manner of the race's load generator: 40 pods each, whose name stands in some 40
//! series and whose uid in some ten, 29 metric names in runs, 40 devices a target, and labels of few values; some eight
//! labels a series. Times are CPU times of the thread, so that others on the machine do not count.
//!
//! `cargo bench -p tsdb --bench index` (`-- --series 100000 1000000` for other sizes)
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints")]

use model::{Labels, MatchOp, Matcher};
use std::time::Duration;
use storage::{Cancel, SeriesRef};
use tsdb::head::index::Index;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PER_TARGET: u32 = 2000;
const PODS: u32 = 40;
const JOBS: [&str; 5] = ["node", "kubelet", "api", "edge", "batch"];
const NAMESPACES: [&str; 4] = ["payments-production", "checkout-production", "observability", "kube-system"];
const SERVICES: [&str; 6] =
    ["payments-gateway", "order-processor", "search-frontend", "session-store", "user-profile-api", "image-resizer"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let given = args.iter().position(|arg| arg == "--series").map(|at| &args[at + 1..]).unwrap_or_default();
    let mut sizes: Vec<u32> = given.iter().map_while(|n| n.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000, 2_000_000];
    }
    sizes.into_iter().for_each(run);
}

fn run(series: u32) {
    let mut index = Index::default();
    let rss = rss_kib("VmRSS:");
    let (mut spent, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for target in 0..series / PER_TARGET {
        let labels: Vec<Labels> = (0..PER_TARGET).map(|n| labels(target, n)).collect();
        let started = Clock::now();
        for labels in &labels {
            assert!(index.find(labels).is_none());
            index.insert(labels, SeriesRef(1));
        }
        let taken = started.elapsed();
        spent += taken;
        slowest = slowest.max(taken);
    }
    let count = f64::from(series);
    println!("{series} series: {:.2} µs to look for and add one; {PER_TARGET} at most {slowest:?}", spent.as_secs_f64() * 1e6 / count);
    let bytes = index.bytes();
    let per = |bytes: usize| bytes as f64 / count;
    println!("  bytes a series: {:.1}; rss {:.1} ({bytes:?})", per(bytes.total()), (rss_kib("VmRSS:") - rss) as f64 * 1024.0 / count);
    println!("    labels {:.1}, rows {:.1}, table {:.1}", per(bytes.labels), per(bytes.rows), per(bytes.table));
    println!("    pairs {:.1}, postings {:.1}, symbols {:.1}", per(bytes.pairs), per(bytes.postings), per(bytes.symbols));
    let found =
        timed("  find all", count, || (0..series).filter(|n| index.find(&labels(n / PER_TARGET, n % PER_TARGET)).is_some()).count());
    assert_eq!(found, series as usize);
    matchers(&index);

    let started = Clock::now();
    let mut ranker = index.begin_ranks().unwrap();
    let mut longest = started.elapsed();
    loop {
        let step = Clock::now();
        let more = index.copy_keys(&mut ranker, 16_384);
        longest = longest.max(step.elapsed());
        if !more {
            break;
        }
    }
    let ordered = ranker.sort();
    let step = Clock::now();
    index.set_ranks(ordered);
    longest = longest.max(step.elapsed());
    println!("  rank all: {:?}, at most {longest:?} under the lock; ranks {:.1} bytes", started.elapsed(), per(index.bytes().ranks));
    let mut all: Vec<u32> = index.slots().iter().collect();
    timed("  sort all ranked", count, || index.sort_by_labels(&mut all));
    let started = Clock::now();
    println!("  cardinality of {} pairs: {:?}", index.cardinality(10).label_pair_count, started.elapsed());
    let started = Clock::now();
    println!("  {} symbols in order: {:?}", index.numbered_symbols(None).count(), started.elapsed());

    let gone: Vec<u32> = index.slots().iter().filter(|slot| slot / PER_TARGET % 2 == 1).collect();
    let mut longest = Duration::ZERO;
    let started = Clock::now();
    for slots in gone.chunks(1000) {
        let step = Clock::now();
        let limbo = index.remove(slots);
        longest = longest.max(step.elapsed());
        let step = Clock::now();
        index.reclaim(limbo);
        longest = longest.max(step.elapsed());
    }
    while index.compact() {}
    let each = started.elapsed().as_secs_f64() * 1e6 / gone.len() as f64;
    println!("  remove half: {each:.2} µs a series, at most {longest:?} under the lock; left {:?}", index.bytes());
}

fn matchers(index: &Index) {
    let regex = |name: &str, value: &str| Matcher::new(MatchOp::Regex, name, value).unwrap();
    let instance = Matcher::equal("instance", "10.0.0.7:9100");
    let name = Matcher::equal("__name__", "family_11_total");
    let label = index.labels(index.slot_end() / 2 + 1002);
    let exact: Vec<Matcher> = label.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
    let sets = [
        ("one series by all labels", exact),
        ("name and instance", vec![name.clone(), instance.clone()]),
        ("name and pod", vec![name.clone(), Matcher::equal("pod", label.get("pod").unwrap_or("none"))]),
        ("name", vec![name.clone()]),
        ("job", vec![Matcher::equal("job", "node")]),
        ("job, instance=~ prefix", vec![Matcher::equal("job", "node"), regex("instance", "10\\.0\\.1.*")]),
        ("name, instance=~ engine", vec![name.clone(), regex("instance", ".*[13]:9.*")]),
        ("name, pod=~ engine", vec![name.clone(), regex("pod", ".*-[a-c].*7")]),
        ("pod=~ engine", vec![regex("pod", ".*-[a-c].*7")]),
        ("name, pod!=\"\"", vec![name.clone(), Matcher::new(MatchOp::NotEqual, "pod", "").unwrap()]),
        ("name, device=\"\"", vec![name, Matcher::equal("device", "")]),
        ("__name__=~.+", vec![regex("__name__", ".+")]),
    ];
    for (what, matchers) in sets {
        let found = index.matching(&matchers, &Cancel::default().checks());
        let count = found.len();
        let rounds = if count < 10_000 { 1000 } else { 20 };
        let started = Clock::now();
        for _ in 0..rounds {
            let found = index.matching(&matchers, &Cancel::default().checks());
            std::hint::black_box(found.min().map(|slot| index.labels(slot)));
        }
        println!("  {what}: {count} series and the labels of one in {:.1} µs", started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
    let name = index.matching(&[Matcher::equal("__name__", "family_11_total")], &Cancel::default().checks());
    timed("  label names of a name", 1.0, || index.label_names(Some(&name), 0, &Cancel::default().checks()).expect("never cancelled"));
    timed("  pods of a name", 1.0, || index.label_values("pod", Some(&name), 0, &Cancel::default().checks()).expect("never cancelled"));
    timed("  namespaces of a name", 1.0, || {
        index.label_values("namespace", Some(&name), 0, &Cancel::default().checks()).expect("never cancelled")
    });
}

fn timed<T>(what: &str, per: f64, work: impl FnOnce() -> T) -> T {
    let started = Clock::now();
    let done = work();
    println!("{what}: {:.3} µs", started.elapsed().as_secs_f64() * 1e6 / per);
    done
}

fn labels(target: u32, n: u32) -> Labels {
    let family = n / 69;
    let name = format!("family_{family}_total");
    let (a, b, c) = (target >> 16 & 255, target >> 8 & 255, target & 255);
    let instance = format!("10.{a}.{b}.{c}:9100");
    let pod = n % PODS;
    let mix = u64::from(target * PODS + pod).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let service = SERVICES[(mix >> 8) as usize % SERVICES.len()];
    let pod_name = format!("{service}-{:010x}-{:05x}", mix & 0xff_ffff_ffff, mix >> 44);
    let rank = (n % 69 / 4).to_string();
    let mut pairs = vec![("__name__", name.as_str()), ("instance", &instance), ("job", JOBS[target as usize % JOBS.len()])];
    let (uid, image, node, device);
    let number = n.to_string();
    match family {
        0 => {
            device = format!("veth{:08x}", (mix >> 32) as u32 ^ n);
            pairs.push(("device", &device));
        }
        1..=2 => {
            pairs.extend([("cpu", number.as_str()), ("mode", "idle")]);
        }
        3..=9 => {
            uid = format!("/kubepods.slice/burstable/pod{mix:08x}-{:04x}-{:012x}", mix >> 48, mix >> 16);
            image = format!("images.example.com/platform/{service}:v1.{}.{}", mix % 40, mix % 7);
            node = format!("node-{target:05}.cluster-a.example.internal");
            let namespace = NAMESPACES[(mix >> 16) as usize % NAMESPACES.len()];
            pairs.extend([("container", rank.as_str()), ("id", &uid), ("image", &image), ("namespace", namespace), ("node", &node)]);
            pairs.push(("pod", &pod_name));
        }
        _ => {
            let namespace = NAMESPACES[(mix >> 16) as usize % NAMESPACES.len()];
            let (method, le) = (METHODS[n as usize % 4], rank.as_str());
            pairs.extend([
                ("handler", le),
                ("le", le),
                ("method", method),
                ("namespace", namespace),
                ("pod", &pod_name),
                ("service", service),
            ]);
        }
    }
    if family > 2 {
        pairs.push(("shard", &number));
    }
    Labels::from_pairs(pairs)
}

fn rss_kib(which: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(which)).unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// CPU time of the thread.
struct Clock(u64);

impl Clock {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Self(stat.split(' ').next().unwrap().parse().unwrap())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(Self::now().0 - self.0)
    }
}
