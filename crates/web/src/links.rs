//! Links to the page, as alerts and templates carry them.

/// The path of an expression's graph.
pub fn graph(expr: &str) -> String {
    link(expr, 0)
}

/// The path of an expression's table.
pub fn table(expr: &str) -> String {
    link(expr, 1)
}

fn link(expr: &str, tab: u8) -> String {
    let expr: String = form_urlencoded::byte_serialize(expr.as_bytes()).collect();
    format!("/graph?g0.expr={expr}&g0.tab={tab}")
}
