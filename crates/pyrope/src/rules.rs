//! Rule files: their shape and expressions are checked, so that a mistake shows at start and at reload. Evaluating
//! them comes with the rules' own issue.

use promql::parser::{ParserOptions, parse};
use std::path::{Path, PathBuf};

/// Reads every file that the patterns name; the number of rules in each.
///
/// # Errors
/// The first file that cannot be used, with the line of the fault.
pub fn check(patterns: &[PathBuf], parser: &ParserOptions) -> Result<Vec<(PathBuf, usize)>, String> {
    let mut checked = Vec::new();
    for pattern in patterns {
        for path in config::rules::expand(pattern).map_err(|e| e.to_string())? {
            let rule_count = check_file(&path, parser).map_err(|e| format!("{}: {e}", path.display()))?;
            checked.push((path, rule_count));
        }
    }
    Ok(checked)
}

fn check_file(path: &Path, parser: &ParserOptions) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let file = config::rules::parse(&text).map_err(|e| e.to_string())?;
    let mut rule_count = 0;
    for group in &file.groups {
        for rule in &group.rules {
            parse(&rule.expr, parser).map_err(|e| {
                format!("{}:{}: group {:?}, rule {:?}: could not parse expression: {e}", rule.line, rule.column, group.name, rule.name)
            })?;
            rule_count += 1;
        }
    }
    Ok(rule_count)
}
