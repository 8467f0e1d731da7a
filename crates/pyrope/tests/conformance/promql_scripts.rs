//! `promqltest/`: scripts of the PromQL test language.

use crate::table::Score;
use std::path::Path;

pub fn run(folder: &Path) -> Vec<Score> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "test")).collect();
    files.sort();
    let mut score = Score::new("");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for (case, outcome) in promql::testlang::run_script(&text) {
            score.case(&format!("{name}: {case}"), || outcome);
        }
    }
    vec![score]
}
