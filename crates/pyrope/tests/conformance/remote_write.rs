//! `remote_write/`: requests of protocol 1.0, sent in order to one fresh server, and of 2.0 to another.

use crate::support::{Answer, Server, percent, send};
use crate::table::{Score, pairs, rows, same};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::Path;

const FLAGS: &[&str] = &["--enable-feature=exemplar-storage", "--storage.tsdb.retention.time=100y"];
const WRITTEN: [&str; 3] = ["Samples", "Histograms", "Exemplars"];

pub fn run(folder: &Path) -> Vec<Score> {
    vec![run_file(folder, "requests.json", "requests"), run_file(folder, "requests_v2.json", "requests_v2")]
}

fn run_file(folder: &Path, file: &str, part: &'static str) -> Score {
    let mut score = Score::new(part);
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), "", FLAGS);
    for row in rows(&folder.join(file)) {
        score.case(row["name"].as_str().unwrap(), || case(&server, &row));
    }
    score
}

fn case(server: &Server, row: &Value) -> Result<(), String> {
    if row["before_base64"].is_string() {
        let usual = [
            ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
            ("Content-Encoding", "snappy"),
            ("X-Prometheus-Remote-Write-Version", "2.0.0"),
        ];
        let usual: Vec<_> = usual.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = post(server, "POST", &usual, &row["before_base64"])?;
        same("status of the request before", &answer.status, &204)?;
    }
    let answer = post(server, row["method"].as_str().unwrap_or("POST"), &pairs(&row["headers"]), &row["body_base64"])?;
    same("status", &u64::from(answer.status), &row["status"].as_u64().unwrap()).map_err(|e| format!("{e}: {}", answer.text()))?;
    for what in WRITTEN {
        let name = format!("X-Prometheus-Remote-Write-{what}-Written");
        same(&name, &answer.header(&name), &row["response_headers"][&name].as_str())?;
    }
    if let Some(query) = row["query"].as_str() {
        same("result", &server.query(query, row["time"].as_f64()), &row["result"])?;
    }
    if let Some(query) = row["exemplars_query"].as_str() {
        let end = row["time"].as_f64().unwrap_or_default() + 3600.0;
        let answer = server.get(&format!("/api/v1/query_exemplars?query={}&start=-1&end={end}", percent(query)));
        same("status of the exemplars", &answer.status, &200)?;
        same("exemplars", answer.json().get("data").unwrap_or(&json!(null)), &row["exemplars"])?;
    }
    Ok(())
}

fn post(server: &Server, method: &str, headers: &[(String, String)], body: &Value) -> Result<Answer, String> {
    let body = base64::engine::general_purpose::STANDARD.decode(body.as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
    send(&server.address, method, "/api/v1/write", headers, &body).ok_or_else(|| "no answer".into())
}
