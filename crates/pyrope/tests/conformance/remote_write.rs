//! `remote_write/`: requests of protocol 1.0, sent in order to one fresh server. Cases about histograms and exemplars come
//! with the store; protocol 2.0 too.

use crate::support::{Server, send};
use crate::table::{Score, pairs, rows, same};
use base64::Engine as _;
use std::path::Path;

pub fn run(folder: &Path) -> Vec<Score> {
    let mut score = Score::new("requests");
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    for row in rows(&folder.join("requests.json")) {
        score.case(row["name"].as_str().unwrap(), || {
            let body = base64::engine::general_purpose::STANDARD.decode(row["body_base64"].as_str().unwrap_or_default()).unwrap();
            let method = row["method"].as_str().unwrap_or("POST");
            let answer = send(&server.address, method, "/api/v1/write", &pairs(&row["headers"]), &body).ok_or("no answer")?;
            same("status", &u64::from(answer.status), &row["status"].as_u64().unwrap()).map_err(|e| format!("{e}: {}", answer.text()))?;
            if let Some(query) = row["query"].as_str() {
                same("result", &server.query(query, row["time"].as_f64()), &row["result"])?;
            }
            if row["exemplars_query"].is_string() {
                return Err("exemplars are not served yet".into());
            }
            Ok(())
        });
    }
    vec![score]
}
