//! Holds the documents to the manifests: who may use whom (`docs/ARCHITECTURE.md`) and why we borrow what we borrow
//! (`docs/dependencies.md`).

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Dependencies by crate.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What the crate table allows: `None` stands for `all`.
type Allowed = BTreeMap<String, Option<BTreeSet<String>>>;

#[test]
fn crates_use_only_whom_the_table_allows() {
    let root = root();
    let table = crate_table(&read(&root.join("docs/ARCHITECTURE.md")));
    let manifests = manifests(&root).into_iter().map(|(name, text)| (name, dependencies(&text, "dependencies"))).collect();
    let faults = check_arrows(&table, &manifests);
    assert!(faults.is_empty(), "docs/ARCHITECTURE.md and crates/*/Cargo.toml differ:\n{}", faults.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let root = root();
    let documented = documented(&read(&root.join("docs/dependencies.md")));
    let own = manifests(&root);
    let borrowed: BTreeSet<String> = dependencies(&read(&root.join("Cargo.toml")), "workspace.dependencies")
        .into_iter()
        .filter(|name| !own.contains_key(name))
        .collect();
    let used =
        own.values().flat_map(|text| ["dependencies", "dev-dependencies"].map(|section| dependencies(text, section))).flatten().collect();
    let faults = check_reasons(&borrowed, &documented, &used);
    assert!(faults.is_empty(), "Cargo.toml and docs/dependencies.md differ:\n{}", faults.join("\n"));
}

#[test]
fn made_up_violations_are_found() {
    let table = crate_table(
        "| crate | owns | may use |\n|---|---|---|\n| `model` | a | – |\n| `world` | b | – |\n| `yaml` | c | – |\n\
         | `tsdb` | d | world |\n| `web` | e | all |\n| `gone` | f | model |\n\n| other | table | here |\n",
    );
    let manifests = [
        ("model", "[dependencies]\nthiserror.workspace = true\n"),
        ("world", "[dependencies]\nmodel = { path = \"../model\" }\n"),
        ("yaml", "[dependencies]\n"),
        (
            "tsdb",
            "[dependencies]\nmodel.workspace = true\nworld.workspace = true\nweb.workspace = true\n[dev-dependencies]\nyaml.workspace = true\n",
        ),
        ("web", "[dependencies]\ntsdb.workspace = true\nyaml.workspace = true\n[target.'cfg(unix)'.dependencies]\nnew.workspace = true\n"),
        ("new", ""),
    ];
    let manifests = manifests.map(|(name, text)| (name.to_owned(), dependencies(text, "dependencies"))).into();
    let want = [
        "`new` is not in the table",
        "`tsdb` may not use `web`",
        "`world` may not use `model`",
        "`gone` is in the table and not in crates/",
    ];
    assert_eq!(check_arrows(&table, &manifests), want);

    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let documented = documented("| crate | reason |\n|---|---|\n| bytes, rustls (ring) | x, y |\n| flate2 (zlib-rs) | z |\n");
    assert_eq!(documented, set(&["bytes", "rustls", "flate2"]));
    assert_eq!(
        check_reasons(&set(&["bytes", "snap", "flate2"]), &documented, &set(&["bytes", "snap"])),
        ["`snap` has no reason", "`flate2` is used by no crate", "`rustls` is given a reason and is no dependency"]
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The manifests of `crates/` by crate name, which is the folder's.
fn manifests(root: &Path) -> BTreeMap<String, String> {
    let folders = std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let with_manifest = folders.filter(|folder| folder.join("Cargo.toml").is_file());
    with_manifest.map(|folder| (folder.file_name().unwrap().to_str().unwrap().to_owned(), read(&folder.join("Cargo.toml")))).collect()
}

/// The names in `[section]` and in `[target.….section]`: one a line, as all our manifests have them.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = header == section || (header.starts_with("target.") && header.ends_with(&format!(".{section}")));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.insert(line.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    names
}

/// The cells of the table that has this header.
fn rows<'a>(page: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let table = page.lines().skip_while(|line| *line != header).skip(2);
    let lines = table.take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn crate_table(page: &str) -> Allowed {
    let listed = |cell: &str| match cell {
        "all" => None,
        "–" => Some(BTreeSet::new()),
        names => Some(names.split(", ").map(str::to_owned).collect()),
    };
    rows(page, "| crate | owns | may use |").into_iter().map(|row| (row[0].trim_matches('`').to_owned(), listed(row[2]))).collect()
}

/// The names in the first column; a remark in brackets is not part of a name.
fn documented(page: &str) -> BTreeSet<String> {
    let names = rows(page, "| crate | reason |").into_iter().flat_map(|row| row[0].split(", "));
    names.map(|name| name.split(" (").next().unwrap().to_owned()).collect()
}

/// Outside dependencies are left to [`check_reasons`]; tests may use every crate.
fn check_arrows(table: &Allowed, manifests: &Arrows) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, used) in manifests {
        let Some(allowed) = table.get(name) else {
            faults.push(format!("`{name}` is not in the table"));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        let for_all = |other: &str| other == "model" && name != "world" && name != "yaml";
        let inner = used.iter().filter(|other| manifests.contains_key(*other));
        faults.extend(
            inner.filter(|other| !allowed.contains(*other) && !for_all(other)).map(|other| format!("`{name}` may not use `{other}`")),
        );
    }
    faults.extend(
        table.keys().filter(|name| !manifests.contains_key(*name)).map(|name| format!("`{name}` is in the table and not in crates/")),
    );
    faults
}

fn check_reasons(borrowed: &BTreeSet<String>, documented: &BTreeSet<String>, used: &BTreeSet<String>) -> Vec<String> {
    let mut faults: Vec<String> = borrowed.difference(documented).map(|name| format!("`{name}` has no reason")).collect();
    faults.extend(borrowed.difference(used).map(|name| format!("`{name}` is used by no crate")));
    faults.extend(documented.difference(borrowed).map(|name| format!("`{name}` is given a reason and is no dependency")));
    faults
}
