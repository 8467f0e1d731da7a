//! `config/`: whole configuration files, good and bad.

use crate::table::{Score, rows};
use config::Mode;
use std::path::Path;

pub fn run(folder: &Path) -> Vec<Score> {
    let (mut agrees, mut texts) = (Score::new("accepted or refused"), Score::new("texts of errors"));
    for row in rows(&folder.join("expected.json")) {
        let file = row["file"].as_str().unwrap();
        let mode = if row["mode"] == "agent" { Mode::Agent } else { Mode::Server };
        let outcome = config::load_as(&folder.join(file), mode).map(|_| ()).map_err(|e| e.to_string());
        let refused = row["expect"] == "error";
        agrees.case(file, || match (&outcome, refused) {
            (Ok(()), false) | (Err(_), true) => Ok(()),
            (Ok(()), true) => Err(format!("was accepted, want {}", row["contains"])),
            (Err(error), false) => Err(error.clone()),
        });
        if !refused {
            continue;
        }
        texts.case(file, || {
            // The table names files as its recording found them.
            let error = outcome.as_ref().err().ok_or("was accepted")?.replace(&format!("{}/", folder.display()), "testdata/");
            let missing = row["contains"].as_array().unwrap().iter().filter_map(|f| f.as_str()).find(|f| !error.contains(f));
            missing.map_or(Ok(()), |fragment| Err(format!("got {error:?}, want {fragment:?}")))
        });
    }
    vec![agrees, texts]
}
