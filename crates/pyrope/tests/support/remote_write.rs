//! A remote write 1.0 client, its protobuf written by hand, and a sender that goes on until the server is gone.

use super::samples::{Labels, Samples};
use super::send;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Sends these samples; the status of the answer, or none if none came.
pub fn write(address: &str, samples: &Samples) -> Option<u16> {
    post(address, &request(samples))
}

/// Sends a `prometheus.WriteRequest`.
pub fn post(address: &str, request: &[u8]) -> Option<u16> {
    let headers =
        [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy"), ("X-Prometheus-Remote-Write-Version", "0.1.0")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let body = snap::raw::Encoder::new().compress_vec(request).unwrap();
    send(address, "POST", "/api/v1/write", &headers, &body).map(|answer| answer.status)
}

/// `prometheus.WriteRequest`
fn request(samples: &Samples) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, points) in samples {
        let mut series = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut series, 1, &label);
        }
        for (time_ms, bits) in points {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&bits.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, time_ms.cast_unsigned());
            field(&mut series, 2, &sample);
        }
        field(&mut request, 1, &series);
    }
    request
}

/// A field of length and bytes.
pub fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// As protobuf writes numbers.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Sends one sample a time for each of a few series, without a pause, until an answer stays away.
pub struct Sender {
    thread: JoinHandle<Samples>,
    answered: Receiver<()>,
}

impl Sender {
    /// `name` must be one that nobody else sends.
    pub fn start(address: &str, name: &str) -> Self {
        let (address, name) = (address.to_owned(), name.to_owned());
        let (answer, answered) = channel();
        let thread = std::thread::spawn(move || {
            let mut acknowledged = Samples::new();
            let first_ms = now_ms() - 60_000;
            for count in 0.. {
                let series = (0..5).map(|i| (labels(&name, &[("series", &i.to_string())]), [(first_ms + count, value(count, i))].into()));
                let samples: Samples = series.collect();
                match write(&address, &samples) {
                    Some(204) => samples.into_iter().for_each(|(labels, points)| acknowledged.entry(labels).or_default().extend(points)),
                    // A server that is ending may say so.
                    None | Some(503) => break,
                    Some(other) => panic!("remote write was answered {other}"),
                }
                // Nobody listens after the first ones.
                let _ = answer.send(());
            }
            acknowledged
        });
        Self { thread, answered }
    }

    /// Until this many requests have been answered.
    pub fn wait_for(&self, count: usize) {
        (0..count).for_each(|_| self.answered.recv_timeout(super::DEADLINE).unwrap());
    }

    /// What was acknowledged; ends once the server has.
    pub fn acknowledged(self) -> Samples {
        self.thread.join().unwrap()
    }
}

fn value(count: i64, series: i64) -> u64 {
    (count as f64 * 0.5 + series as f64).to_bits()
}

pub fn labels(name: &str, others: &[(&str, &str)]) -> Labels {
    let others = others.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    [("__name__".to_owned(), name.to_owned())].into_iter().chain(others).collect()
}

pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
